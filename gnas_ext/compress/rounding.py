"""How are columns rounded one after the other, so that errors make up for each other? GPTQ, and what betters its codes.

An error e of a row costs e' H e for one matrix H that all rows share. Rows of a table stand as columns here, [width, n]
in float64, so that what a step of a column touches lies together. For any number of threads alike.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gnas_ext.models.products import product


def factor(h: Tensor) -> tuple[Tensor, Tensor]:
    """U and d of H = U diag(d) U', for a positive definite H: U is unit upper triangular, [width, width].

    U' is the inverse of GPTQ's Cholesky factor of the inverse of H, each of its columns over its diagonal: the errors
    that are carried over are the same, and no inverse is needed. Entry by entry, for LAPACK's last bits may depend on
    the number of threads.
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


def carry(x: Tensor, scale: Tensor, zero: Tensor, unit: Tensor, limits: tuple[int, int]) -> Tensor:
    """Codes, a row of x after the other, each error carried over to the rows that follow.

    Args:
        x: [width, n].
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


def _nearest(x: Tensor, scale: Tensor, zero: Tensor, limits: tuple[int, int]) -> Tensor:
    return ((x - zero) / scale).round_().clamp_(*limits)
