"""The same ops in plain torch: what the kernels are tested against, and what to read first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from gnas_ext.ops.quantized_rows import QuantizedRows, packed

if TYPE_CHECKING:
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


def spmm_quantized(csr: CSR, rows: QuantizedRows, reduce: Literal["sum", "mean"] = "sum") -> Tensor:
    """Like `ops.spmm_quantized`: dequantised in float64, and a message an edge."""
    return spmm(csr, dequantize_rows(rows, torch.float64), reduce).float()


def spmm_int32(csr: CSR, codes: Tensor, weight: Tensor) -> Tensor:
    """Like `ops.spmm_int32`, by a message an edge, in int64."""
    messages = codes.long()[csr.indices.long()] * weight.long().unsqueeze(1)
    return messages.new_zeros(csr.rows, codes.shape[1]).index_add(0, csr.row_index().long(), messages)


def select_edges(
    csr: CSR, mask: Tensor, rows: Tensor | None = None, remap: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Like `ops.select_edges` with a mask of bool in the order of the entries: an entry at a time."""
    indptr, indices, edge = [0], [], []
    for row in range(csr.rows) if rows is None else rows.tolist():
        for e in range(int(csr.indptr[row]), int(csr.indptr[row + 1])):
            column = int(csr.indices[e]) if remap is None else int(remap[int(csr.indices[e])])
            if bool(mask[e]) and column >= 0:
                indices.append(column)
                edge.append(e if csr.edge is None else int(csr.edge[e]))
        indptr.append(len(indices))
    left, right, place = (torch.tensor(part, dtype=csr.indptr.dtype) for part in (indptr, indices, edge))
    return left, right, place


def spmm_masked(csr: CSR, x: Tensor, mask: Tensor, reduce: Reduce = "sum") -> Tensor:
    """Like `ops.spmm_masked` with a mask of bool, by a message an edge that is kept, in float64."""
    messages = x.double()[csr.indices.long()][mask]
    if csr.weight is not None:
        messages = messages * csr.weight.double()[mask].unsqueeze(1)
    row = csr.row_index().long()[mask].unsqueeze(1).expand_as(messages)
    out = messages.new_zeros(csr.rows, x.shape[1])
    how = {"sum": "sum", "mean": "mean", "max": "amax", "min": "amin"}[reduce]
    return out.scatter_reduce(0, row, messages, how, include_self=False).to(x.dtype)


def quantize_rows(x: Tensor, bits: int = 8, symmetric: bool = True, even: Tensor | None = None) -> QuantizedRows:
    """Like `ops.quantize_rows` with clip "minmax", to the bit. `even`, [rows, width] in [0, 1), rounds up or down."""
    scale, zero = quantized_ranges(x, bits, symmetric)[0]
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    highest = 2 ** (bits - 1) - 1
    place = ((wide - zero.unsqueeze(1)) / scale.unsqueeze(1)).clamp(-highest if symmetric else -highest - 1, highest)
    code = place.round()
    if even is not None:  # the integer on the other side, as likely as the number is far from the nearest one
        rest = place - code
        code = torch.where(even.to(wide.dtype) < rest.abs(), code + rest.sign(), code)
    return QuantizedRows(packed(code.long(), bits), scale, None if symmetric else zero, bits, x.shape[1])


def quantized_ranges(x: Tensor, bits: int, symmetric: bool, search: bool = False) -> list[tuple[Tensor, Tensor]]:
    """The scales and zeros of rows that `ops.quantize_rows` chooses from; the first ones are those of "minmax"."""
    wide, tiny = x.double(), torch.finfo(torch.float32).tiny
    if not x.shape[1]:
        wide = wide.new_zeros(len(x), 1)
    found = []
    if symmetric:
        largest = wide.abs().amax(1)
        for kept in range(32, 3 if search else 31, -1):
            scale = (largest * kept / (32 * (2 ** (bits - 1) - 1))).float()
            # The next smaller one where the last code would stand for what float32 does not hold.
            beyond = scale.double() * (2 ** (bits - 1) - 1) > torch.finfo(torch.float32).max
            scale = torch.where(beyond, (scale.double() * (1 - 2**-24)).float(), scale)
            found.append((scale.where(scale >= tiny, 1.0), torch.zeros_like(scale)))
        return found
    low, high = wide.amin(1), wide.amax(1)
    cut = ((high - low) / 16).float().double()
    cuts = range(7 if search else 1)
    for below, above in ((below, above) for below in cuts for above in cuts):
        first, last = low + cut * below, high - cut * above
        scale = ((last - first) / (2**bits - 1)).float()
        zero = (first + scale.double() * 2 ** (bits - 1)).float()
        found.append((scale.where(scale >= tiny, 1.0), zero.where(scale >= tiny, first.float())))
    return found


