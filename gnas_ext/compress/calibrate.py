"""Which codes of a few bits a row change scores least? Those chosen by what an error costs the rows that it meets.

An error e of an item's row moves a user's score by <user, e>, so that it costs e' H e, with H the second moment of the
users' rows, each as often as the log has it; for users likewise, with the items' rows about their mean, for what moves
all items' scores alike moves no rank. All rows of a table share H, so a step of a column is one operation for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, overload

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gnas_ext.compress.quantize import quantize_table
from gnas_ext.models.coded import CodedModel, PackedTable
from gnas_ext.models.factors import FactorModel, Table
from gnas_ext.models.products import product
from gnas_ext.ops.quantize_rows import quantize_rows
from gnas_ext.ops.quantized_rows import QuantizedRows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gnas_ext.data.interactions import Interactions

_LIMITS = {8: (-127, 127), 4: (-7, 7), 2: (-2, 1)}
# Of what is lost in 2 bits, turning and lengths win back the most on Gowalla's validation users, where the identity
# does as well as H; H keeps more of the lists of MovieTweetings. No better there were: ranges searched by H or by its
# diagonal, more rounds, touches' square roots or none for weights, H within each user's own items, users' second moment
# about its mean with the prior put right, scales without bias for lengths.
_ROUNDS = 2
# Of the mean of H's diagonal. Less keeps more of MovieTweetings' lists, and loses more on Gowalla.
_DAMPING = 1.0
# Rows at once: their columns stay in the cache.
_BLOCK = 2048


@overload
def calibrate(model: FactorModel, bits: Literal[8], train: Interactions) -> FactorModel: ...


@overload
def calibrate(model: FactorModel, bits: int, train: Interactions) -> FactorModel | CodedModel: ...


def calibrate(model: FactorModel, bits: int, train: Interactions) -> FactorModel | CodedModel:
    """Stores both tables in 8, 4 or 2 bits an entry, as `quantize_model` does, with codes chosen by what errors cost.

    Columns are turned first, as by chance, so that none is larger than the others: a row has one scale for all of them.
    Then items are coded for the users, users for the items as they come back, and both once more. A row is first moved
    to what makes up for the errors of the other side, then rounded column after column, the error of each carried over
    to those that follow (GPTQ; Frantar et al., 2023), and at last scaled to the length that it had.

    Args:
        model: float32 or int8.
        bits: 8, 4 or 2.
        train: touches; those of rows that the model does not have are left out.

    Returns:
        What `quantize_model` returns, in as many bytes; the prior stays float32. The same for any number of threads.
        Both tables are in float64 some times over meanwhile.

    Raises:
        InputError: a row holds NaN or Inf.
        ValueError: bits is none of these.
    """
    if bits not in _LIMITS:
        raise ValueError(f"calibrate: expected 2, 4 or 8 bits, got {bits}")
    # 32 bits look at the rows, and leave them as they are.
    tables = [quantize_table(table.float(), 32).rows.double() for table in (model.user, model.item)]
    turn = turning(model.user.width)
    user, item = (product(table, turn) for table in tables)
    by_user, by_item = _shares(train.user, len(user)), _shares(train.item, len(item))
    stored = user
    for _ in range(_ROUNDS):
        items = code_rows(item, user, stored, by_user, False, bits)
        users = code_rows(user, item, items.rows(), by_item, True, bits)
        stored = users.rows()
    if bits == 8:
        return FactorModel(Table(users.codes, users.scale), Table(items.codes, items.scale), model.prior)
    prior = None if model.prior is None else Table(model.prior[:, None])
    return CodedModel(users.packed(bits), items.packed(bits), prior)


class RowCodes(NamedTuple):
    """A table in codes: entry f of row i is scale[i] * code[i, f] + zero[i].

    Attributes:
        codes: [n, width], int8.
        scale: [n], float32.
        zero: [n], float32; zeros but for 2 bits.
    """

    codes: Tensor
    scale: Tensor
    zero: Tensor

    def rows(self) -> Tensor:
        """What they stand for, [n, width], float64."""
        return self.codes.double() * self.scale.double()[:, None] + self.zero.double()[:, None]

    def packed(self, bits: int) -> PackedTable:
        """As it is stored in 4 or 2 bits, the latter with a zero a row."""
        zero = self.zero if bits == 2 else None
        return PackedTable(QuantizedRows(pack_codes(self.codes, bits), self.scale, zero, bits, self.codes.shape[1]))


def pack_codes(codes: Tensor, bits: int) -> Tensor:
    """Codes of 4 or 2 bits, [n, width] in int8, as `QuantizedRows` keeps them, several to a byte."""
    each = 8 // bits
    filled = functional.pad((codes + 2 ** (bits - 1)).to(torch.uint8), (0, -codes.shape[1] % each))
    parts = filled.view(len(codes), filled.shape[1] // each, each)
    out = parts[:, :, 0].clone()
    for place in range(1, each):
        out |= parts[:, :, place] << (bits * place)
    return out


def code_rows(rows: Tensor, wanted: Tensor, stored: Tensor, share: Tensor, centred: bool, bits: int) -> RowCodes:
    """Codes of a table for the other one as it is stored.

    Args:
        rows: [n, width], float64.
        wanted: what rows are multiplied with, [m, width], float64.
        stored: what it comes back as, likewise.
        share: of each of its rows in what an error costs, [m]; they add up to 1.
        centred: whether what an error adds to all scores alike costs nothing.
        bits: 8, 4 or 2.
    """
    level = float((stored.square().sum(1) * share).sum()) / stored.shape[1]
    if centred:
        wanted, stored = wanted - product(share[None], wanted), stored - product(share[None], stored)
    weighted = (stored * share[:, None]).T
    h, met = product(weighted, stored), product(weighted, wanted)
    held = _DAMPING * h.diagonal().mean()
    # Rows that are all alike leave nothing but rounding about their mean.
    ridge = torch.eye(len(h), dtype=h.dtype) * (held if held > 1e-12 * level else 1.0)
    # The column whose errors cost most comes first: nothing is carried over to it.
    order = (h + ridge).diagonal().argsort(descending=True, stable=True)
    h, met = (h + ridge)[order][:, order], (met + ridge)[order]
    unit, pivots = factor(h)
    # Rows that make up best for the errors of the other side: least squares with a ridge, the same map for all rows.
    moved = solve(unit, pivots, met).T
    found = []
    for some in torch.split(rows, _BLOCK):
        x = product(some, moved)
        codes, scale, zero = _coded(x.T.contiguous(), h, unit, bits)
        found.append(_to_length(codes[order.argsort()].T, scale, zero, some.norm(dim=1)))
    return RowCodes(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def turning(width: int) -> Tensor:
    """An orthogonal matrix, always the same of a width, [width, width] in float64."""
    rows = torch.randn(width, width, generator=torch.Generator().manual_seed(width), dtype=torch.float64)
    # Gram and Schmidt's way, for LAPACK's last bits may depend on the number of threads.
    for place in range(width):
        rows[place] /= rows[place].norm()
        rows[place + 1 :] -= (rows[place + 1 :] * rows[place]).sum(1, keepdim=True) * rows[place]
    return rows


def factor(h: Tensor) -> tuple[Tensor, Tensor]:
    """U and d of H = U diag(d) U', for a positive definite H: U is unit upper triangular, [width, width].

    U' is the inverse of GPTQ's Cholesky factor of the inverse of H, each of its columns over its diagonal: the errors
    that are carried over are the same, and no inverse is needed. Entry by entry, for any number of threads alike.
    """
    rest, unit, pivots = h.clone(), torch.eye(len(h), dtype=h.dtype), torch.empty(len(h), dtype=h.dtype)
    for column in range(len(h) - 1, -1, -1):
        pivots[column] = rest[column, column]
        above = rest[:column, column] / pivots[column]
        unit[:column, column] = above
        rest[:column, :column] -= above[:, None] * (above * pivots[column])
    return unit, pivots


def solve(unit: Tensor, pivots: Tensor, right: Tensor) -> Tensor:
    """X of U diag(d) U' X = right, [width, columns]."""
    x = right.clone()
    for row in range(len(x) - 1, 0, -1):
        x[:row] -= unit[:row, row, None] * x[row]
    x /= pivots[:, None]
    for row in range(len(x) - 1):
        x[row + 1 :] -= unit[row, row + 1 :, None] * x[row]
    return x


