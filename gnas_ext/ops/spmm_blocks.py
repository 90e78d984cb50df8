"""Message passing over pruned columns: what does each row's neighbourhood add up to, dead blocks left out?

Two ops share one room: `spmm_blocks` reads the live blocks of a matrix, `spmm_ragged` rows that hold nothing else. Both
are linear in the features and the weights. The gradient of a sum over sources with masks is a sum over rows with masks,
which is the same op with `by_row`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

import gnas_ext._native  # noqa: F401  (registers the ops)
from gnas_ext.ops._autocast import lowered, register_autocast
from gnas_ext.ops._autograd import linear, register_autograd, wanted
from gnas_ext.ops._entries import FLOATS
from gnas_ext.ops.column_blocks import BLOCK, RaggedRows, block_mask, check_ragged, checked_mask, column_mask
from gnas_ext.ops.spmm import of_sums, transposed

if TYPE_CHECKING:
    from gnas_ext.graph.csr import CSR

Mean = Literal["sum", "mean"]

_NO_TRANSPOSE = (None, None, None)


def spmm_blocks(csr: CSR, x: Tensor, blocks: Tensor, group: Tensor | None = None, reduce: Mean = "sum") -> Tensor:
    """`spmm` of x with its dead column blocks as zeros; only live ones are read.

    Args:
        csr: graph of shape [rows, cols]; edge weights in x's dtype, [nnz], or none (all ones).
        x: features, [cols, width], float32, float64, bfloat16 or float16. A block is 16 columns, a cache line of
            float32; the last one may be narrower.
        blocks: [groups, ceil(width / 16)], or [ceil(width / 16)] for one mask of the layer, bool: which are live. Or in
            x's dtype, dead where zero, as `prune.straight_through` returns it: then a gradient flows to it.
        group: [cols], integers from 0 to groups - 1, of which there are at most 256: whose mask each row of x has.
        reduce: "sum"; "mean", the sum over the number of edges, whatever is dead.

    Returns:
        [rows, width], x's dtype; sums run in float32 (float64 for float64). Blocks that are dead for all of a row's
        neighbours are zero.

    Raises:
        ValueError: a shape or device does not fit, reduce is unknown, or there are more than 256 groups.
        TypeError: a dtype is none of the above, or the weights have another one than x.

    Gradients of any order flow to x (zero in dead blocks) and to the weights. The gradient to a mask of numbers is that
    of sums weighted by it, at dead blocks as well, so that they may come alive again: it needs the unpruned backward.
    Repeats exactly, whatever the number of threads.
    """
    _check_reduce("spmm_blocks", reduce)
    weight, x = lowered(x.device, csr.stored_weight, x)
    _check_graph("spmm_blocks", csr, weight, x.dtype, x.device)
    if x.dim() != 2 or x.shape[0] != csr.cols:
        raise ValueError(
            f"spmm_blocks: expected x of shape [{csr.cols}, width] for a graph of shape {list(csr.shape)}, got "
            f"{list(x.shape)}"
        )
    soft = None
    if blocks.is_floating_point():
        numbers, blocks = blocks, blocks.detach() != 0
        # A live block counts as one in the gradients as well, whatever its number.
        soft = (blocks + (numbers - numbers.detach())).to(x.dtype)
        soft = soft.unsqueeze(0) if soft.dim() == 1 else soft
    mask, group = checked_mask("spmm_blocks", blocks, group, x.shape[0], x.shape[1], x.device)
    t = csr.transposed_structure() if wanted(x, weight, soft) else _NO_TRANSPOSE
    out: Tensor = torch.ops.gnas_ext.spmm_blocks(
        csr.indptr, csr.indices, csr.edge, weight, x, mask, soft, group, False, reduce == "mean", *t
    )
    return out


def spmm_ragged(csr: CSR, rows: RaggedRows, reduce: Mean = "sum") -> Tensor:
    """`spmm` of rows that hold their live column blocks alone: the same numbers as `spmm_blocks`.

    Args:
        csr: graph of shape [rows, cols]; edge weights in the dtype of the values, [nnz], or none (all ones).
        rows: the features, `cols` rows, from `compact_blocks`.
        reduce: "sum"; "mean", the sum over the number of edges, whatever is dead.

    Returns:
        [rows, width], in the dtype of the values; sums run in float32 (float64 for float64).

    Raises:
        ValueError: csr.cols differs from the number of rows, devices differ, reduce is unknown, or a row of the values
            is not where it is said to begin.
        TypeError: the weights have another dtype.

    Gradients of any order flow to the values and to the weights. Repeats exactly, whatever the number of threads.
    """
    _check_reduce("spmm_ragged", reduce)
    weight = csr.stored_weight
    _check_graph("spmm_ragged", csr, weight, rows.values.dtype, rows.values.device)
    if rows.rows != csr.cols:
        raise ValueError(
            f"spmm_ragged: expected {csr.cols} rows for a graph of shape {list(csr.shape)}, got {rows.rows}"
        )
    t = csr.transposed_structure() if wanted(rows.values, weight) else _NO_TRANSPOSE
    out: Tensor = torch.ops.gnas_ext.spmm_ragged(
        csr.indptr,
        csr.indices,
        csr.edge,
        weight,
        rows.values.contiguous(),
        rows.begin.to(csr.indptr.dtype).contiguous(),
        rows.rank(),
        rows.group,
        rows.width,
        reduce == "mean",
        *t,
    )
    return out


def _check_reduce(op: str, reduce: str) -> None:
    if reduce not in ("sum", "mean"):
        raise ValueError(
            f"{op}: expected reduce in sum, mean, got {reduce!r}; for max and min, where a dead zero could win, use "
            "spmm of the masked features"
        )


def _check_graph(op: str, csr: CSR, weight: Tensor | None, dtype: torch.dtype, device: torch.device) -> None:
    if dtype not in FLOATS:
        raise TypeError(f"{op}: expected x in float32, float64, bfloat16 or float16, got {dtype}")
    if device != csr.indptr.device:
        raise ValueError(f"{op}: x is on {device}, the graph on {csr.indptr.device}: move one with .to()")
    if weight is not None and weight.dtype != dtype:
        raise TypeError(f"{op}: expected weight in x's dtype {dtype}, got {weight.dtype}: use csr.to(dtype=...)")
    if weight is not None and weight.dim() != 1:
        raise ValueError(f"{op}: expected weight of shape [{csr.nnz}], got {list(weight.shape)}")


def _blocks_fake(
    indptr: Tensor,
    indices: Tensor,
    edge: Tensor | None,
    weight: Tensor | None,
    x: Tensor,
    blocks: Tensor,
    soft: Tensor | None,
    group: Tensor | None,
    by_row: bool,
    *_: Any,
) -> Tensor:
    rows = indptr.shape[0] - 1 if by_row else x.shape[0]
    checked_mask("spmm_blocks", blocks, group, rows, x.shape[1], x.device)
    return x.new_empty(indptr.shape[0] - 1, x.shape[1])


def _ragged_fake(
    indptr: Tensor,
    indices: Tensor,
    edge: Tensor | None,
    weight: Tensor | None,
    values: Tensor,
    begin: Tensor,
    rank: Tensor,
    group: Tensor | None,
    width: int,
    *_: Any,
) -> Tensor:
    if rank.dtype != torch.int32 or rank.dim() != 2:
        raise ValueError(f"spmm_ragged: expected rank of shape [groups, blocks] in int32, got {list(rank.shape)}")
    check_ragged("spmm_ragged", RaggedRows(values, begin, rank >= 0, group, width))
    return values.new_empty(indptr.shape[0] - 1, width)


def _cut(x: Tensor, blocks: Tensor, group: Tensor | None) -> Tensor:
    """X with zeros in dead blocks."""
    return torch.where(column_mask(blocks, group, x.shape[1]), x, torch.zeros((), dtype=x.dtype, device=x.device))


def _save_blocks(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, by_row, mean, t_indptr, t_indices, t_edge = inputs
    ctx.save_for_backward(*tensors, t_indptr, t_indices, t_edge)
    ctx.by_row, ctx.mean = by_row, mean


def _blocks_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    indptr, indices, edge, weight, x, blocks, soft, group, *kept = ctx.saved_tensors
    grad = of_sums(grad, indptr) if ctx.mean else grad
    t = transposed(indptr, indices, edge, x.shape[0], tuple(kept))
    grad_weight = grad_x = grad_soft = None
    if ctx.needs_input_grad[3]:
        rows, sources = (_cut(grad, blocks, group), x) if ctx.by_row else (grad, _cut(x, blocks, group))
        grad_weight = torch.ops.gnas_ext.sddmm(indptr, indices, edge, rows, sources, None, 0, *t)
    if ctx.needs_input_grad[6]:
        # What the mask would let through, wherever it is dead; by_row is only ever a backward, without soft.
        arriving = torch.ops.gnas_ext.spmm(*t, weight, grad, "sum", indptr, indices, edge)
        grad_x = arriving * column_mask(soft, group, x.shape[1])
        grad_soft = _sum_blocks(arriving * x, group, soft.shape[0])
    elif ctx.needs_input_grad[4]:
        grad_x = torch.ops.gnas_ext.spmm_blocks(
            *t, weight, grad, blocks, None, group, not ctx.by_row, False, indptr, indices, edge
        )
    return None, None, None, grad_weight, grad_x, None, grad_soft, None, None, None, None, None, None


def _sum_blocks(products: Tensor, group: Tensor | None, groups: int) -> Tensor:
    """[groups, blocks]: what each block of the rows of a group comes to."""
    count = (products.shape[1] + BLOCK - 1) // BLOCK
    filled = torch.nn.functional.pad(products, (0, count * BLOCK - products.shape[1]))
    of_rows = filled.view(products.shape[0], count, BLOCK).sum(2)
    if group is None:
        return of_rows.sum(0, keepdim=True)
    return of_rows.new_zeros(groups, count).index_add(0, group.long(), of_rows)


def _blocks_jvp(inputs: list[Any], tangents: tuple[Tensor | None, ...], output: Tensor) -> Tensor | None:
    *start, x, blocks, soft, group, by_row, mean, t_indptr, t_indices, t_edge = inputs
    rest = (blocks, soft, group, by_row, mean, t_indptr, t_indices, t_edge)
    total: Tensor | None = None
    parts = []
    if tangents[3] is not None:
        parts.append(torch.ops.gnas_ext.spmm_blocks(*start[:3], tangents[3], x, *rest))
    if tangents[4] is not None:
        parts.append(torch.ops.gnas_ext.spmm_blocks(*start, tangents[4], *rest))
    if tangents[6] is not None:
        moved = x * column_mask(tangents[6], group, x.shape[1])
        reduce = "mean" if mean else "sum"
        parts.append(torch.ops.gnas_ext.spmm(*start, moved, reduce, t_indptr, t_indices, t_edge))
    for part in parts:
        total = part if total is None else total + part
    return total


def _save_ragged(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, width, mean, t_indptr, t_indices, t_edge = inputs
    ctx.save_for_backward(*tensors, t_indptr, t_indices, t_edge)
    ctx.width, ctx.mean = width, mean


def _ragged_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    indptr, indices, edge, weight, values, begin, rank, group, *kept = ctx.saved_tensors
    grad = of_sums(grad, indptr) if ctx.mean else grad
    t = transposed(indptr, indices, edge, begin.shape[0], tuple(kept))
    blocks = rank >= 0
    grad_weight = grad_values = None
    if ctx.needs_input_grad[3]:
        x = RaggedRows(values, begin, blocks, group, ctx.width).expand()
        grad_weight = torch.ops.gnas_ext.sddmm(indptr, indices, edge, grad, x, None, 0, *t)
    if ctx.needs_input_grad[4]:
        grad_x = torch.ops.gnas_ext.spmm_blocks(
            *t, weight, grad, blocks, None, group, True, False, indptr, indices, edge
        )
        grad_values = _put_blocks(grad_x, values, begin, blocks, group)
    return None, None, None, grad_weight, grad_values, None, None, None, None, None, None, None, None


def _put_blocks(x: Tensor, values: Tensor, begin: Tensor, blocks: Tensor, group: Tensor | None) -> Tensor:
    """The live blocks of x at the places of their rows in values: the transpose of `expand`."""
    live = block_mask(blocks, group, x.shape[0])
    where = (begin.long().unsqueeze(1) + live.cumsum(1) - 1)[live]
    filled = torch.nn.functional.pad(x, (0, live.shape[1] * BLOCK - x.shape[1]))
    parts = filled.view(x.shape[0], live.shape[1], BLOCK)[live]
    return torch.zeros_like(values).view(-1, BLOCK).index_add(0, where, parts).flatten()


torch.library.register_fake("gnas_ext::spmm_blocks", _blocks_fake)
torch.library.register_fake("gnas_ext::spmm_ragged", _ragged_fake)
register_autograd("spmm_blocks", _blocks_backward, setup_context=_save_blocks, jvp=_blocks_jvp)
register_autograd("spmm_ragged", _ragged_backward, setup_context=_save_ragged, jvp=linear("spmm_ragged", 3, 4))
register_autocast("spmm_blocks")
register_autocast("spmm_ragged")
