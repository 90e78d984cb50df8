"""How does a batch become one call? Its elements stand side by side in the width; weights of their own are heads."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import gnas_ext.ops.spmm_masked  # noqa: F401  (defines its ops)
from gnas_ext.ops._vmap import apart, in_turn, register_vmap, side_by_side

Parts = tuple[Tensor, int]


def _heads(size: int, batched: bool, weight: Tensor | None) -> tuple[int, Tensor | None]:
    """The heads of one element's weights, and the weights of all: [nnz, heads * size] where each has its own."""
    if weight is None:
        return 1, None
    heads = weight.shape[-1] if weight.dim() == 2 + batched else 1
    if not batched:
        return heads, weight
    return heads, weight.reshape(size, -1, heads).permute(1, 2, 0).flatten(1)


def _spmm(
    size: int,
    batched: list[bool],
    indptr: Tensor,
    indices: Tensor,
    edge: Tensor | None,
    weight: Tensor | None,
    x: Tensor,
    reduce: str,
    *t: Any,
) -> Parts:
    heads, weight = _heads(size, batched[3], weight)
    wide = side_by_side(x, size, batched[4], heads)
    return apart(torch.ops.gnas_ext.spmm(indptr, indices, edge, weight, wide, reduce, *t), size, heads), 0


def _spmm_arg(
    size: int,
    batched: list[bool],
    indptr: Tensor,
    indices: Tensor,
    weight: Tensor | None,
    x: Tensor,
    reduce: str,
    *t: Any,
) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
    heads, weight = _heads(size, batched[2], weight)
    wide = side_by_side(x, size, batched[3], heads)
    out, arg = torch.ops.gnas_ext.spmm_arg(indptr, indices, weight, wide, reduce, *t)
    return (apart(out, size, heads), apart(arg, size, heads)), (0, 0)


def _spmm_select(
    size: int,
    batched: list[bool],
    indptr: Tensor,
    indices: Tensor,
    edge: Tensor | None,
    weight: Tensor | None,
    x: Tensor,
    select: Tensor,
    *t: Any,
) -> Parts:
    heads, weight = _heads(size, batched[3], weight)
    wide, chosen = (side_by_side(value, size, batched[at], heads) for at, value in ((4, x), (5, select)))
    return apart(torch.ops.gnas_ext.spmm_select(indptr, indices, edge, weight, wide, chosen, *t), size, heads), 0


def _sddmm(
    size: int,
    batched: list[bool],
    indptr: Tensor,
    indices: Tensor,
    edge: Tensor | None,
    a: Tensor,
    b: Tensor,
    select: Tensor | None,
    heads: int,
    *t: Any,
) -> Parts:
    each = max(heads, 1)
    left, right = (side_by_side(value, size, batched[at], each) for at, value in ((3, a), (4, b)))
    chosen = None if select is None else side_by_side(select, size, batched[5], each)
    out = torch.ops.gnas_ext.sddmm(indptr, indices, edge, left, right, chosen, each * size, *t)
    out = out.unflatten(1, (each, size))
    return (out, 2) if heads else (out.squeeze(1), 1)


def _sddmm_elementwise(
    size: int, batched: list[bool], indptr: Tensor, indices: Tensor, a: Tensor, b: Tensor, op: str, *t: Any
) -> Parts:
    left, right = (side_by_side(value, size, batched[at]) for at, value in ((2, a), (3, b)))
    return apart(torch.ops.gnas_ext.sddmm_elementwise(indptr, indices, left, right, op, *t), size), 0


def _propagate(
    size: int,
    batched: list[bool],
    indptr: Tensor,
    indices: Tensor,
    edge: Tensor | None,
    weight: Tensor | None,
    x: Tensor,
    hop_weight: Tensor,
    *t: Any,
) -> Parts:
    if batched[5]:
        return in_turn("propagate")(size, batched, indptr, indices, edge, weight, x, hop_weight, *t)
    heads, weight = _heads(size, batched[3], weight)
    wide = side_by_side(x, size, batched[4], heads)
    return apart(torch.ops.gnas_ext.propagate(indptr, indices, edge, weight, wide, hop_weight, *t), size, heads), 0


def _spmm_masked(
    size: int,
    batched: list[bool],
    indptr: Tensor,
    indices: Tensor,
    edge: Tensor | None,
    weight: Tensor | None,
    x: Tensor,
    mask: Tensor,
    scores: Tensor | None,
    reduce: str,
    *t: Any,
) -> Parts:
    if batched[6] or scores is not None:  # their gradient adds up over all columns
        return in_turn("spmm_masked")(size, batched, indptr, indices, edge, weight, x, mask, scores, reduce, *t)
    heads, weight = _heads(size, batched[3], weight)
    wide = side_by_side(x, size, batched[4], heads)
    out = torch.ops.gnas_ext.spmm_masked(indptr, indices, edge, weight, wide, mask, None, reduce, *t)
    return apart(out, size, heads), 0


def _sddmm_masked(
    size: int,
    batched: list[bool],
    indptr: Tensor,
    indices: Tensor,
    edge: Tensor | None,
    a: Tensor,
    b: Tensor,
    mask: Tensor,
    heads: int,
    *t: Any,
) -> Parts:
    each = max(heads, 1)
    left, right = (side_by_side(value, size, batched[at], each) for at, value in ((3, a), (4, b)))
    out = torch.ops.gnas_ext.sddmm_masked(indptr, indices, edge, left, right, mask, each * size, *t)
    out = out.unflatten(1, (each, size))
    return (out, 2) if heads else (out.squeeze(1), 1)


register_vmap("spmm", _spmm, weight=3, x=4)
register_vmap("spmm_arg", _spmm_arg, weight=2, x=3)
register_vmap("spmm_select", _spmm_select, weight=3, x=4, select=5)
register_vmap("propagate", _propagate, weight=3, x=4, hop_weight=5)
register_vmap("sddmm", _sddmm, a=3, b=4, select=5)
register_vmap("sddmm_elementwise", _sddmm_elementwise, a=2, b=3)
register_vmap("spmm_masked", _spmm_masked, weight=3, x=4, scores=6)
register_vmap("sddmm_masked", _sddmm_masked, a=3, b=4)

# Passes over rows have nothing to gain from a batch at once.
_IN_TURN = {
    "attention": {"q": 3, "k": 4, "v": 5, "bias": 6},
    "attention_backward": {"q": 3, "k": 4, "v": 5, "bias": 6, "out": 9, "lse": 10, "grad": 11},
    "gat": {"a_dst": 3, "a_src": 4, "x": 5},
    "gat_backward": {"a_dst": 3, "a_src": 4, "x": 5, "out": 7, "lse": 8, "grad": 9},
    "segment_softmax": {"score": 1},
    "segment_softmax_backward": {"x": 1, "grad": 2},
    "segment_reduce": {"src": 0},
    "segment_arg": {"src": 0},
    "gather_segments": {"src": 0, "select": 2},
    "scatter": {"src": 0},
    "gather_rows": {"x": 0},
    "spmm_blocks": {"weight": 3, "x": 4},
    "spmm_ragged": {"weight": 3, "values": 4},
    "spmm_quantized": {"weight": 3, "master": 7},
    "sddmm_quantized": {"a": 3, "master": 7},
    "block_linear": {"x": 0, "weight": 1, "bias": 3},
    "block_outer": {"y": 0, "x": 1},
}
for _name, _batched in _IN_TURN.items():
    register_vmap(_name, in_turn(_name), **_batched)
