"""Scores of edges: what is the dot product of the two ends of each edge?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gnas_ext.ops.spmm import gather_winners, transposed

if TYPE_CHECKING:
    from gnas_ext.graph.csr import CSR

_FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def sddmm(csr: CSR, a: Tensor, b: Tensor) -> Tensor:
    """Dense times dense, sampled at the edges: out[e] = <a[row of e], b[indices[e]]>.

    Args:
        csr: graph of shape [rows, cols]; its weights are not used.
        a: [rows, width], float32, float64, bfloat16 or float16.
        b: [cols, width], a's dtype.

    Returns:
        [nnz], a's dtype; sums run in float32 (float64 for float64).

    Raises:
        ValueError: a shape or device does not fit.
        TypeError: a dtype is none of the above, or a and b differ in it.

    Gradients of any order flow to a and b. Repeats exactly, whatever the number of threads.
    """
    _sddmm_out(csr.indptr, csr.indices, a, b)
    if csr.cols != b.shape[0]:
        raise ValueError(
            f"sddmm: expected b of shape [{csr.cols}, width] for a graph of shape {list(csr.shape)}, got "
            f"{list(b.shape)}"
        )
    wants_gradient = torch.is_grad_enabled() and (a.requires_grad or b.requires_grad)
    t = csr.transposed_structure() if wants_gradient else (None, None, None)
    out: Tensor = torch.ops.gnas_ext.sddmm(csr.indptr, csr.indices, csr.edge, a, b, None, *t)
    return out if csr.edge is None else out[csr.edge.long()]  # the op writes in the order of the stored weights


def _sddmm_out(indptr: Tensor, indices: Tensor, a: Tensor, b: Tensor) -> Any:
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
    return indices.shape


def _sddmm_fake(
    indptr: Tensor, indices: Tensor, edge: Tensor | None, a: Tensor, b: Tensor, select: Tensor | None, *_: Any
) -> Tensor:
    return a.new_empty(_sddmm_out(indptr, indices, a, b))


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


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
    return None, None, None, grad_a, grad_b, None, None, None, None


torch.library.register_fake("gnas_ext::sddmm", _sddmm_fake)
torch.library.register_autograd("gnas_ext::sddmm", _backward, setup_context=_save)
