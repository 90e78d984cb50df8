"""Message passing over the edges that a mask keeps, and over the rows that are asked for.

The live sub-graph is computed at the speed of memory, weights with it, and multiplied as any other. `spmm_masked` and
`sddmm_masked` are each other's gradients, on the kept transpose with the mask looked up through its `edge`: so
gradients of any order exist, and nothing is sorted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from gnas_ext.ops._autocast import lowered, register_autocast
from gnas_ext.ops._autograd import _library, linear, register_autograd, wanted
from gnas_ext.ops.edge_masks import packed
from gnas_ext.ops.select_edges import check_mask
from gnas_ext.ops.spmm import _check, _spmm_out, heads_of, over, spmm, transposed

if TYPE_CHECKING:
    from gnas_ext.graph.csr import CSR
    from gnas_ext.ops.spmm import Reduce

_library.define(
    "spmm_masked(Tensor indptr, Tensor indices, Tensor? edge, Tensor? weight, Tensor x, Tensor mask, Tensor? scores, "
    "str reduce, Tensor? t_indptr, Tensor? t_indices, Tensor? t_edge) -> Tensor"
)
_library.define(
    "sddmm_masked(Tensor indptr, Tensor indices, Tensor? edge, Tensor a, Tensor b, Tensor mask, int heads, "
    "Tensor? t_indptr, Tensor? t_indices, Tensor? t_edge) -> Tensor"
)
native: Any = torch.ops.gnas_ext


def spmm_masked(csr: CSR, x: Tensor, mask: Tensor, reduce: Reduce = "sum", scores: Tensor | None = None) -> Tensor:
    """`spmm` over the edges that a mask keeps, while the mask still moves; `csr.masked(mask)` is for one that is fixed.

    Args:
        csr: graph of shape [rows, cols]; edge weights in x's dtype, [nnz] or [nnz, heads], or none (all ones).
        x: features, [cols, width] or [cols, heads, dim], float32, float64, bfloat16 or float16.
        mask: bool, [nnz], or packed (`pack_mask`), in the order of the stored weights.
        reduce: as in `spmm`; "mean" divides by the number of kept edges.
        scores: [nnz], float, in the order of the stored weights, or None: what the mask was made of. They get the
            gradient that the mask would have, the straight-through estimator (Bengio et al., 2013): for every edge, a
            masked one too, weight[e] * <gradient[row of e], x[column of e]>; for "mean" with the number of kept edges
            held fixed. Not for "max" and "min".

    Returns:
        [rows, width] or [rows, heads, dim], x's dtype; a row without kept edges is zero.

    Raises:
        ValueError: mask or scores have another shape, or what `spmm` refuses.
        TypeError: mask is neither of bool nor of uint8, or what `spmm` refuses.

    Gradients of any order flow to x and to the weights, zero where masked; to scores, of the first order, itself
    differentiable. Cost: a pass over the graph, then `spmm` over the edges that are left. Repeats exactly, whatever the
    number of threads.
    """
    bits = packed("spmm_masked", mask, csr.nnz)
    check_mask("spmm_masked", bits, csr.nnz, csr.device)
    if reduce in ("max", "min"):
        if scores is not None:
            raise ValueError(f"spmm_masked: scores have no gradient under {reduce}: leave them out")
        return spmm(csr.masked(bits), x, reduce)
    if scores is not None and scores.shape != (csr.nnz,):
        raise ValueError(f"spmm_masked: expected scores of shape [{csr.nnz}], got {list(scores.shape)}")
    weight, x = lowered(x.device, csr.stored_weight, x)
    _check(csr, weight, x, reduce)
    t = csr.transposed_structure() if wanted(x, weight, scores) else (None, None, None)
    flat = x.flatten(1) if x.dim() == 3 else x
    out = native.spmm_masked(csr.indptr, csr.indices, csr.edge, weight, flat, bits, scores, reduce, *t)
    return cast("Tensor", out.view(-1, *x.shape[1:]) if x.dim() == 3 else out)


def spmm_active(csr: CSR, x: Tensor, rows: Tensor, reduce: Reduce = "sum") -> Tensor:
    """`spmm` of the named rows alone: out[i] is what row rows[i] receives.

    Args:
        csr: graph of shape [rows, cols].
        x: features, [cols, width] or [cols, heads, dim].
        rows: [count], int32 or int64; a row may come twice.
        reduce: as in `spmm`.

    Returns:
        [count, width] or [count, heads, dim], x's dtype.

    Raises:
        ValueError: rows has another shape, or what `spmm` refuses.
        TypeError: rows is in another dtype (a mask is one), or what `spmm` refuses.
        RuntimeError: a row is out of range.

    Gradients of any order flow to x and to the weights. Cost: the entries of those rows. Where the list stays, keep
    `csr.select_rows(rows)` and multiply by that.
    """
    return spmm(csr.select_rows(rows), x, reduce)


def _masked_out(
    indptr: Tensor,
    indices: Tensor,
    edge: Tensor | None,
    weight: Tensor | None,
    x: Tensor,
    mask: Tensor,
    scores: Tensor | None,
    reduce: str,
    *_: Any,
) -> Tensor:
    """The contract of spmm_masked: what is refused, and what comes out. The fake kernel is this function."""
    if reduce not in ("sum", "mean"):
        raise ValueError(f"spmm_masked: expected reduce sum or mean, got {reduce!r}")
    check_mask("spmm_masked", mask, indices.shape[0], indptr.device)
    return x.new_empty(_spmm_out(indptr, indices, edge, weight, x, reduce))


def _masked(
    indptr: Tensor,
    indices: Tensor,
    edge: Tensor | None,
    weight: Tensor | None,
    x: Tensor,
    mask: Tensor,
    scores: Tensor | None,
    reduce: str,
    *_: Any,
) -> Tensor:
    """The kernel. Weights of one head are compacted in the pass that selects, so that they are read in a row."""
    cols = x.shape[0]
    if weight is None or weight.dim() == 1:
        indptr, indices, _, left = native.select_edges(indptr, indices, edge, weight, mask, None, None, cols, 0, "none")
        weight = None if weight is None else left
    else:
        indptr, indices, place, _ = native.select_edges(
            indptr, indices, edge, None, mask, None, None, cols, 0, "stored"
        )
        weight = weight.index_select(0, place)
    return cast("Tensor", native.spmm(indptr, indices, None, weight, x, reduce, None, None, None))


def _sddmm_masked_out(
    indptr: Tensor, indices: Tensor, edge: Tensor | None, a: Tensor, b: Tensor, mask: Tensor, heads: int, *_: Any
) -> Tensor:
    check_mask("sddmm_masked", mask, indices.shape[0], indptr.device)
    return a.new_empty((indices.shape[0], heads) if heads else (indices.shape[0],))


def _sddmm_masked(
    indptr: Tensor, indices: Tensor, edge: Tensor | None, a: Tensor, b: Tensor, mask: Tensor, heads: int, *_: Any
) -> Tensor:
    """The kernel: sddmm at the kept edges, in the order of the stored weights, and zero elsewhere."""
    out = a.new_zeros((indices.shape[0], heads) if heads else (indices.shape[0],))
    indptr, indices, place, _ = native.select_edges(
        indptr, indices, edge, None, mask, None, None, b.shape[0], 0, "stored"
    )
    out[place.long()] = native.sddmm(indptr, indices, None, a, b, None, heads, None, None, None)
    return out


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    indptr, indices, edge, weight, x, mask, scores, reduce, *t = inputs
    ctx.save_for_backward(indptr, indices, edge, weight, x, mask, *t)
    ctx.reduce, ctx.scores_dtype = reduce, None if scores is None else scores.dtype


def _backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    indptr, indices, edge, weight, x, mask, *kept = ctx.saved_tensors
    if ctx.reduce == "mean":
        # How many edges are left in each row, as a product, whose shape is known beforehand.
        ones = x.new_ones(x.shape[0], 1, dtype=torch.float32)
        degree = native.spmm_masked(indptr, indices, edge, None, ones, mask, None, "sum", None, None, None)
        grad = over(grad, degree.squeeze(1))
    t = transposed(indptr, indices, edge, x.shape[0], tuple(kept))
    grad_weight = grad_x = grad_scores = None
    if ctx.needs_input_grad[3]:
        grad_weight = native.sddmm_masked(indptr, indices, edge, grad, x, mask, heads_of(weight), *t)
    if ctx.needs_input_grad[4]:
        grad_x = native.spmm_masked(*t, weight, grad, mask, None, "sum", indptr, indices, edge)
    if ctx.needs_input_grad[6]:
        every = native.sddmm(indptr, indices, edge, grad, x, None, heads_of(weight), *t)
        every = every if weight is None else every * weight
        grad_scores = (every if every.dim() == 1 else every.sum(1)).to(ctx.scores_dtype)
    return None, None, None, grad_weight, grad_x, None, grad_scores, None, None, None, None


def _jvp(inputs: list[Any], tangents: tuple[Tensor | None, ...], output: Tensor) -> Tensor | None:
    if tangents[6] is not None:
        raise NotImplementedError("spmm_masked: scores have no forward-mode derivative; use reverse mode (backward)")
    return cast("Tensor | None", linear("spmm_masked", 3, 4)(inputs, tangents, output))


def _save_sddmm(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    indptr, indices, edge, a, b, mask, heads, *t = inputs
    ctx.save_for_backward(indptr, indices, edge, a, b, mask, *t)
    ctx.heads = heads


def _sddmm_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    indptr, indices, edge, a, b, mask, *kept = ctx.saved_tensors
    t = transposed(indptr, indices, edge, b.shape[0], tuple(kept))
    grad_a = grad_b = None
    if ctx.needs_input_grad[3]:
        grad_a = native.spmm_masked(indptr, indices, edge, grad, b, mask, None, "sum", *t)
    if ctx.needs_input_grad[4]:
        grad_b = native.spmm_masked(*t, grad, a, mask, None, "sum", indptr, indices, edge)
    return None, None, None, grad_a, grad_b, None, None, None, None, None


for _device in ("CPU", "CUDA"):
    _library.impl("spmm_masked", _masked, _device)
    _library.impl("sddmm_masked", _sddmm_masked, _device)
torch.library.register_fake("gnas_ext::spmm_masked", _masked_out)
torch.library.register_fake("gnas_ext::sddmm_masked", _sddmm_masked_out)
register_autograd("spmm_masked", _backward, setup_context=_save, jvp=_jvp)
register_autograd("sddmm_masked", _sddmm_backward, setup_context=_save_sddmm, jvp=linear("sddmm_masked", 3, 4))
register_autocast("spmm_masked")
register_autocast("sddmm_masked")