def _coded(x: Tensor, h: Tensor, unit: Tensor, bits: int) -> tuple[Tensor, Tensor, Tensor]:
    """Codes [width, n], scales and zeros of columns x, [width, n], of least cost: of a range, and of a better one."""
    limits = _LIMITS[bits]
    first = quantize_rows(x.T.float(), bits, clip="minmax" if bits == 8 else "mse", symmetric=bits != 2)
    scale = first.scale.double()
    zero = torch.zeros_like(scale) if first.zero is None else first.zero.double()
    codes = carry(x, scale, zero, unit, limits)
    scale, zero = fit(x, codes, scale, zero, h, affine=bits == 2)
    return descend(x, codes, scale, zero, h, limits), scale, zero


def carry(x: Tensor, scale: Tensor, zero: Tensor, unit: Tensor, limits: tuple[int, int]) -> Tensor:
    """Codes, a row of x after the other, each error carried over to the rows that follow.

    Args:
        x: [width, n], float64: rows of a table stand as columns, so that what a step touches lies together.
        scale: [n].
        zero: [n].
        unit: of `factor`.
        limits: lowest and highest code.
    """
    wanted, codes = x.clone(), torch.empty_like(x)
    for place in range(len(x)):
        codes[place] = _nearest(wanted[place], scale, zero, limits)
        error = codes[place] * scale + zero - x[place]
        wanted[place + 1 :] -= unit[place, place + 1 :, None] * error
    return codes


