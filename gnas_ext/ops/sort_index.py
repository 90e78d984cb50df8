"""In which order would the entries stand if they were sorted by row? The structure that a scatter plan keeps."""

from __future__ import annotations

import torch
from torch import Tensor

import gnas_ext._native  # noqa: F401  (registers the op)

_LARGEST = 2**31 - 1


def sort_index(index: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Sorts row numbers by counting, in one pass to count and one to place.

    Args:
        index: [entries], int32 or int64: the row of each entry, 0 … size-1.
        size: number of rows.

    Returns:
        indptr [size + 1], where each row's entries begin; perm [entries], the entries by row, ascending within one; and
        whether they were so already, a bool of shape []. The first two in int32 where that holds them, else int64.

    Raises:
        TypeError: index has another dtype.
        ValueError: index is not of one dimension, or size is negative.
        RuntimeError: an index is out of range; the message names the entry.
    """
    # int32 halves what every later use of the plan reads.
    narrow = index.shape[0] < _LARGEST and size < _LARGEST
    _sort_index_out(index, size, narrow)
    if not narrow:
        index = index.long()
    indptr, perm, ascends = torch.ops.gnas_ext.sort_index(index, size, narrow)
    return indptr, perm, ascends


def _sort_index_out(index: Tensor, size: int, narrow: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The contract of sort_index: what is refused, and what comes out. The fake kernel is this function."""
    if index.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"sort_index: expected index in int32 or int64, got {index.dtype}")
    if index.dim() != 1:
        raise ValueError(f"sort_index: expected index of shape [entries], got {list(index.shape)}")
    if isinstance(size, int) and size < 0:
        raise ValueError(f"sort_index: expected size of 0 or more, got {size}")
    dtype = torch.int32 if narrow or index.dtype == torch.int32 else torch.int64
    return (
        index.new_empty(size + 1, dtype=dtype),
        index.new_empty(index.shape[0], dtype=dtype),
        index.new_empty((), dtype=torch.bool),
    )


def _sort_index_cuda(index: Tensor, size: int, narrow: bool) -> tuple[Tensor, Tensor, Tensor]:
    """A stable sort; nothing is read back, so that it can be captured in a graph."""
    rows, perm = torch.sort(index, stable=True)
    if index.shape[0]:
        torch._assert_async(((rows[0] >= 0) & (rows[-1] < size)), "sort_index: an index is out of bounds")
    dtype = torch.int32 if narrow or index.dtype == torch.int32 else torch.int64
    indptr = torch.searchsorted(rows, torch.arange(size + 1, dtype=rows.dtype, device=rows.device))
    ascends = (index[1:] >= index[:-1]).all()
    return indptr.to(dtype), perm.to(dtype), ascends


torch.library.register_fake("gnas_ext::sort_index", _sort_index_out)
torch.library.impl("gnas_ext::sort_index", "CUDA", _sort_index_cuda)
