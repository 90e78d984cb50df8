"""Entries that already stand together: what does each segment come to, and what does each entry get from its segment?

`segment_reduce` and `segment_arg` reduce rows that are contiguous a segment; `gather_segments` is the transpose of the
sum. Each is linear in its features, and their gradients are one another: so gradients of any order exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

import gnas_ext._native  # noqa: F401  (registers the ops)
from gnas_ext.ops._autograd import register_autograd, wanted
from gnas_ext.ops._entries import INDEX_TYPES, as_matrix, check_features, check_reduce
from gnas_ext.ops.spmm import of_sums

if TYPE_CHECKING:
    from gnas_ext.ops.spmm import Reduce


def segment_reduce(src: Tensor, indptr: Tensor, reduce: Reduce = "sum") -> Tensor:
    """Reduces the entries of each segment: out[i] = reduce of src[indptr[i] … indptr[i+1]-1].

    Args:
        src: [nnz, …], float32, float64, bfloat16 or float16; the entries of a segment are contiguous.
        indptr: [rows + 1], int32 or int64: where each segment begins; from 0 to nnz, never decreasing.
        reduce: "sum"; "mean", the sum over the number of entries; "max" or "min", where the first of equal values wins
            and NaN wins over all.

    Returns:
        [rows, …], src's dtype; sums run in float32 (float64 for float64). Segments without entries are zero.

    Raises:
        ValueError: a shape or device does not fit, or reduce is unknown.
        TypeError: a dtype is none of the above.
        RuntimeError: indptr does not begin at 0, decreases, or does not end at nnz.

    Gradients of any order flow to src. Repeats exactly, whatever the number of threads.
    """
    _segment_out("segment_reduce", src, indptr, reduce)
    if reduce in ("max", "min") and wanted(src):
        return segment_arg(src, indptr, reduce)[0]  # only a gradient needs the winners
    out: Tensor = torch.ops.gnas_ext.segment_reduce(as_matrix(src), indptr.contiguous(), reduce)
    return out.reshape(out.shape[0], *src.shape[1:])


def segment_arg(src: Tensor, indptr: Tensor, reduce: Reduce = "max") -> tuple[Tensor, Tensor]:
    """Max or min of each segment, and which entry it came from.

    Args:
        src: [nnz, …], as in `segment_reduce`.
        indptr: [rows + 1], as in `segment_reduce`.
        reduce: "max" or "min"; the first of equal values wins, and NaN wins over all.

    Returns:
        Values, [rows, …], src's dtype, zero in segments without entries; and the row of src that each was taken from,
        [rows, …], indptr's dtype, -1 in segments without entries. It raises as `segment_reduce` does.

    Gradients of any order flow from the values to the entries that won.
    """
    if reduce not in ("max", "min"):
        raise ValueError(f"segment_arg: expected reduce max or min, got {reduce!r}")
    _segment_out("segment_arg", src, indptr, reduce)
    out, arg = torch.ops.gnas_ext.segment_arg(as_matrix(src), indptr.contiguous(), reduce)
    shape = (out.shape[0], *src.shape[1:])
    return out.reshape(shape), arg.reshape(shape)


def gather_segments(src: Tensor, indptr: Tensor, nnz: int | None = None) -> Tensor:
    """Gives each entry what its segment has: out[e] = src[i] for indptr[i] <= e < indptr[i+1].

    Args:
        src: [rows, …], float32, float64, bfloat16 or float16.
        indptr: [rows + 1], int32 or int64: where each segment begins; from 0 to nnz, never decreasing.
        nnz: the number of entries, which indptr ends with; it is read from there if it is not given.

    Returns:
        [nnz, …], src's dtype.

    Raises:
        ValueError: a shape or device does not fit.
        TypeError: a dtype is none of the above.
        RuntimeError: indptr does not begin at 0, decreases, or does not end at nnz.

    Gradients of any order flow to src.
    """
    _gather_segments_out(src, indptr)
    count = int(indptr[-1]) if nnz is None else nnz
    out: Tensor = torch.ops.gnas_ext.gather_segments(as_matrix(src), indptr.contiguous(), None, count)
    return out.reshape(out.shape[0], *src.shape[1:])


def _check_indptr(op: str, indptr: Tensor, src: Tensor) -> None:
    if indptr.dtype not in INDEX_TYPES:
        raise TypeError(f"{op}: expected indptr in int32 or int64, got {indptr.dtype}")
    if indptr.dim() != 1 or indptr.shape[0] == 0:
        raise ValueError(f"{op}: expected indptr of shape [rows + 1], got {list(indptr.shape)}")
    if src.device != indptr.device:
        raise ValueError(f"{op}: src is on {src.device}, indptr on {indptr.device}: move one with .to()")


def _segment_out(op: str, src: Tensor, indptr: Tensor, reduce: str) -> tuple[int, ...]:
    """The contract of segment_reduce and segment_arg: what is refused, and the shape that comes out."""
    check_reduce(op, reduce)
    check_features(op, "src", src)
    _check_indptr(op, indptr, src)
    return indptr.shape[0] - 1, *src.shape[1:]


def _gather_segments_out(src: Tensor, indptr: Tensor) -> tuple[int, ...]:
    """The contract of gather_segments: what is refused, and the shape of what an entry gets."""
    check_features("gather_segments", "src", src)
    _check_indptr("gather_segments", indptr, src)
    if src.shape[0] != indptr.shape[0] - 1:
        raise ValueError(
            f"gather_segments: expected src of shape [{indptr.shape[0] - 1}, …] for as many segments, got "
            f"{list(src.shape)}"
        )
    return tuple(src.shape[1:])


def _segment_reduce_fake(src: Tensor, indptr: Tensor, reduce: str) -> Tensor:
    return src.new_empty(_segment_out("segment_reduce", src, indptr, reduce))


def _segment_arg_fake(src: Tensor, indptr: Tensor, reduce: str) -> tuple[Tensor, Tensor]:
    shape = _segment_out("segment_arg", src, indptr, reduce)
    return src.new_empty(shape), indptr.new_empty(shape)


def _gather_segments_fake(src: Tensor, indptr: Tensor, select: Tensor | None, nnz: int) -> Tensor:
    shape = _gather_segments_out(src, indptr)
    if select is not None and select.shape != src.shape:
        raise ValueError(f"gather_segments: expected select of src's shape {list(src.shape)}, got {list(select.shape)}")
    return src.new_empty((nnz, *shape))


def pick(x: Tensor, arg: Tensor) -> Tensor:
    """out[i, f] = x[arg[i, f], f]; zero where arg is -1. In plain torch: the transpose of sending to the winners."""
    if x.shape[0] == 0:
        return x.new_zeros(arg.shape)
    value = x.gather(0, arg.clamp(min=0).long())
    return torch.where(arg < 0, torch.zeros_like(value), value)


def _save_reduce(ctx: Any, inputs: tuple[Tensor, Tensor, str], output: Tensor) -> None:
    src, indptr, ctx.reduce = inputs
    ctx.nnz = src.shape[0]
    ctx.save_for_backward(indptr)


def _reduce_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    (indptr,) = ctx.saved_tensors
    if ctx.reduce in ("max", "min"):
        raise RuntimeError(f"segment_reduce: the gradient of {ctx.reduce} needs the winners: call segment_arg")
    if ctx.reduce == "mean":
        grad = of_sums(grad, indptr)
    return torch.ops.gnas_ext.gather_segments(grad, indptr, None, ctx.nnz), None, None


def _save_arg(ctx: Any, inputs: tuple[Tensor, Tensor, str], output: tuple[Tensor, Tensor]) -> None:
    src, indptr, _ = inputs
    ctx.nnz = src.shape[0]
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(indptr, output[1])


def _arg_backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Any, ...]:
    indptr, arg = ctx.saved_tensors
    return torch.ops.gnas_ext.gather_segments(grad, indptr, arg, ctx.nnz), None, None


def _save_gather(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None, int], output: Tensor) -> None:
    _, indptr, select, _ = inputs
    ctx.save_for_backward(indptr, select)


def _gather_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    indptr, select = ctx.saved_tensors
    to_segments = torch.ops.gnas_ext.segment_reduce(grad, indptr, "sum") if select is None else pick(grad, select)
    return to_segments, None, None, None


torch.library.register_fake("gnas_ext::segment_reduce", _segment_reduce_fake)
torch.library.register_fake("gnas_ext::segment_arg", _segment_arg_fake)
torch.library.register_fake("gnas_ext::gather_segments", _gather_segments_fake)
register_autograd("segment_reduce", _reduce_backward, setup_context=_save_reduce)
register_autograd("segment_arg", _arg_backward, setup_context=_save_arg)
register_autograd("gather_segments", _gather_backward, setup_context=_save_gather)