def descend(x: Tensor, codes: Tensor, scale: Tensor, zero: Tensor, h: Tensor, limits: tuple[int, int]) -> Tensor:
    """Codes that cost no more: each once more the best one, the others as they are."""
    codes = codes.clone()
    error = codes * scale + zero - x
    pull = product(h, error)
    for place in range(len(x)):
        best = error[place] - pull[place] / h[place, place] + x[place]
        code = _nearest(best, scale, zero, limits)
        step = (code - codes[place]) * scale
        codes[place] = code
        error[place] += step
        pull += h[:, place, None] * step
    return codes


def fit(x: Tensor, codes: Tensor, scale: Tensor, zero: Tensor, h: Tensor, affine: bool) -> tuple[Tensor, Tensor]:
    """Scales, and zeros where affine, of least cost for given codes; as they were where codes do not tell."""
    met = product(h, codes)
    own, wanted = (met * codes).sum(0), (met * x).sum(0)
    if not affine:
        best = wanted / own
        return torch.where((own > 0) & (best > 0), best, scale), zero
    ones = h.sum(1)
    level, shared, pull = ones.sum(), met.sum(0), (ones[:, None] * x).sum(0)
    volume = own * level - shared * shared
    best = (wanted * level - shared * pull) / volume
    told = (volume > 1e-9 * own * level) & (best > 0)
    return torch.where(told, best, scale), torch.where(told, (own * pull - shared * wanted) / volume, zero)


def _to_length(codes: Tensor, scale: Tensor, zero: Tensor, length: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Codes in int8 with scales and zeros in float32 that bring rows to a length; codes that stand for zeros do not."""
    found = (codes * scale[:, None] + zero[:, None]).norm(dim=1)
    factors = torch.where(found > 0, length / found, 1.0)
    return codes.to(torch.int8), (scale * factors).float(), (zero * factors).float()


def _nearest(x: Tensor, scale: Tensor, zero: Tensor, limits: tuple[int, int]) -> Tensor:
    return ((x - zero) / scale).round_().clamp_(*limits)


def _shares(codes: NDArray[np.int32], rows: int) -> Tensor:
    """Of each row in all touches, [rows], float64; all alike where there are none."""
    touches = torch.from_numpy(np.bincount(codes, minlength=rows)[:rows]).double()
    return touches / touches.sum() if touches.any() else torch.full((rows,), 1.0 / max(1, rows), dtype=torch.float64)
