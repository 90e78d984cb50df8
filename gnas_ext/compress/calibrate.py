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

from gnas_ext.compress.quantize import quantize_table
from gnas_ext.compress.rounding import carry, descend, factor, fit, solve
from gnas_ext.models.coded import CodedModel, PackedTable
from gnas_ext.models.factors import FactorModel, Table
from gnas_ext.models.products import product
from gnas_ext.ops.quantize_rows import quantize_rows
from gnas_ext.ops.quantized_rows import QuantizedRows, packed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gnas_ext.data.interactions import Interactions

_LIMITS = {8: (-127, 127), 4: (-7, 7), 2: (-2, 1)}
# Tried by hand, so without figures: of what is lost in 2 bits, turning and lengths win back the most on Gowalla's
# validation users, where the identity does as well as H; H keeps more of the lists of MovieTweetings. No better there
# were: ranges searched by H or by its diagonal, more rounds, touches' square roots or none for weights, H within each
# user's own items, users' second moment about its mean with the prior put right, scales without bias for lengths.
_ROUNDS = 2
# Of the mean of H's diagonal. Less keeps more of MovieTweetings' lists, and loses more on Gowalla; by hand too.
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
        return PackedTable(QuantizedRows(packed(self.codes.long(), bits), self.scale, zero, bits, self.codes.shape[1]))


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


def _coded(x: Tensor, h: Tensor, unit: Tensor, bits: int) -> tuple[Tensor, Tensor, Tensor]:
    """Codes [width, n], scales and zeros of columns x, [width, n], of least cost: of a range, and of a better one."""
    limits = _LIMITS[bits]
    first = quantize_rows(x.T.float(), bits, clip="minmax" if bits == 8 else "mse", symmetric=bits != 2)
    scale = first.scale.double()
    zero = torch.zeros_like(scale) if first.zero is None else first.zero.double()
    codes = carry(x, scale, zero, unit, limits)
    scale, zero = fit(x, codes, scale, zero, h, affine=bits == 2)
    return descend(x, codes, scale, zero, h, limits), scale, zero


def _to_length(codes: Tensor, scale: Tensor, zero: Tensor, length: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Codes in int8 with scales and zeros in float32 that bring rows to a length; codes that stand for zeros do not."""
    found = (codes * scale[:, None] + zero[:, None]).norm(dim=1)
    factors = torch.where(found > 0, length / found, 1.0)
    return codes.to(torch.int8), (scale * factors).float(), (zero * factors).float()


def _shares(codes: NDArray[np.int32], rows: int) -> Tensor:
    """Of each row in all touches, [rows], float64; all alike where there are none."""
    touches = torch.from_numpy(np.bincount(codes, minlength=rows)[:rows]).double()
    return touches / touches.sum() if touches.any() else torch.full((rows,), 1.0 / max(1, rows), dtype=torch.float64)
