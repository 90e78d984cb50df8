"""Attention over neighbourhoods: which neighbours does each row listen to, by the product of queries and keys?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import Tensor

import gnas_ext._native  # noqa: F401  (registers the ops)
from gnas_ext.ops._autocast import lowered
from gnas_ext.ops._autograd import register_autograd, wanted
from gnas_ext.ops.segment_softmax import row_sums
from gnas_ext.ops.spmm import transposed

if TYPE_CHECKING:
    from gnas_ext.graph.csr import CSR

_FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def attention(
    csr: CSR, q: Tensor, k: Tensor, v: Tensor, scale: float | None = None, bias: Tensor | None = None
) -> Tensor:
    """Scaled dot-product attention where there is an edge (Vaswani et al., 2017), a head at a time.

    s[e] = scale * <q[row of e], k[indices[e]]> + bias[e]; p = softmax of s over each row's entries;
    out[i] = sum over the entries e of row i of p[e] * v[indices[e]].

    Scores, softmax and sum are one pass over each row: no tensor of edges × width exists, forward or backward. For the
    backward, out and one number a row and head are kept; it takes two numbers an edge and head of scratch.

    Args:
        csr: graph of shape [rows, cols], without weights.
        q: queries, [rows, dim] or [rows, heads, dim], float32, float64, bfloat16 or float16.
        k: keys, [cols, dim] or [cols, heads, dim], q's dtype.
        v: values, [cols, dim_v] or [cols, heads, dim_v], q's dtype.
        scale: of the products; 1 / sqrt(dim) by default.
        bias: added to the scores, [nnz] or [nnz, heads], in the order of `csr.indices`, q's dtype; -inf masks an edge.

    Returns:
        [rows, dim_v] or [rows, heads, dim_v], q's dtype; sums run in float32 (float64 for float64). Rows without edges,
        and rows that are masked as a whole, are zero.

    Raises:
        ValueError: a shape or device does not fit, or csr has weights.
        TypeError: a dtype is none of the above, or they differ.

    Gradients of any order flow to q, k, v and bias. Repeats exactly, whatever the number of threads. Under autocast it
    runs in autocast's dtype, as torch's own attention does.
    """
    refuse_weights("attention", csr)
    if q.dim() not in (2, 3) or k.dim() != q.dim() or v.dim() != q.dim():
        raise ValueError(
            "attention: expected q, k and v all of shape [nodes, dim] or all of shape [nodes, heads, dim], got "
            f"{list(q.shape)}, {list(k.shape)} and {list(v.shape)}"
        )
    heads = q.shape[1] if q.dim() == 3 else 1
    if q.dim() == 3 and (k.shape[1] != heads or v.shape[1] != heads):
        raise ValueError(f"attention: q has {heads} heads, k {k.shape[1]} and v {v.shape[1]}")
    q, k, v, bias = lowered(q.device, q, k, v, bias)
    sides = (q.flatten(1), k.flatten(1), v.flatten(1))
    edges = None if bias is None else stored_order("attention", csr, bias, heads)
    scale = q.shape[-1] ** -0.5 if scale is None and q.shape[-1] else scale or 0.0
    _attention_out(csr.indptr, csr.indices, *sides, edges, heads)
    if csr.cols != k.shape[0]:
        raise ValueError(
            f"attention: expected k of {csr.cols} rows for a graph of shape {list(csr.shape)}, got {list(k.shape)}"
        )
    t = csr.transposed_structure() if wanted(*sides, edges) else (None, None, None)
    out, _ = torch.ops.gnas_ext.attention(csr.indptr, csr.indices, csr.edge, *sides, edges, heads, float(scale), *t)
    return cast("Tensor", out.view(csr.rows, *v.shape[1:]))


def refuse_weights(op: str, csr: CSR) -> None:
    """Weights that an op would leave out without a word are refused."""
    if csr.stored_weight is not None:
        raise ValueError(f"{op}: the graph has weights, which it does not use: pass csr.with_weight(None)")


def stored_order(op: str, csr: CSR, bias: Tensor, heads: int) -> Tensor:
    """A bias an entry, as the ops read it: [nnz, heads], where the entries' weights would be stored."""
    nnz = csr.indices.shape[0]
    if bias.shape not in ((nnz,), (nnz, heads)):
        raise ValueError(f"{op}: expected bias of shape [{nnz}] or [{nnz}, {heads}], got {list(bias.shape)}")
    wide = bias.unsqueeze(1).expand(nnz, heads) if bias.dim() == 1 else bias
    return wide if csr.edge is None else torch.empty_like(wide).index_copy(0, csr.edge.long(), wide)


