"""What is the right answer, and how far from it may rounding lead?"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from gnas_ext.ops import reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from gnas_ext import CSR
    from gnas_ext.ops.spmm import Reduce

REDUCES: tuple[Reduce, ...] = ("sum", "mean", "max", "min")
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
INDEX_TYPES = (torch.int32, torch.int64)
WIDTHS = (1, 7, 15, 16, 17, 37, 63, 64, 128, 200)


@cache
def with_index(csr: CSR, dtype: torch.dtype) -> CSR:
    """The same graph with another index type."""
    return type(csr)(csr.indptr.to(dtype), csr.indices.to(dtype), csr.weight, csr.shape)


def spmm_by_rows(csr: CSR, x: torch.Tensor, reduce: Reduce) -> NDArray[np.float64]:
    """spmm as a loop over rows in numpy: nothing in common with the kernels or the reference."""
    indptr, indices, features = csr.indptr.numpy(), csr.indices.numpy(), x.double().numpy()
    weight = np.ones(csr.nnz) if csr.weight is None else csr.weight.double().numpy()
    functions: dict[str, Callable[..., Any]] = {"sum": np.sum, "mean": np.mean, "max": np.max, "min": np.min}
    out = np.zeros((csr.rows, x.shape[1]))
    for row in range(csr.rows):
        edges = slice(indptr[row], indptr[row + 1])
        if edges.start < edges.stop:
            out[row] = functions[reduce](weight[edges, None] * features[indices[edges]], axis=0)
    return out


class Expected(NamedTuple):
    """Right answers in float64, and how far from each a result may be."""

    exact: torch.Tensor
    allowed: torch.Tensor
    dtype: torch.dtype

    def check(self, got: torch.Tensor, case: object = "") -> None:
        """Fails unless `got`, on any device, is right."""
        assert got.dtype == self.dtype, case
        assert got.shape == self.exact.shape, case
        error = (got.cpu().double() - self.exact).abs()
        # Written so that NaN, which no oracle here expects, is wrong.
        assert (error <= self.allowed).all(), f"{case}: off by up to {float(error.max())}"


def expected_spmm(csr: CSR, x: torch.Tensor, reduce: Reduce) -> Expected:
    """spmm(csr, x, reduce) to within the rounding of the accumulator and of one store; finite values on the CPU."""
    wide = csr.to(dtype=torch.float64)
    exact = reference.spmm(wide, x.double(), reduce)
    step = _accumulator(x.dtype)
    if reduce in ("sum", "mean"):
        positive = wide.with_weight(None if wide.weight is None else wide.weight.abs())
        rounding = step * (csr.degree().unsqueeze(1) + 2) * reference.spmm(positive, x.double().abs(), reduce)
    else:
        rounding = 2 * step * exact.abs()
    return Expected(exact, rounding + _store(exact, x.dtype), x.dtype)


def expected_sddmm(csr: CSR, a: torch.Tensor, b: torch.Tensor) -> Expected:
    """The same for sddmm."""
    exact = reference.sddmm(csr, a.double(), b.double())
    rounding = _accumulator(a.dtype) * (a.shape[1] + 2) * reference.sddmm(csr, a.double().abs(), b.double().abs())
    return Expected(exact, rounding + _store(exact, a.dtype), a.dtype)


def _accumulator(dtype: torch.dtype) -> float:
    return torch.finfo(torch.float64 if dtype == torch.float64 else torch.float32).eps


def _store(exact: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    kind = torch.finfo(dtype)
    return kind.eps * exact.abs() + kind.eps * kind.smallest_normal
