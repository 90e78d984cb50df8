"""Rows that are there already, and entries that an index sends to them: what do they come to together?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gnas_ext.ops._entries import check_features, check_reduce, entries_of
from gnas_ext.ops.scatter import scatter, scatter_arg

if TYPE_CHECKING:
    from gnas_ext.ops.scatter import ScatterPlan
    from gnas_ext.ops.spmm import Reduce


def index_reduce(
    x: Tensor, index: Tensor, src: Tensor, reduce: Reduce = "sum", plan: ScatterPlan | None = None
) -> Tensor:
    """Reduces each row of x together with the entries that go to it.

    Args:
        x: [rows, …], float32, float64, bfloat16 or float16; it counts as one more entry of each row, before all others.
        index: [entries], int32 or int64: the row that each entry goes to.
        src: [entries, …], x's dtype.
        reduce: "sum", "mean", "max" or "min".
        plan: `ScatterPlan(index, rows)`, when the same index serves more than once.

    Returns:
        [rows, …], x's dtype. It raises as `scatter` does.

    Gradients of any order flow to x and src.
    """
    if reduce in ("max", "min"):
        return index_reduce_arg(x, index, src, reduce, plan)[0]
    _index_reduce_out("index_reduce", x, src)
    if x.dtype in (torch.float16, torch.bfloat16):  # rounded once, at the end, and a sum may go beyond them
        return index_reduce(x.float(), index, src.float(), reduce, plan).to(x.dtype)
    total = x + scatter(src, index, x.shape[0], "sum", plan)
    if reduce == "sum":
        return total
    check_reduce("index_reduce", reduce)
    counts = (entries_of(index, x.shape[0]) if plan is None else plan.indptr[1:] - plan.indptr[:-1]) + 1
    return total / counts.to(total.dtype).reshape(-1, *(1 for _ in x.shape[1:]))


def index_reduce_arg(
    x: Tensor, index: Tensor, src: Tensor, reduce: Reduce = "max", plan: ScatterPlan | None = None
) -> tuple[Tensor, Tensor]:
    """Max or min of each row of x and the entries that go to it, and which of them won.

    Args:
        x: [rows, …], as in `index_reduce`.
        index: [entries], as in `index_reduce`.
        src: [entries, …], as in `index_reduce`.
        reduce: "max" or "min"; the first of equal values wins (x before all entries), and NaN wins over all.
        plan: as in `index_reduce`.

    Returns:
        Values, [rows, …], x's dtype; and the row of src that each was taken from, [rows, …], int64, -1 where x won.

    Gradients of any order flow from the values to what won.
    """
    _index_reduce_out("index_reduce_arg", x, src)
    value, arg = scatter_arg(src, index, x.shape[0], reduce, plan)
    leads = (value > x if reduce == "max" else value < x) | ((value != value) & (x == x))
    won = (arg >= 0) & leads
    return torch.where(won, value, x), torch.where(won, arg, -1)


def _index_reduce_out(op: str, x: Tensor, src: Tensor) -> None:
    """What index_reduce refuses beyond what scatter does."""
    check_features(op, "x", x)
    if src.dtype != x.dtype:
        raise TypeError(f"{op}: expected src in x's dtype {x.dtype}, got {src.dtype}")
    if src.shape[1:] != x.shape[1:]:
        raise ValueError(
            f"{op}: expected src of shape [entries, …] with x's {list(x.shape[1:])}, got {list(src.shape)}"
        )
