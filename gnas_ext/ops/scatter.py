"""Entries that an index sends to rows, in any order: what arrives at each row?

Narrow entries are added where they go, in one pass over `src` and without a sort (sum and mean). Wide ones, and those
whose winners have to be known, are found by row: the index is sorted, and the scatter is spmm with a CSR whose columns
are the entries. A `ScatterPlan` keeps that CSR for as many scatters as follow. Either way every row adds up in a fixed
order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

import gnas_ext._native  # noqa: F401  (registers the ops)
from gnas_ext.ops._autograd import register_autograd, wanted
from gnas_ext.ops._entries import INDEX_TYPES, as_matrix, check_features, check_index, check_reduce, entries_of
from gnas_ext.ops.segment import segment_arg, segment_reduce
from gnas_ext.ops.sort_index import sort_index
from gnas_ext.ops.spmm import over

if TYPE_CHECKING:
    from gnas_ext.ops.spmm import Reduce
    from gnas_ext.ops.transpose import Entries


# On the CPU: bytes of an entry from which on finding the entries of a row pays.
WIDE_BYTES = 256


class ScatterPlan:
    """An index sorted once, for as many scatters as follow.

    Args:
        index: [entries], int32 or int64: the row that each entry goes to, 0 … size-1.
        size: number of rows; by default what the largest index asks for.

    Attributes:
        indptr: [size + 1], where each row's entries begin in perm; int32 where that holds it, else int64.
        perm: [entries], the entries by row, ascending within one; indptr's dtype.
        ascends: whether the index was sorted already, so that perm changes nothing. Not told on CUDA, where to know it
            would mean to wait for the device.
        index: the index, as it was given.
        size: number of rows.

    Raises:
        TypeError: index has another dtype.
        ValueError: index is not of one dimension, or size is negative.
        RuntimeError: an index is out of range; the message names the entry.
    """

    def __init__(self, index: Tensor, size: int | None = None) -> None:
        check_index("ScatterPlan", index)
        self.index = index
        self.size = _size_of(index) if size is None else size
        # Kept for a later backward too, which tensors made in inference mode would refuse.
        with torch.inference_mode(False):
            self.indptr, self.perm, ascends = sort_index(index, self.size)
        self.ascends = ascends.device.type == "cpu" and bool(ascends)
        self._transpose: Entries | None = None

    @property
    def entries(self) -> int:
        """Number of entries."""
        return self.perm.shape[0]

    def transpose(self) -> Entries:
        """The transpose of the CSR (indptr, perm): the row of each entry, and where it stands in perm; kept."""
        if self._transpose is None:
            with torch.inference_mode(False):
                place = torch.arange(self.entries + 1, dtype=self.perm.dtype, device=self.perm.device)
                inverse = torch.empty_like(self.perm).scatter_(0, self.perm.long(), place[:-1])
                self._transpose = place, self.index.to(self.perm.dtype), inverse
        return self._transpose

    def __repr__(self) -> str:
        return f"ScatterPlan(size={self.size}, entries={self.entries}, ascends={self.ascends})"


def scatter(
    src: Tensor,
    index: Tensor,
    size: int | None = None,
    reduce: Reduce = "sum",
    plan: ScatterPlan | None = None,
) -> Tensor:
    """Reduces the entries that go to each row: out[i] = reduce over the e with index[e] == i of src[e].

    Args:
        src: [entries, …], float32, float64, bfloat16 or float16.
        index: [entries], int32 or int64, in any order; or of src's shape, an index an element: then element
            src[e, f] goes to out[index[e, f], f].
        size: number of rows of the result; by default what the largest index asks for.
        reduce: "sum"; "mean", the sum over the number of entries; "max" or "min", where the first of equal values wins
            and NaN wins over all.
        plan: `ScatterPlan(index, size)`, when the same index serves more than once.

    Returns:
        [size, …], src's dtype; sums run in float32 (float64 for float64). Rows that nothing goes to are zero.

    Raises:
        ValueError: a shape or device does not fit, the plan is that of another size, or reduce is unknown.
        TypeError: a dtype is none of the above.
        RuntimeError: an index is out of range; the message names the entry.

    Gradients of any order flow to src. Repeats exactly, whatever the number of threads.
    """
    size = _scatter_out("scatter", src, index, size, reduce, plan)
    if reduce in ("max", "min") and wanted(src):
        return scatter_arg(src, index, size, reduce, plan)[0]  # only a gradient needs the winners
    if index.dim() > 1:
        return _elementwise(src, index, size, reduce)
    features = as_matrix(src)
    if plan is None and reduce in ("max", "min"):
        plan = ScatterPlan(index, size)
    # Narrow rows are added where they belong sooner than they are found by row.
    narrow = features.device.type == "cpu" and features.shape[1] * features.element_size() < WIDE_BYTES
    if plan is None or (narrow and not plan.ascends and reduce in ("sum", "mean")):
        out: Tensor = torch.ops.gnas_ext.scatter(features, index, size, reduce)
    elif plan.ascends:
        out = segment_reduce(features, plan.indptr, reduce)
    else:
        t = plan.transpose() if wanted(src) else (None, None, None)
        out = torch.ops.gnas_ext.spmm(plan.indptr, plan.perm, None, None, features, reduce, *t)
    return out.reshape(size, *src.shape[1:])


def scatter_arg(
    src: Tensor,
    index: Tensor,
    size: int | None = None,
    reduce: Reduce = "max",
    plan: ScatterPlan | None = None,
) -> tuple[Tensor, Tensor]:
    """Max or min of what goes to each row, and which entry it came from.

    Args:
        src: [entries, …], as in `scatter`.
        index: [entries] or of src's shape, as in `scatter`.
        size: number of rows, as in `scatter`.
        reduce: "max" or "min"; the first of equal values wins, and NaN wins over all.
        plan: as in `scatter`; without one, the index is sorted here.

    Returns:
        Values, [size, …], src's dtype, zero in rows that nothing goes to; and the row of src that each was taken from,
        [size, …], int64, -1 where there is none. It raises as `scatter` does.

    Gradients of any order flow from the values to the entries that won.
    """
    if reduce not in ("max", "min"):
        raise ValueError(f"scatter_arg: expected reduce max or min, got {reduce!r}")
    size = _scatter_out("scatter_arg", src, index, size, reduce, plan)
    if index.dim() > 1:
        width = as_matrix(src).shape[1]
        out, arg = scatter_arg(src.reshape(-1), _flat_index(index), size * width, reduce)
        shape = (size, *src.shape[1:])
        return out.reshape(shape), arg.div(max(width, 1), rounding_mode="floor").reshape(shape)
    plan = ScatterPlan(index, size) if plan is None else plan
    features, shape = as_matrix(src), (size, *src.shape[1:])
    if plan.ascends:
        out, arg = segment_arg(features, plan.indptr, reduce)
        return out.reshape(shape), arg.long().reshape(shape)
    t = plan.transpose() if wanted(src) else (None, None, None)
    out, place = torch.ops.gnas_ext.spmm_arg(plan.indptr, plan.perm, None, features, reduce, *t)
    return out.reshape(shape), _entry_of(plan.perm, place).reshape(shape)


def _elementwise(src: Tensor, index: Tensor, size: int, reduce: Reduce) -> Tensor:
    """An index an element: each column has rows of its own, so that one scatter of single numbers does it."""
    out = scatter(src.reshape(-1), _flat_index(index), size * as_matrix(src).shape[1], reduce)
    return out.reshape(size, *src.shape[1:])


def _flat_index(index: Tensor) -> Tensor:
    rows = as_matrix(index).long()
    width = rows.shape[1]
    return (rows * width + torch.arange(width, device=index.device)).reshape(-1)


def _entry_of(perm: Tensor, place: Tensor) -> Tensor:
    if perm.shape[0] == 0:
        return place.long()
    return torch.where(place < 0, -1, perm[place.clamp(min=0).long()].long())


def _size_of(index: Tensor) -> int:
    return int(index.max()) + 1 if index.numel() else 0


def _scatter_out(
    op: str, src: Tensor, index: Tensor, size: int | None, reduce: str, plan: ScatterPlan | None = None
) -> int:
    """The contract of scatter: what is refused, and the number of rows that come out. The fake kernel calls it."""
    check_reduce(op, reduce)
    check_features(op, "src", src)
    if index.dtype not in INDEX_TYPES:
        raise TypeError(f"{op}: expected index in int32 or int64, got {index.dtype}")
    if index.shape != src.shape and (index.dim() != 1 or index.shape[0] != src.shape[0]):
        raise ValueError(
            f"{op}: expected index of shape [{src.shape[0]}] or of src's shape {list(src.shape)}, got "
            f"{list(index.shape)}"
        )
    if src.device != index.device:
        raise ValueError(f"{op}: src is on {src.device}, index on {index.device}: move one with .to()")
    if isinstance(size, int) and size < 0:
        raise ValueError(f"{op}: expected size of 0 or more, got {size}")
    if plan is None:
        return _size_of(index) if size is None else size
    if index.dim() > 1:
        raise ValueError(f"{op}: a plan is for an index of shape [entries], got {list(index.shape)}: leave it out")
    if plan.entries != index.shape[0] or (size is not None and size != plan.size):
        raise ValueError(
            f"{op}: expected a plan of {index.shape[0]} entries and {plan.size if size is None else size} rows, got "
            f"{plan}"
        )
    return plan.size


def _scatter_fake(src: Tensor, index: Tensor, size: int, reduce: str) -> Tensor:
    _scatter_out("scatter", src, index, size, reduce)
    return src.new_empty(size, *src.shape[1:])


def _scatter_cuda(src: Tensor, index: Tensor, size: int, reduce: str) -> Tensor:
    indptr, perm, _ = sort_index(index, size)
    out: Tensor = torch.ops.gnas_ext.spmm(indptr, perm, None, None, src, reduce, None, None, None)
    return out


def _save_scatter(ctx: Any, inputs: tuple[Tensor, Tensor, int, str], output: Tensor) -> None:
    _, index, ctx.size, ctx.reduce = inputs
    ctx.save_for_backward(index)


def _scatter_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    (index,) = ctx.saved_tensors
    if ctx.reduce == "mean":
        grad = over(grad, entries_of(index, ctx.size))
    return torch.ops.gnas_ext.gather_rows(grad, index), None, None, None


torch.library.register_fake("gnas_ext::scatter", _scatter_fake)
torch.library.impl("gnas_ext::scatter", "CUDA", _scatter_cuda)
register_autograd("scatter", _scatter_backward, setup_context=_save_scatter)