def _attention_out(
    indptr: Tensor, indices: Tensor, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, heads: int
) -> tuple[tuple[Any, Any], tuple[Any, int], torch.dtype]:
    """The contract of attention: what is refused, and what comes out. The fake kernel is this function."""
    rows = indptr.shape[0] - 1
    for name, side in (("q", q), ("k", k), ("v", v)):
        if side.dim() != 2:
            raise ValueError(f"attention: expected {name} of shape [nodes, heads * dim], got {list(side.shape)}")
        if side.dtype not in _FLOATS:
            raise TypeError(f"attention: expected {name} in float32, float64, bfloat16 or float16, got {side.dtype}")
        if side.device != indptr.device:
            raise ValueError(
                f"attention: {name} is on {side.device}, the graph on {indptr.device}: move one with .to()"
            )
    if not q.dtype == k.dtype == v.dtype:
        raise TypeError(f"attention: expected q, k and v in one dtype, got {q.dtype}, {k.dtype} and {v.dtype}")
    if heads < 1 or q.shape[1] % heads or v.shape[1] % heads:
        raise ValueError(f"attention: widths {q.shape[1]} and {v.shape[1]} are not multiples of {heads} heads")
    if q.shape[0] != rows:
        raise ValueError(f"attention: expected q of {rows} rows, one a row of the graph, got {q.shape[0]}")
    if k.shape[1] != q.shape[1] or k.shape[0] != v.shape[0]:
        raise ValueError(
            f"attention: expected k of q's width {q.shape[1]} and as many rows as v has, {v.shape[0]}, got "
            f"{list(k.shape)}"
        )
    if bias is not None:
        if bias.dtype != q.dtype:
            raise TypeError(f"attention: expected bias in q's dtype {q.dtype}, got {bias.dtype}")
        if bias.shape != (indices.shape[0], heads):
            raise ValueError(f"attention: expected bias of shape [{indices.shape[0]}, {heads}], got {list(bias.shape)}")
    return (rows, v.shape[1]), (rows, heads), sums_dtype(v)


def sums_dtype(x: Tensor) -> torch.dtype:
    """In which dtype the ops add up."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _attention_fake(
    indptr: Tensor,
    indices: Tensor,
    edge: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    heads: int,
    scale: float,
    *_: Any,
) -> tuple[Tensor, Tensor]:
    out, lse, sums = _attention_out(indptr, indices, q, k, v, bias, heads)
    return v.new_empty(out), v.new_empty(lse, dtype=sums)


def _attention_backward_fake(
    indptr: Tensor,
    indices: Tensor,
    edge: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    heads: int,
    scale: float,
    *_: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _attention_out(indptr, indices, q, k, v, bias, heads)
    entries = 0 if bias is None else indices.shape[0]
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape), v.new_empty(entries, heads)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, heads, scale, t_indptr, t_indices, t_edge = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(*tensors, *output, t_indptr, t_indices, t_edge)
    ctx.heads, ctx.scale = heads, scale


def _backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Any, ...]:
    indptr, indices, edge, q, k, v, bias, out, lse, *kept = ctx.saved_tensors
    t = transposed(indptr, indices, edge, k.shape[0], tuple(kept))
    *gradients, grad_bias = torch.ops.gnas_ext.attention_backward(
        indptr, indices, edge, q, k, v, bias, ctx.heads, ctx.scale, out, lse, grad, *t
    )
    return None, None, None, *gradients, None if bias is None else grad_bias, None, None, None, None, None


class Edges(NamedTuple):
    """A graph and its transpose, as the ops take them: for gradients of gradients, by differentiable ops."""

    indptr: Tensor
    indices: Tensor
    edge: Tensor | None
    t: tuple[Tensor, Tensor, Tensor | None]
    heads: int

    def dot(self, a: Tensor, b: Tensor) -> Tensor:
        """<a[row of e], b[indices[e]]> a head, [nnz, heads]."""
        graph = (self.indptr, self.indices, self.edge)
        return cast("Tensor", torch.ops.gnas_ext.sddmm(*graph, a, b, None, self.heads, *self.t))

    def to_rows(self, weight: Tensor, x: Tensor) -> Tensor:
        """The sum over each row's entries of weight[e] * x[indices[e]] a head."""
        graph = (self.indptr, self.indices, self.edge)
        return cast("Tensor", torch.ops.gnas_ext.spmm(*graph, weight, x, "sum", *self.t))

    def to_cols(self, weight: Tensor, x: Tensor) -> Tensor:
        """The sum over each column's entries of weight[e] * x[row of e] a head."""
        graph = (self.indptr, self.indices, self.edge)
        return cast("Tensor", torch.ops.gnas_ext.spmm(*self.t, weight, x, "sum", *graph))

    def entries(self, stored: Tensor) -> Tensor:
        """From the order in which the ops keep an edge's numbers to that of the entries."""
        return stored if self.edge is None else stored[self.edge.long()]

    def stored(self, entries: Tensor) -> Tensor:
        """The other way."""
        return entries if self.edge is None else torch.empty_like(entries).index_copy(0, self.edge.long(), entries)


