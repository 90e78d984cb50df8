"""A sparse product of which only the best is kept: which k columns does each row of a @ b weigh most?"""

from __future__ import annotations

import torch
from torch import Tensor

import gnas_ext._native  # noqa: F401  (registers the op)
from gnas_ext.ops.transpose import transpose

Best = tuple[Tensor, Tensor, Tensor]

# Elements of the dense block that the CUDA version works on at a time.
_BLOCK = 1 << 26


def spspmm_topk(
    a_indptr: Tensor,
    a_indices: Tensor,
    a_weight: Tensor | None,
    b_indptr: Tensor,
    b_indices: Tensor,
    b_weight: Tensor | None,
    cols: int,
    k: int,
    exclude_diagonal: bool = False,
) -> Best:
    """The k largest entries of each row of a @ b, the largest first; NaN is above all.

    Args:
        a_indptr: [rows + 1], int32 or int64.
        a_indices: [a's entries], same dtype.
        a_weight: [a's entries], float32 or float64; None for all ones.
        b_indptr: [inner + 1], same dtype.
        b_indices: [b's entries], same dtype.
        b_weight: [b's entries], a_weight's dtype; None for all ones.
        cols: columns of b.
        k: entries a row, at most.
        exclude_diagonal: entry (i, i) is left out.

    Returns:
        Columns [rows, k] and values [rows, k], and how many there are, [rows]: what is beyond is 0. Among equal values
        the lower column comes first.

    Raises:
        ValueError: cols or k is negative.
        TypeError: weights of another dtype.
        RuntimeError: an index is out of range, or row pointers are not those of the entries.

    Row by row (Gustavson, 1978), with a sum for each column and thread: cols * 12 bytes (float32, int32) in all. Sums
    run in the weights' dtype, in the order of a's entries. There is no gradient: which entries are kept is a choice.
    """
    _spspmm_topk_out(a_indptr, a_indices, a_weight, b_indptr, b_indices, b_weight, cols, k, exclude_diagonal)
    best: Best = torch.ops.gnas_ext.spspmm_topk(
        a_indptr, a_indices, a_weight, b_indptr, b_indices, b_weight, cols, k, exclude_diagonal
    )
    return best


def _spspmm_topk_out(
    a_indptr: Tensor,
    a_indices: Tensor,
    a_weight: Tensor | None,
    b_indptr: Tensor,
    b_indices: Tensor,
    b_weight: Tensor | None,
    cols: int,
    k: int,
    exclude_diagonal: bool,
) -> Best:
    """The contract of spspmm_topk: what is refused, and what comes out. The fake kernel is this function."""
    for name, size in (("cols", cols), ("k", k)):
        if isinstance(size, int) and size < 0:
            raise ValueError(f"spspmm_topk: expected {name} of 0 or more, got {size}")
    dtypes = [weight.dtype for weight in (a_weight, b_weight) if weight is not None]
    for dtype in dtypes:
        if dtype not in (torch.float32, torch.float64) or dtype != dtypes[0]:
            raise TypeError(
                f"spspmm_topk: expected weights in float32 or both in float64, got {' and '.join(map(str, dtypes))}"
            )
    rows = a_indptr.shape[0] - 1
    return (
        a_indptr.new_empty(rows, k),
        a_indptr.new_empty(rows, k, dtype=dtypes[0] if dtypes else torch.float32),
        a_indptr.new_empty(rows),
    )


def _spspmm_topk_blocks(
    a_indptr: Tensor,
    a_indices: Tensor,
    a_weight: Tensor | None,
    b_indptr: Tensor,
    b_indices: Tensor,
    b_weight: Tensor | None,
    cols: int,
    k: int,
    exclude_diagonal: bool,
) -> Best:
    """The same by dense blocks of some rows, through spmm with b's transpose: what runs on CUDA."""
    rows, inner = a_indptr.shape[0] - 1, b_indptr.shape[0] - 1
    dtype = next((weight.dtype for weight in (a_weight, b_weight) if weight is not None), torch.float32)
    indices, values = a_indptr.new_zeros(rows, k), a_indptr.new_zeros(rows, k, dtype=dtype)
    count = a_indptr.new_zeros(rows)
    t_indptr, t_indices, t_edge = transpose(b_indptr, b_indices, cols)
    degree = (a_indptr[1:] - a_indptr[:-1]).long()
    row = torch.repeat_interleave(degree, output_size=a_indices.shape[0])
    weight = torch.ones(a_indices.shape, dtype=dtype, device=a_indptr.device) if a_weight is None else a_weight
    step = max(1, _BLOCK // max(inner, cols, 1))
    for begin in range(0, rows, step):
        end = min(begin + step, rows)
        first, last = int(a_indptr[begin]), int(a_indptr[end])
        places = (a_indices[first:last].long(), row[first:last] - begin)
        block = weight.new_zeros(inner, end - begin)
        nothing = (None, None, None)
        sums = torch.ops.gnas_ext.spmm(
            t_indptr,
            t_indices,
            None if b_weight is None else t_edge,
            b_weight,
            block.index_put(places, weight[first:last], accumulate=True),
            "sum",
            *nothing,
        ).T
        seen = block.index_put(places, torch.ones_like(weight[first:last]))
        there = torch.ops.gnas_ext.spmm(t_indptr, t_indices, None, None, seen, "sum", *nothing).T > 0
        if exclude_diagonal:
            there.diagonal(begin)[: end - begin] = False
        # Two stable sorts: by value, then those that are there first.
        order = sums.argsort(dim=1, descending=True, stable=True)
        order = order.gather(1, there.gather(1, order).byte().argsort(dim=1, descending=True, stable=True))[:, :k]
        kept = there.gather(1, order)
        width = order.shape[1]
        indices[begin:end, :width] = torch.where(kept, order, 0).to(indices.dtype)
        values[begin:end, :width] = torch.where(kept, sums.gather(1, order), 0)
        count[begin:end] = kept.sum(1).to(count.dtype)
    return indices, values, count


torch.library.register_fake("gnas_ext::spspmm_topk", _spspmm_topk_out)
torch.library.impl("gnas_ext::spspmm_topk", "CUDA", _spspmm_topk_blocks)
