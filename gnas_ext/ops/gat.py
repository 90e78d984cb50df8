"""Graph attention: which neighbours does each row listen to, by a number that each node has?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

import gnas_ext._native  # noqa: F401  (registers the ops)
from gnas_ext.ops._autocast import lowered
from gnas_ext.ops._autograd import register_autograd, wanted
from gnas_ext.ops.attention import Edges, refuse_weights, second_order, sums_dtype
from gnas_ext.ops.spmm import transposed

if TYPE_CHECKING:
    from gnas_ext.graph.csr import CSR

_FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def gat(
    csr: CSR, x_dst: Tensor, x_src: Tensor, att_dst: Tensor, att_src: Tensor, negative_slope: float = 0.2
) -> Tensor:
    """The aggregation of a graph attention layer (Velickovic et al., 2018), a head at a time.

    s[e] = leaky_relu(<att_dst, x_dst[row of e]> + <att_src, x_src[indices[e]]>); p = softmax of s over each row's
    entries; out[i] = sum over the entries e of row i of p[e] * x_src[indices[e]].

    The products are computed once a node; scores, softmax and sum are one pass over each row: no tensor of
    edges × width exists, forward or backward. The backward takes two numbers an edge and head of scratch.

    Args:
        csr: graph of shape [rows, cols], without weights.
        x_dst: [rows, dim] or [rows, heads, dim], float32, float64, bfloat16 or float16.
        x_src: [cols, dim_src] or [cols, heads, dim_src], x_dst's dtype.
        att_dst: [dim] or [heads, dim], x_dst's dtype.
        att_src: [dim_src] or [heads, dim_src], x_dst's dtype.
        negative_slope: of leaky_relu.

    Returns:
        [rows, dim_src] or [rows, heads, dim_src], x_src's dtype; sums run in float32 (float64 for float64). Rows
        without edges are zero.

    Raises:
        ValueError: a shape or device does not fit, or csr has weights.
        TypeError: a dtype is none of the above, or they differ.

    Gradients of any order flow to all four. Repeats exactly, whatever the number of threads. Under autocast it runs in
    autocast's dtype, as a matmul does.
    """
    refuse_weights("gat", csr)
    x_dst, x_src, att_dst, att_src = lowered(x_src.device, x_dst, x_src, att_dst, att_src)
    for name, x, att in (("dst", x_dst, att_dst), ("src", x_src, att_src)):
        if x.dim() not in (2, 3) or x.dim() != x_src.dim():
            raise ValueError(
                "gat: expected x_dst and x_src both of shape [nodes, dim] or both of shape [nodes, heads, dim], got "
                f"{list(x_dst.shape)} and {list(x_src.shape)}"
            )
        if att.shape != x.shape[1:]:
            raise ValueError(f"gat: expected att_{name} of shape {list(x.shape[1:])}, got {list(att.shape)}")
        if att.dtype != x.dtype:
            raise TypeError(f"gat: expected att_{name} in x_{name}'s dtype {x.dtype}, got {att.dtype}")
    if x_dst.shape[1:-1] != x_src.shape[1:-1]:
        raise ValueError(f"gat: x_dst has {x_dst.shape[1]} heads, x_src {x_src.shape[1]}")
    heads = x_src.shape[1] if x_src.dim() == 3 else 1
    # On CUDA autocast widens sums.
    a_dst, a_src = (
        (x * att).sum(-1).to(x.dtype).view(x.shape[0], heads) for x, att in ((x_dst, att_dst), (x_src, att_src))
    )
    x = x_src.flatten(1)
    _gat_out(csr.indptr, a_dst, a_src, x)
    if csr.cols != x.shape[0]:
        raise ValueError(
            f"gat: expected x_src of {csr.cols} rows for a graph of shape {list(csr.shape)}, got {list(x_src.shape)}"
        )
    t = csr.transposed_structure() if wanted(a_dst, a_src, x) else (None, None, None)
    out, _ = torch.ops.gnas_ext.gat(csr.indptr, csr.indices, csr.edge, a_dst, a_src, x, float(negative_slope), *t)
    return cast("Tensor", out.view(csr.rows, *x_src.shape[1:]))


def _gat_out(indptr: Tensor, a_dst: Tensor, a_src: Tensor, x: Tensor) -> tuple[Any, Any]:
    """The contract of gat: what is refused, and what comes out. The fake kernel is this function."""
    rows = indptr.shape[0] - 1
    for name, side in (("x_src", x), ("a_dst", a_dst), ("a_src", a_src)):
        if side.dim() != 2:
            raise ValueError(f"gat: expected {name} of shape [nodes, width], got {list(side.shape)}")
        if side.dtype not in _FLOATS:
            raise TypeError(f"gat: expected {name} in float32, float64, bfloat16 or float16, got {side.dtype}")
        if side.device != indptr.device:
            raise ValueError(f"gat: {name} is on {side.device}, the graph on {indptr.device}: move one with .to()")
        if side.dtype != x.dtype:
            raise TypeError(f"gat: expected {name} in x_src's dtype {x.dtype}, got {side.dtype}")
    heads = a_dst.shape[1]
    if heads < 1 or x.shape[1] % heads:
        raise ValueError(f"gat: width {x.shape[1]} is not a multiple of {heads} heads")
    if a_dst.shape[0] != rows:
        raise ValueError(f"gat: expected x_dst of {rows} rows, one a row of the graph, got {a_dst.shape[0]}")
    if a_src.shape != (x.shape[0], heads):
        raise ValueError(f"gat: expected a_src of shape [{x.shape[0]}, {heads}], got {list(a_src.shape)}")
    return (rows, x.shape[1]), (rows, heads)


def _gat_fake(
    indptr: Tensor, indices: Tensor, edge: Tensor | None, a_dst: Tensor, a_src: Tensor, x: Tensor, *_: Any
) -> tuple[Tensor, Tensor]:
    out, lse = _gat_out(indptr, a_dst, a_src, x)
    return x.new_empty(out), x.new_empty(lse, dtype=sums_dtype(x))


def _gat_backward_fake(
    indptr: Tensor, indices: Tensor, edge: Tensor | None, a_dst: Tensor, a_src: Tensor, x: Tensor, *_: Any
) -> tuple[Tensor, Tensor, Tensor]:
    _gat_out(indptr, a_dst, a_src, x)
    return a_dst.new_empty(a_dst.shape), a_src.new_empty(a_src.shape), x.new_empty(x.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, slope, t_indptr, t_indices, t_edge = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(*tensors, *output, t_indptr, t_indices, t_edge)
    ctx.slope = slope


def _backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Any, ...]:
    indptr, indices, edge, a_dst, a_src, x, out, lse, *kept = ctx.saved_tensors
    t = transposed(indptr, indices, edge, x.shape[0], tuple(kept))
    gradients = torch.ops.gnas_ext.gat_backward(indptr, indices, edge, a_dst, a_src, x, ctx.slope, out, lse, grad, *t)
    return None, None, None, *gradients, None, None, None, None


def _save_backward(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    indptr, indices, edge, a_dst, a_src, x, slope, _, _, grad, *t = inputs
    ctx.save_for_backward(indptr, indices, edge, a_dst, a_src, x, grad, *t)
    ctx.slope = slope


def _backward_backward(ctx: Any, grad_dst: Tensor, grad_src: Tensor, grad_x: Tensor) -> tuple[Any, ...]:
    """By the ops that gat fuses. Everything goes to a_dst, a_src, x and grad: out and lse are functions of them."""
    indptr, indices, edge, a_dst, a_src, x, grad, *t = ctx.saved_tensors
    edges = Edges(indptr, indices, edge, (t[0], t[1], t[2]), a_dst.shape[1])
    ones_dst, ones_src = torch.ones_like(a_dst), torch.ones_like(a_src)

    def sums(dst: Tensor, src: Tensor) -> Tensor:
        return edges.dot(dst, ones_src) + edges.dot(ones_dst, src)

    before = sums(a_dst, a_src)
    slope = torch.where(before > 0, 1.0, ctx.slope).to(before.dtype)
    toward_score = slope * sums(grad_dst, grad_src)
    found = second_order(edges, slope * before, edges.dot(grad, x), toward_score, edges.dot(grad, grad_x))
    again = slope * found.again
    return (
        None,
        None,
        None,
        edges.to_rows(again, ones_src),
        edges.to_cols(again, ones_dst),
        edges.to_cols(found.grad_product, grad),
        *(None,) * 3,
        edges.to_rows(found.grad_product, x) + edges.to_rows(found.share, grad_x),
        None,
        None,
        None,
    )


torch.library.register_fake("gnas_ext::gat", _gat_fake)
torch.library.register_fake("gnas_ext::gat_backward", _gat_backward_fake)
register_autograd("gat", _backward, setup_context=_save)
register_autograd("gat_backward", _backward_backward, setup_context=_save_backward)
