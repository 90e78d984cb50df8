"""Peeling: which rows and columns still have k entries when all others are taken away?"""

from __future__ import annotations

import torch
from torch import Tensor

import gnas_ext._native  # noqa: F401  (registers the op)


def k_core(
    indptr: Tensor, indices: Tensor, t_indptr: Tensor, t_indices: Tensor, k_rows: int, k_cols: int
) -> tuple[Tensor, Tensor]:
    """The largest part of a graph in which each row has k_rows entries or more, and each column k_cols.

    Args:
        indptr: [rows + 1], int32 or int64.
        indices: [nnz], same dtype.
        t_indptr: [cols + 1], of the transpose.
        t_indices: [nnz], of the transpose.
        k_rows: entries a row; a repeated entry counts as often as it is there.
        k_cols: entries a column.

    Returns:
        Which rows stay, [rows], and which columns, [cols], bool.

    Raises:
        RuntimeError: an index is out of range, or row pointers are not those of nnz entries.

    Source: Batagelj and Zaversnik, 2003; the work is rows + cols + nnz.
    """
    result: tuple[Tensor, Tensor] = torch.ops.gnas_ext.k_core(indptr, indices, t_indptr, t_indices, k_rows, k_cols)
    return result


def _k_core_fake(
    indptr: Tensor, indices: Tensor, t_indptr: Tensor, t_indices: Tensor, k_rows: int, k_cols: int
) -> tuple[Tensor, Tensor]:
    return tuple(p.new_empty(p.shape[0] - 1, dtype=torch.bool) for p in (indptr, t_indptr))  # type: ignore[return-value]


def _k_core_cuda(
    indptr: Tensor, indices: Tensor, t_indptr: Tensor, t_indices: Tensor, k_rows: int, k_cols: int
) -> tuple[Tensor, Tensor]:
    """All that have too few entries at once, until none is left; counts are whole numbers, so atomics repeat."""
    degree = indptr[1:] - indptr[:-1]
    row = torch.repeat_interleave(degree.long(), output_size=len(indices))
    col = indices.long()
    rows, cols = degree >= k_rows, t_indptr[1:] - t_indptr[:-1] >= k_cols
    while True:
        there = rows[row] & cols[col]
        row, col = row[there], col[there]
        still_rows = rows & (torch.bincount(row, minlength=len(rows)) >= k_rows)
        still_cols = cols & (torch.bincount(col, minlength=len(cols)) >= k_cols)
        if torch.equal(still_rows, rows) and torch.equal(still_cols, cols):
            return rows, cols
        rows, cols = still_rows, still_cols


torch.library.register_fake("gnas_ext::k_core", _k_core_fake)
torch.library.impl("gnas_ext::k_core", "CUDA", _k_core_cuda)