def dequantize_rows(rows: QuantizedRows, dtype: torch.dtype = torch.float32) -> Tensor:
    """Like `ops.dequantize_rows` to float32 or float64, to the bit."""
    if rows.bits == 8:
        code = rows.codes
    else:
        shifts = torch.arange(0, 8, rows.bits, device=rows.device)
        code = rows.codes.long().unsqueeze(2) >> shifts & (2**rows.bits - 1)
        code = code.flatten(1)[:, : rows.width] - 2 ** (rows.bits - 1)
    value = rows.scale.to(dtype).unsqueeze(1) * code.to(dtype)
    return value if rows.zero is None else value + rows.zero.to(dtype).unsqueeze(1)


def embedding_update_int8(
    rows: QuantizedRows, index: Tensor, grad: Tensor, state: Tensor, lr: float, eps: float, even: Tensor
) -> tuple[QuantizedRows, Tensor]:
    """Like `ops.embedding_update_int8`, to the bit and not in place. `even`: [rows, width] in [0, 1)."""
    touched = torch.unique(index)
    total = torch.stack([torch.zeros(rows.width), *(_in_turn(grad[index == row].float()) for row in touched)])[1:]
    # By columns equal modulo 16, then those sums: the order in which the kernels add.
    square = torch.nn.functional.pad(total * total, (0, -rows.width % 16)).view(len(touched), -1, 16)
    mean = _in_turn(_in_turn(square.transpose(0, 1)).double().T) / rows.width
    new_state = state.clone()
    new_state[touched] += mean.float()
    # Through double: torch's square root of float32 is not rounded right on every machine.
    rate = torch.tensor(lr) / (new_state[touched].double().sqrt().float() + torch.tensor(eps))
    x = dequantize_rows(rows)[touched] - rate.unsqueeze(1) * total
    stepped = quantize_rows(x, 8, rows.zero is None, even[touched])
    codes, scale = rows.codes.clone(), rows.scale.clone()
    codes[touched], scale[touched] = stepped.codes, stepped.scale
    zero = None
    if rows.zero is not None and stepped.zero is not None:
        zero = rows.zero.clone()
        zero[touched] = stepped.zero
    return QuantizedRows(codes, scale, zero, 8, rows.width), new_state


def _in_turn(x: Tensor) -> Tensor:
    """The sum over the first dimension, one after the other."""
    total = x[0].clone()
    for part in x[1:]:
        total += part
    return total


def topk_scores(
    users: Tensor | QuantizedRows,
    items: Tensor | QuantizedRows,
    k: int,
    exclude: CSR | None = None,
    allow: Tensor | None = None,
    bias: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Like `ops.topk_scores`, by all scores (users x items in memory), in float64; of int8 rows in int64."""
    if isinstance(users, Tensor) and isinstance(items, Tensor):
        scores = users.double() @ items.double().T + (0 if bias is None else bias.double())
        scores = scores if users.dtype == torch.float64 else scores.float()
    else:
        assert not isinstance(users, Tensor)
        assert not isinstance(items, Tensor)
        sums = (users.codes.long().unsqueeze(1) * items.codes.long()).sum(2)
        scores = users.scale.unsqueeze(1) * (items.scale * sums.float()) + (0 if bias is None else bias)
    if exclude is not None:
        scores[exclude.row_index().long(), exclude.indices.long()] = -torch.inf
    if allow is not None:
        allowed = torch.zeros(scores.shape[1], dtype=torch.bool)
        allowed[allow if allow.dtype == torch.bool else allow.long()] = True
        scores[:, ~allowed] = -torch.inf
    values, columns = scores.sort(dim=1, descending=True, stable=True)
    missing = max(k - scores.shape[1], 0)
    values = torch.nn.functional.pad(values[:, :k], (0, missing), value=-torch.inf)
    columns = torch.nn.functional.pad(columns[:, :k], (0, missing), value=-1)
    return values, columns.where(values > -torch.inf, -1)


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


def negative_shares(users: Tensor, known: CSR | int, cumulative: Tensor | None = None) -> Tensor:
    """How often `ops.sample_negatives` draws each item, [batch, items], in float64; zeros where no item is left."""
    items = known if isinstance(known, int) else known.cols
    weight = torch.ones(items).double() if cumulative is None else cumulative.double().diff(prepend=torch.zeros(1))
    left = weight.expand(len(users), items).clone()
    if not isinstance(known, int):
        for row, user in enumerate(users.tolist()):
            left[row, known.indices[int(known.indptr[user]) : int(known.indptr[user + 1])].long()] = 0
    return left / left.sum(1, keepdim=True).clamp(min=1)
