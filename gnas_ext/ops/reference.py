"""The same ops in plain torch: what the kernels are tested against, and what to read first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from gnas_ext.graph.csr import CSR
    from gnas_ext.ops.spmm import Reduce


def spmm(csr: CSR, x: Tensor, reduce: Reduce = "sum") -> Tensor:
    """Like `ops.spmm`, by a message an edge (edges x width in memory), in float64."""
    messages = x.double()[csr.indices.long()]
    if csr.weight is not None:
        messages = messages * csr.weight.double().unsqueeze(1)
    row = csr.row_index().long().unsqueeze(1).expand_as(messages)
    out = messages.new_zeros(csr.rows, x.shape[1])
    how = {"sum": "sum", "mean": "mean", "max": "amax", "min": "amin"}[reduce]
    return out.scatter_reduce(0, row, messages, how, include_self=False).to(x.dtype)


def sddmm(csr: CSR, a: Tensor, b: Tensor) -> Tensor:
    """Like `ops.sddmm`, by a product an edge, in float64."""
    return (a.double()[csr.row_index().long()] * b.double()[csr.indices.long()]).sum(1).to(a.dtype)


def segment_softmax(csr: CSR, score: Tensor) -> Tensor:
    """Like `ops.segment_softmax`, by a number an edge for each step, in float64."""
    row = csr.row_index().long()
    wide = (score.unsqueeze(1) if score.dim() == 1 else score).double()
    maximum = wide.new_full((csr.rows, wide.shape[1]), -torch.inf)
    maximum = maximum.scatter_reduce(0, row.unsqueeze(1).expand_as(wide), wide.detach(), "amax")
    power = (wide - maximum.where(maximum > -torch.inf, 0)[row]).exp()
    total = power.new_zeros(maximum.shape).index_add(0, row, power)
    return (power / total.where(total != 0, 1)[row]).view(score.shape).to(score.dtype)


def attention(
    csr: CSR, q: Tensor, k: Tensor, v: Tensor, scale: float | None = None, bias: Tensor | None = None
) -> Tensor:
    """Like `ops.attention`, by a message an edge (edges x width in memory), in float64."""
    heads = q.shape[1] if q.dim() == 3 else 1
    sides = (side.double().view(side.shape[0], heads, side.shape[-1]) for side in (q, k, v))
    queries, keys, values = sides
    scale = max(q.shape[-1], 1) ** -0.5 if scale is None else scale
    score = scale * (queries[csr.row_index().long()] * keys[csr.indices.long()]).sum(2)
    if bias is not None:
        score = score + (bias.unsqueeze(1) if bias.dim() == 1 else bias).double()
    return _weighed(csr, score, values).view(csr.rows, *v.shape[1:]).to(v.dtype)


def gat(
    csr: CSR, x_dst: Tensor, x_src: Tensor, att_dst: Tensor, att_src: Tensor, negative_slope: float = 0.2
) -> Tensor:
    """Like `ops.gat`, by a message an edge (edges x width in memory), in float64."""
    heads = x_src.shape[1] if x_src.dim() == 3 else 1
    a_dst = (x_dst.double() * att_dst.double()).sum(-1).view(csr.rows, heads)
    a_src = (x_src.double() * att_src.double()).sum(-1).view(csr.cols, heads)
    before = a_dst[csr.row_index().long()] + a_src[csr.indices.long()]
    score = torch.nn.functional.leaky_relu(before, negative_slope)
    values = x_src.double().view(csr.cols, heads, x_src.shape[-1])
    return _weighed(csr, score, values).view(csr.rows, *x_src.shape[1:]).to(x_src.dtype)


def _weighed(csr: CSR, score: Tensor, values: Tensor) -> Tensor:
    messages = segment_softmax(csr, score).unsqueeze(2) * values[csr.indices.long()]
    return messages.new_zeros(csr.rows, *values.shape[1:]).index_add(0, csr.row_index().long(), messages)


def transpose(csr: CSR) -> Tensor:
    """The dense transpose, [cols, rows], in float64: what `csr.t()` must multiply like."""
    dense = torch.zeros(csr.shape, dtype=torch.float64)
    values = torch.ones(csr.nnz) if csr.weight is None else csr.weight
    dense.index_put_((csr.row_index().long(), csr.indices.long()), values.double(), accumulate=True)
    return dense.T


def segment_reduce(src: Tensor, indptr: Tensor, reduce: Reduce = "sum") -> Tensor:
    """Like `ops.segment_reduce` of [nnz, width], in float64."""
    rows = torch.arange(len(indptr) - 1, device=src.device)
    index = torch.repeat_interleave(rows, (indptr[1:] - indptr[:-1]).long(), output_size=len(src))
    return scatter(src, index, len(rows), reduce)


def scatter(src: Tensor, index: Tensor, size: int, reduce: Reduce = "sum") -> Tensor:
    """Like `ops.scatter` of [entries, width], in float64."""
    row = index.long().unsqueeze(1).expand_as(src)
    how = {"sum": "sum", "mean": "mean", "max": "amax", "min": "amin"}[reduce]
    out = src.new_zeros(size, src.shape[1], dtype=torch.float64)
    return out.scatter_reduce(0, row, src.double(), how, include_self=False).to(src.dtype)


def spmm_blocks(
    csr: CSR, x: Tensor, blocks: Tensor, group: Tensor | None = None, reduce: Literal["sum", "mean"] = "sum"
) -> Tensor:
    """Like `ops.spmm_blocks`, by a product with the mask, in float64."""
    return spmm(csr, x.double() * _of_columns(blocks, group, x), reduce).to(x.dtype)


def _of_columns(blocks: Tensor, group: Tensor | None, x: Tensor) -> Tensor:
    """[rows, width] or [width]: the mask at each number."""
    of_rows = blocks.view(-1) if group is None else blocks[group.long()]
    return of_rows.double().repeat_interleave(16, -1)[..., : x.shape[1]]


def block_linear(x: Tensor, weight: Tensor, mask: Tensor, bias: Tensor | None = None, block: int = 16) -> Tensor:
    """Like `ops.block_linear`, by a dense product, in float64."""
    out, width = weight.shape
    dense = mask.double().repeat_interleave(block, 0).repeat_interleave(block, 1)[:out, :width]
    y = x.double() @ (weight.double() * dense).t()
    return (y if bias is None else y + bias.double()).to(x.dtype)
