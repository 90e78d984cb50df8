"""Softmax over neighbourhoods: what share of its row does each edge get?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

import gnas_ext._native  # noqa: F401  (registers the ops)
from gnas_ext.ops._autograd import register_autograd

if TYPE_CHECKING:
    from gnas_ext.graph.csr import CSR

_FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def segment_softmax(csr: CSR | Tensor, score: Tensor) -> Tensor:
    """Softmax over each row's entries: out[e] = exp(score[e]) / sum of exp(score) over the entries of e's row.

    Args:
        csr: graph of shape [rows, cols], its weights not used; or row pointers, [rows + 1], int32 or int64.
        score: [nnz], or [nnz, heads] for a softmax a head; float32, float64, bfloat16 or float16; in the order of
            `csr.indices`.

    Returns:
        score's shape and dtype; exp and sums run in float32 (float64 for float64), the row's maximum subtracted. -inf
        masks an entry: its share is 0, also where a whole row is masked. NaN or +inf makes its row NaN, as in torch.

    Raises:
        ValueError: a shape or device does not fit.
        TypeError: a dtype is none of the above.

    Gradients of any order flow to score. Repeats exactly, whatever the number of threads. Like every op here, it keeps
    score's dtype under autocast.
    """
    indptr = csr if isinstance(csr, Tensor) else csr.indptr
    _segment_softmax_out(indptr, score)
    if not isinstance(csr, Tensor) and score.shape[0] != csr.indices.shape[0]:
        raise ValueError(
            f"segment_softmax: expected score of shape [{csr.indices.shape[0]}] or [{csr.indices.shape[0]}, heads], "
            f"got {list(score.shape)}"
        )
    return cast("Tensor", torch.ops.gnas_ext.segment_softmax(indptr, score))


def _segment_softmax_out(indptr: Tensor, score: Tensor) -> Tensor:
    """The contract of segment_softmax: what is refused, and what comes out. The fake kernel is this function."""
    if score.dim() not in (1, 2):
        raise ValueError(f"segment_softmax: expected score of shape [nnz] or [nnz, heads], got {list(score.shape)}")
    if score.dtype not in _FLOATS:
        raise TypeError(f"segment_softmax: expected score in float32, float64, bfloat16 or float16, got {score.dtype}")
    if indptr.dim() != 1 or indptr.shape[0] == 0:
        raise ValueError(f"segment_softmax: expected indptr of shape [rows + 1], got {list(indptr.shape)}")
    if indptr.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"segment_softmax: expected indptr in int32 or int64, got {indptr.dtype}")
    if score.device != indptr.device:
        raise ValueError(
            f"segment_softmax: score is on {score.device}, the graph on {indptr.device}: move one with .to()"
        )
    return score.new_empty(score.shape)


def _segment_softmax_backward_fake(indptr: Tensor, x: Tensor, grad: Tensor) -> Tensor:
    if grad.shape != x.shape:
        raise ValueError(
            f"segment_softmax_backward: expected grad of x's shape {list(x.shape)}, got {list(grad.shape)}"
        )
    return _segment_softmax_out(indptr, x)


def row_sums(indptr: Tensor, x: Tensor) -> Tensor:
    """What the entries of its row add up to, for each entry: [nnz, heads] to [nnz, heads].

    Two sums over graphs whose columns are the entries, so that it repeats exactly and has gradients of any order.
    """
    rows, nnz = indptr.shape[0] - 1, x.shape[0]
    entry = torch.arange(nnz + 1, dtype=indptr.dtype, device=indptr.device)
    row = torch.repeat_interleave(
        torch.arange(rows, dtype=indptr.dtype, device=indptr.device), indptr[1:] - indptr[:-1], output_size=nnz
    )
    by_row = (indptr, entry[:-1], None)
    by_entry = (entry, row, None)
    flat = x.unsqueeze(1) if x.dim() == 1 else x
    total = torch.ops.gnas_ext.spmm(*by_row, None, flat, "sum", *by_entry)
    return cast("Tensor", torch.ops.gnas_ext.spmm(*by_entry, None, total, "sum", *by_row).view(x.shape))


def _save(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0], output)


def _backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    indptr, out = ctx.saved_tensors
    return None, torch.ops.gnas_ext.segment_softmax_backward(indptr, out, grad)


def _save_backward(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    """Of x * (g - s(x * g)), s being the row's sum: linear in g, and by the product rule in x."""
    indptr, x, g = ctx.saved_tensors
    grad_x = grad_g = None
    if ctx.needs_input_grad[1]:
        grad_x = grad * (g - row_sums(indptr, x * g)) - g * row_sums(indptr, x * grad)
    if ctx.needs_input_grad[2]:
        grad_g = torch.ops.gnas_ext.segment_softmax_backward(indptr, x, grad)
    return None, grad_x, grad_g


torch.library.register_fake("gnas_ext::segment_softmax", _segment_softmax_out)
torch.library.register_fake("gnas_ext::segment_softmax_backward", _segment_softmax_backward_fake)
register_autograd("segment_softmax", _backward, setup_context=_save)
register_autograd("segment_softmax_backward", _backward_backward, setup_context=_save_backward)
