"""Scores of edges: what do the two ends of each edge come to together?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import torch
from torch import Tensor

from gnas_ext.ops._autocast import lowered, register_autocast, widened
from gnas_ext.ops._autograd import linear, register_autograd, wanted
from gnas_ext.ops.spmm import gather_winners, transposed

if TYPE_CHECKING:
    from gnas_ext.graph.csr import CSR

Pairing = Literal["dot", "add", "mul"]

_FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def sddmm(csr: CSR, a: Tensor, b: Tensor, op: Pairing = "dot") -> Tensor:
    """Dense with dense, sampled at the edges: out[e] = a[row of e] op b[indices[e]].

    Args:
        csr: graph of shape [rows, cols]; its weights are not used.
        a: [rows, width] or [rows, heads, dim], float32, float64, bfloat16 or float16.
        b: [cols, width] or [cols, heads, dim], a's dtype.
        op: "dot", one product a head; "add" or "mul", element by element.

    Returns:
        dot: [nnz], or [nnz, heads]; sums run in float32 (float64 for float64). add and mul: [nnz, width] or
        [nnz, heads, dim]. In a's dtype.

    Raises:
        ValueError: a shape or device does not fit, or op is unknown.
        TypeError: a dtype is none of the above, or a and b differ in it.

    Gradients of any order flow to a and b. Repeats exactly, whatever the number of threads.
    """
    if op not in get_args(Pairing):
        raise ValueError(f"sddmm: expected op in {', '.join(get_args(Pairing))}, got {op!r}")
    if a.dim() == 3 and b.dim() == 3 and a.shape[1:] != b.shape[1:]:
        raise ValueError(f"sddmm: a and b differ in heads or dim: {list(a.shape)} and {list(b.shape)}")
    heads = a.shape[1] if a.dim() == 3 and b.dim() == 3 else 0
    left, right = (a.flatten(1), b.flatten(1)) if heads else (a, b)
    left, right = lowered(a.device, left, right) if op == "dot" else widened(a.device, left, right)
    _sddmm_out(csr.indptr, csr.indices, left, right)
    if csr.cols != b.shape[0]:
        raise ValueError(
            f"sddmm: expected b of shape [{csr.cols}, width] for a graph of shape {list(csr.shape)}, got "
            f"{list(b.shape)}"
        )
    wants_gradient = wanted(a, b)
    t = csr.transposed_structure() if wants_gradient else (None, None, None)
    out: Tensor
    if op != "dot":
        if csr.edge is not None:
            # The transpose of a transpose counts the entries of the original: here they are counted as they stand.
            csr = csr.with_weight(None)
            t = csr.transposed_structure() if wants_gradient else (None, None, None)
        out = torch.ops.gnas_ext.sddmm_elementwise(csr.indptr, csr.indices, left, right, op, *t)
        return out.view(-1, *a.shape[1:]) if heads else out
    out = torch.ops.gnas_ext.sddmm(csr.indptr, csr.indices, csr.edge, left, right, None, heads, *t)
    return out if csr.edge is None else out[csr.edge.long()]  # the op writes in the order of the stored weights


def _sddmm_out(indptr: Tensor, indices: Tensor, a: Tensor, b: Tensor, heads: int = 0) -> Any:
    """The contract of sddmm: what is refused, and the shape that comes out. The fake kernel is this function."""
    for name, side in (("a", a), ("b", b)):
        if side.dim() != 2:
            raise ValueError(f"sddmm: expected {name} of shape [rows, width], got {list(side.shape)}")
        if side.dtype not in _FLOATS:
            raise TypeError(f"sddmm: expected {name} in float32, float64, bfloat16 or float16, got {side.dtype}")
        if side.device != indptr.device:
            raise ValueError(f"sddmm: {name} is on {side.device}, the graph on {indptr.device}: move one with .to()")
    if a.dtype != b.dtype:
        raise TypeError(f"sddmm: expected a and b in one dtype, got {a.dtype} and {b.dtype}")
    if a.shape[0] != indptr.shape[0] - 1 or a.shape[1] != b.shape[1]:
        raise ValueError(f"sddmm: expected a of shape [{indptr.shape[0] - 1}, {b.shape[1]}], got {list(a.shape)}")
    if heads > 1 and a.shape[1] % heads != 0:
        raise ValueError(f"sddmm: expected a width that is a multiple of the {heads} heads, got {a.shape[1]}")
    return (indices.shape[0], heads) if heads else indices.shape


def _sddmm_fake(
    indptr: Tensor,
    indices: Tensor,
    edge: Tensor | None,
    a: Tensor,
    b: Tensor,
    select: Tensor | None,
    heads: int,
    *_: Any,
) -> Tensor:
    return a.new_empty(_sddmm_out(indptr, indices, a, b, heads))


def _elementwise_fake(indptr: Tensor, indices: Tensor, a: Tensor, b: Tensor, op: str, *_: Any) -> Tensor:
    if op not in ("add", "mul"):
        raise ValueError(f"sddmm_elementwise: expected op add or mul, got {op!r}")
    _sddmm_out(indptr, indices, a, b)
    return a.new_empty(indices.shape[0], a.shape[1])


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, heads, t_indptr, t_indices, t_edge = inputs
    ctx.save_for_backward(*tensors, t_indptr, t_indices, t_edge)
    ctx.heads = heads


def _backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    indptr, indices, edge, a, b, select, *kept = ctx.saved_tensors
    t = transposed(indptr, indices, edge, b.shape[0], tuple(kept))
    grad_a = grad_b = None
    if ctx.needs_input_grad[3]:
        if select is None:
            grad_a = torch.ops.gnas_ext.spmm(indptr, indices, edge, grad, b, "sum", *t)
        else:
            grad_a = gather_winners(indices, grad, b, select)
    if ctx.needs_input_grad[4]:
        if select is None:
            grad_b = torch.ops.gnas_ext.spmm(*t, grad, a, "sum", indptr, indices, edge)
        else:
            grad_b = torch.ops.gnas_ext.spmm_select(*t, grad, a, select, indptr, indices, edge)
    return None, None, None, grad_a, grad_b, None, None, None, None, None


def _save_elementwise(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    indptr, indices, a, b, op, *kept = inputs
    ctx.save_for_backward(indptr, indices, a, b, *kept)
    ctx.op = op


def _elementwise_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    indptr, indices, a, b, *kept = ctx.saved_tensors
    t_indptr, _, t_edge = transposed(indptr, indices, None, b.shape[0], tuple(kept))
    places = torch.arange(indices.shape[0], dtype=indices.dtype, device=indices.device)
    if t_edge is None:
        t_edge = places
    grad_a = grad_b = None
    # What arrives at the edges is added up in the rows, and in the columns, of each.
    if ctx.needs_input_grad[2]:
        arriving = grad if ctx.op == "add" else grad * b.index_select(0, indices)
        grad_a = torch.ops.gnas_ext.spmm(indptr, places, None, None, arriving, "sum", None, None, None)
    if ctx.needs_input_grad[3]:
        if ctx.op == "mul":
            row = torch.repeat_interleave(indptr[1:] - indptr[:-1], output_size=indices.shape[0])
            grad = grad * a.index_select(0, row)
        grad_b = torch.ops.gnas_ext.spmm(t_indptr, t_edge, None, None, grad, "sum", None, None, None)
    return None, None, grad_a, grad_b, None, None, None, None


def _elementwise_jvp(inputs: list[Any], tangents: tuple[Tensor | None, ...], output: Tensor) -> Tensor:
    indptr, indices, a, b, op, *t = inputs
    if op == "mul":
        return cast("Tensor", linear("sddmm_elementwise", 2, 3)(inputs, tangents, output))
    left, right = (torch.zeros_like(s) if d is None else d for s, d in ((a, tangents[2]), (b, tangents[3])))
    return cast("Tensor", torch.ops.gnas_ext.sddmm_elementwise(indptr, indices, left, right, "add", *t))


torch.library.register_fake("gnas_ext::sddmm", _sddmm_fake)
torch.library.register_fake("gnas_ext::sddmm_elementwise", _elementwise_fake)
register_autograd("sddmm_elementwise", _elementwise_backward, setup_context=_save_elementwise, jvp=_elementwise_jvp)
register_autograd("sddmm", _backward, setup_context=_save, jvp=linear("sddmm", 3, 4))
register_autocast("sddmm")