class SecondOrder(NamedTuple):
    """What the gradients of the gradients are made of, an edge and head each: [nnz, heads]."""

    share: Tensor
    grad_score: Tensor  # the first gradient of the scores
    grad_product: Tensor  # of <grad, v>
    again: Tensor  # of the scores, through the first gradients


def second_order(
    edges: Edges, score: Tensor, product: Tensor, toward_score: Tensor, toward_share: Tensor
) -> SecondOrder:
    """The gradient of sum(toward_score * ds) + sum(toward_share * p).

    p is the softmax of score over each row's entries and ds = p * (product - sum over the row of p * product), which
    is the gradient of the scores where product is that of the shares.
    """
    indptr = edges.indptr
    score, product, toward_score, toward_share = (
        edges.entries(t) for t in (score, product, toward_score, toward_share)
    )
    share = torch.ops.gnas_ext.segment_softmax(indptr, score)
    centred = product - row_sums(indptr, share * product)
    toward_p = centred * toward_score - product * row_sums(indptr, share * toward_score) + toward_share
    softmax_backward = torch.ops.gnas_ext.segment_softmax_backward
    found = (
        share,
        share * centred,
        softmax_backward(indptr, share, toward_score),
        softmax_backward(indptr, share, toward_p),
    )
    return SecondOrder(*(edges.stored(t) for t in found))


def _save_backward(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    indptr, indices, edge, q, k, v, bias, heads, scale, _, _, grad, *t = inputs
    ctx.save_for_backward(indptr, indices, edge, q, k, v, bias, grad, *t)
    ctx.heads, ctx.scale = heads, scale


def _backward_backward(ctx: Any, grad_q: Tensor, grad_k: Tensor, grad_v: Tensor, grad_bias: Tensor) -> tuple[Any, ...]:
    """By the ops that attention fuses. Everything goes to q, k, v, bias and grad: out and lse are functions of them."""
    indptr, indices, edge, q, k, v, bias, grad, *t = ctx.saved_tensors
    edges = Edges(indptr, indices, edge, (t[0], t[1], t[2]), ctx.heads)
    score = ctx.scale * edges.dot(q, k)
    toward_score = ctx.scale * (edges.dot(grad_q, k) + edges.dot(q, grad_k))
    if bias is not None:
        score = score + bias
        toward_score = toward_score + grad_bias
    found = second_order(edges, score, edges.dot(grad, v), toward_score, edges.dot(grad, grad_v))
    again, grad_score = ctx.scale * found.again, ctx.scale * found.grad_score
    return (
        None,
        None,
        None,
        edges.to_rows(again, k) + edges.to_rows(grad_score, grad_k),
        edges.to_cols(again, q) + edges.to_cols(grad_score, grad_q),
        edges.to_cols(found.grad_product, grad),
        None if bias is None else found.again,
        *(None,) * 4,
        edges.to_rows(found.grad_product, v) + edges.to_rows(found.share, grad_v),
        None,
        None,
        None,
    )


torch.library.register_fake("gnas_ext::attention", _attention_fake)
torch.library.register_fake("gnas_ext::attention_backward", _attention_backward_fake)
register_autograd("attention", _backward, setup_context=_save)
register_autograd("attention_backward", _backward_backward, setup_context=_save_backward)
