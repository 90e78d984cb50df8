"""The transpose of a CSR: which entries stand in each column, and where they stood."""

from __future__ import annotations

import torch
from torch import Tensor

import gnas_ext._native  # noqa: F401  (registers the op)

Entries = tuple[Tensor, Tensor, Tensor]


def transpose(indptr: Tensor, indices: Tensor, cols: int) -> Entries:
    """The compressed rows of the transpose.

    Args:
        indptr: [rows + 1], int32 or int64.
        indices: [nnz], same dtype.
        cols: number of columns, which become rows.

    Returns:
        indptr [cols + 1] and indices [nnz] of the transpose, and edge [nnz]: where each of its entries stands in
        the original, so that its weights are `weight[edge]`. Rows ascend within a column.

    Raises:
        ValueError: cols is negative.
        RuntimeError: an index is out of range, or indptr is not that of nnz entries.
    """
    _transpose_out(indptr, indices, cols)
    result: Entries = torch.ops.gnas_ext.transpose(indptr, indices, cols)
    return result


def _transpose_out(indptr: Tensor, indices: Tensor, cols: int) -> Entries:
    """The contract of transpose: what is refused, and what comes out. The fake kernel is this function."""
    if isinstance(cols, int) and cols < 0:
        raise ValueError(f"transpose: expected cols of 0 or more, got {cols}")
    return indptr.new_empty(cols + 1), torch.empty_like(indices), torch.empty_like(indices)


def _transpose_cuda(indptr: Tensor, indices: Tensor, cols: int) -> Entries:
    counts = torch.bincount(indices, minlength=cols)
    edge = torch.argsort(indices, stable=True)
    rows = torch.searchsorted(indptr, edge.to(indptr.dtype), right=True) - 1
    t_indptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return t_indptr.to(indptr.dtype), rows.to(indptr.dtype), edge.to(indptr.dtype)


torch.library.register_fake("gnas_ext::transpose", _transpose_out)
torch.library.impl("gnas_ext::transpose", "CUDA", _transpose_cuda)
