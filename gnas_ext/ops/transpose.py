"""Entries sorted by an end: what stands in each column, or in each row, and where did it stand?"""

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


def coo_to_csr(row: Tensor, col: Tensor, rows: int, cols: int) -> Entries:
    """The compressed rows of entries that come in any order.

    Args:
        row: [nnz], int32 or int64.
        col: [nnz], same dtype.
        rows: number of rows.
        cols: number of columns.

    Returns:
        indptr [rows + 1] and indices [nnz], and edge [nnz]: where each entry stood, so that its weights are
        `weight[edge]`. Entries of a row keep their order.

    Raises:
        ValueError: shapes differ, or a size is negative.
        RuntimeError: an index is out of range.
    """
    _coo_to_csr_out(row, col, rows, cols)
    result: Entries = torch.ops.gnas_ext.coo_to_csr(row, col, rows, cols)
    return result


def _transpose_out(indptr: Tensor, indices: Tensor, cols: int) -> Entries:
    """The contract of transpose: what is refused, and what comes out. The fake kernel is this function."""
    if isinstance(cols, int) and cols < 0:
        raise ValueError(f"transpose: expected cols of 0 or more, got {cols}")
    return indptr.new_empty(cols + 1), torch.empty_like(indices), torch.empty_like(indices)


def _coo_to_csr_out(row: Tensor, col: Tensor, rows: int, cols: int) -> Entries:
    """The contract of coo_to_csr: what is refused, and what comes out. The fake kernel is this function."""
    if row.dim() != 1 or row.shape != col.shape:
        raise ValueError(
            f"coo_to_csr: expected row and col of one shape [nnz], got {list(row.shape)} and {list(col.shape)}"
        )
    for name, size in (("rows", rows), ("cols", cols)):
        if isinstance(size, int) and size < 0:
            raise ValueError(f"coo_to_csr: expected {name} of 0 or more, got {size}")
    return row.new_empty(rows + 1), row.new_empty(row.shape), row.new_empty(row.shape)


def _transpose_cuda(indptr: Tensor, indices: Tensor, cols: int) -> Entries:
    t_indptr, edge = _sorted(indices, cols)
    if len(t_indptr) != cols + 1:
        entry = int((indices >= cols).nonzero()[0])
        raise RuntimeError(f"transpose: entry {entry} of the graph is out of bounds")
    rows = torch.searchsorted(indptr, edge, right=True) - 1
    return t_indptr, rows.to(indptr.dtype), edge


def _coo_to_csr_cuda(row: Tensor, col: Tensor, rows: int, cols: int) -> Entries:
    for index, size in ((row, rows), (col, cols)):
        if len(index) and not 0 <= int(index.min()) <= int(index.max()) < size:
            entry = int(((index < 0) | (index >= size)).nonzero()[0])
            raise RuntimeError(f"coo_to_csr: entry {entry} of the graph is out of bounds")
    indptr, edge = _sorted(row, rows)
    return indptr, col[edge.long()], edge


def _sorted(key: Tensor, keys: int) -> tuple[Tensor, Tensor]:
    """Where each key begins, and which entry comes where."""
    counts = torch.bincount(key, minlength=keys)
    indptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return indptr.to(key.dtype), torch.argsort(key, stable=True).to(key.dtype)


torch.library.register_fake("gnas_ext::transpose", _transpose_out)
torch.library.register_fake("gnas_ext::coo_to_csr", _coo_to_csr_out)
torch.library.impl("gnas_ext::transpose", "CUDA", _transpose_cuda)
torch.library.impl("gnas_ext::coo_to_csr", "CUDA", _coo_to_csr_cuda)
