"""How much does a neighbour count? Weights scaled by powers of the two degrees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

from gnas_ext.ops.spmm import spmm

if TYPE_CHECKING:
    from torch import Tensor

    from gnas_ext.graph.csr import CSR

Normalization = Literal["symmetric", "left", "right"]

# Powers of the row's degree and of the column's.
_EXPONENTS: dict[Normalization, tuple[float, float]] = {
    "symmetric": (0.5, 0.5),
    "left": (1.0, 0.0),
    "right": (0.0, 1.0),
}


def weighted_degree(csr: CSR) -> Tensor:
    """Sum of the weights of each row, [rows], float32 or the weights' dtype."""
    dtype = torch.float32 if csr.weight is None else csr.weight.dtype
    return spmm(csr, torch.ones(csr.cols, 1, dtype=dtype, device=csr.device)).squeeze(1)


def normalize(
    csr: CSR,
    row_exponent: float | Normalization = 0.5,
    col_exponent: float = 0.5,
    least_degree: float = 0.0,
) -> CSR:
    """w[i, j] / (degree(row i) ** row_exponent * degree(column j) ** col_exponent).

    Args:
        csr: weights of 0 or more, or none.
        row_exponent: power of the row's degree, 0 … 1; or both exponents by name: "symmetric" is 0.5 and 0.5,
            D^-1/2 A D^-1/2 (Kipf and Welling, 2017); "left" is 1 and 0, D^-1 A, whose rows sum to one: a random walk,
            the mean over neighbours; "right" is 0 and 1, A D^-1, whose columns do.
        col_exponent: power of the column's; not used beside a name.
        least_degree: smaller degrees count as this one.

    Returns:
        The same entries with the scaled weights, finite. Rows and columns of degree zero stay zero.

    Raises:
        ValueError: an unknown name.
    """
    if isinstance(row_exponent, str):
        if row_exponent not in _EXPONENTS:
            raise ValueError(f"normalize: expected exponents, or one of {', '.join(_EXPONENTS)}, got {row_exponent!r}")
        row_exponent, col_exponent = _EXPONENTS[row_exponent]
    weight = csr.weight
    if weight is not None and weight.dtype in (torch.float16, torch.bfloat16):
        # A degree may go beyond them, and its power is needed finer.
        wide = normalize(csr.with_weight(weight.float()), row_exponent, col_exponent, least_degree)
        return wide.to(dtype=weight.dtype)
    row = _power(weighted_degree(csr).clamp(min=least_degree), -row_exponent)
    col = _power(weighted_degree(csr.t()).clamp(min=least_degree), -col_exponent)
    # A weight is not above its degrees, so one power at a time keeps between the two what their product may overflow.
    scaled = row[csr.row_index().long()]
    if weight is not None:
        scaled = weight * scaled
    return csr.with_weight(scaled * col[csr.indices.long()])


def _power(degree: Tensor, exponent: float) -> Tensor:
    # The power of a denormal number may be infinite: it counts as zero.
    return torch.where(degree < torch.finfo(degree.dtype).tiny, 1.0, degree).pow(exponent)
