"""Several hops at once: what do a node's neighbourhoods add up to, near and far?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.nn.functional import pad

from gnas_ext.ops._autocast import lowered
from gnas_ext.ops._autograd import linear, register_autograd, wanted
from gnas_ext.ops.spmm import _spmm_out, heads_of, transposed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gnas_ext.graph.csr import CSR

# Rows whose sums are added up together where all of a matrix are.
_ROWS = 256


def propagate(csr: CSR, x: Tensor, hop_weights: Tensor | Sequence[float]) -> Tensor:
    """A polynomial of the graph applied to features: sum over k of hop_weights[k] * A^k x.

    LightGCN's layers (He et al., 2020) are equal weights, personalised PageRank (Gasteiger et al., 2019) is
    alpha * (1 - alpha)^k. Two buffers go round instead of one a hop.

    Args:
        csr: square graph A, [nodes, nodes]; edge weights in x's dtype, [nnz] or [nnz, heads], or none (all ones).
        x: features, [nodes, width] or [nodes, heads, dim], float32, float64, bfloat16 or float16.
        hop_weights: [hops + 1], of x itself, of its neighbours, of theirs …; a tensor may require a gradient.

    Returns:
        x's shape and dtype. Sums over edges and over hops run in float32 (float64 for float64); what goes from hop to
        hop is rounded to x's dtype.

    Raises:
        ValueError: the graph is not square, or a shape or device does not fit.
        TypeError: x's dtype is none of the above, or the weights have another one.

    Gradients of any order flow to x, to the edge weights and to hop_weights; the one to edge weights keeps a tensor a
    hop. Repeats exactly, whatever the number of threads.
    """
    accumulator = torch.float64 if x.dtype == torch.float64 else torch.float32
    hop_weight = torch.as_tensor(hop_weights, device=x.device).to(accumulator)
    if csr.rows != csr.cols:
        raise ValueError(f"propagate: expected a square graph, got one of shape {list(csr.shape)}")
    weight, x = lowered(x.device, csr.stored_weight, x)
    if weight is not None and weight.dim() == 2 and (x.dim() != 3 or weight.shape[1] != x.shape[1]):
        raise ValueError(
            f"propagate: expected x of shape [{csr.cols}, {weight.shape[1]}, dim] for weights of {weight.shape[1]} "
            f"heads, got {list(x.shape)}"
        )
    flat = x.flatten(1) if x.dim() == 3 else x
    if hop_weight.dim() == 1 and hop_weight.shape[0] == 1:
        _spmm_out(csr.indptr, csr.indices, csr.edge, weight, flat, "sum")
        return (x * hop_weight).to(x.dtype)
    _propagate_out(csr.indptr, csr.indices, csr.edge, weight, flat, hop_weight)
    t = csr.transposed_structure() if wanted(x, hop_weight, weight) else (None, None, None)
    out = torch.ops.gnas_ext.propagate(csr.indptr, csr.indices, csr.edge, weight, flat, hop_weight, *t)
    return cast("Tensor", out.view(x.shape))


def _propagate_out(
    indptr: Tensor, indices: Tensor, edge: Tensor | None, weight: Tensor | None, x: Tensor, hop_weight: Tensor, *_: Any
) -> Tensor:
    """The contract of propagate: what is refused, and what comes out. The fake kernel is this function."""
    rows, width = _spmm_out(indptr, indices, edge, weight, x, "sum")
    if rows != x.shape[0]:
        raise ValueError(f"propagate: expected x of shape [{rows}, width], got {list(x.shape)}")
    if hop_weight.dim() != 1 or hop_weight.shape[0] < 2:
        raise ValueError(f"propagate: expected hop_weights of shape [hops + 1], got {list(hop_weight.shape)}")
    return x.new_empty(rows, width)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    indptr, indices, edge, weight, x, hop_weight, *kept = ctx.saved_tensors
    graph = (indptr, indices, edge)
    t = transposed(indptr, indices, edge, x.shape[0], tuple(kept))
    native = torch.ops.gnas_ext
    grad_weight = grad_x = grad_hops = None
    if ctx.needs_input_grad[3] or ctx.needs_input_grad[5]:
        hops = [x]
        while len(hops) < hop_weight.shape[0]:
            hops.append(native.spmm(*graph, weight, hops[-1], "sum", *t))
        if ctx.needs_input_grad[5]:
            grad_hops = torch.stack([_sum(grad.to(hop_weight.dtype) * hop) for hop in hops])
        if ctx.needs_input_grad[3]:
            # By Horner's rule: what arrives at hop k - 1, through all later ones.
            arriving = hop_weight[-1].to(grad.dtype) * grad
            for k in range(len(hops) - 1, 0, -1):
                at_hop = native.sddmm(*graph, arriving, hops[k - 1], None, heads_of(weight), *t)
                grad_weight = at_hop if grad_weight is None else grad_weight + at_hop
                arriving = hop_weight[k - 1].to(grad.dtype) * grad + native.spmm(*t, weight, arriving, "sum", *graph)
    if ctx.needs_input_grad[4]:
        grad_x = native.propagate(*t, weight, grad, hop_weight, *graph)
    return None, None, None, grad_weight, grad_x, grad_hops, None, None, None


def _sum(values: Tensor) -> Tensor:
    """Of a matrix, in parts that do not depend on the number of threads, as torch's of everything at once do."""
    a_row = values.sum(1)
    return pad(a_row, (0, -len(a_row) % _ROWS)).view(-1, _ROWS).sum(1).sum()


def _jvp(inputs: list[Any], tangents: tuple[Tensor | None, ...], output: Tensor) -> Tensor | None:
    if tangents[3] is not None:
        raise NotImplementedError(
            "propagate: forward-mode derivatives by edge weights: use spmm a hop, or reverse mode"
        )
    return cast("Tensor | None", linear("propagate", 4, 5)(inputs, tangents, output))


torch.library.register_fake("gnas_ext::propagate", _propagate_out)
register_autograd("propagate", _backward, setup_context=_save, jvp=_jvp)
