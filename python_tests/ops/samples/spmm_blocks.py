from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from gnas_ext.ops.column_blocks import compact_blocks
from python_tests.ops.samples._inputs import NOTHING, inputs

if TYPE_CHECKING:
    from python_tests.ops.samples import Corrupt, Samples

native = torch.ops.gnas_ext
WIDTH = 37


def masks(rows: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    one = torch.tensor([[True, False, True]], device=device)
    three = torch.tensor([[True, False, True], [False, True, False], [False] * 3], device=device)
    return one, three, (torch.arange(rows, device=device) % 3).to(torch.uint8)


def features(rows: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    flat = torch.linspace(-2, 3, rows * WIDTH, device=device)
    return flat.reshape(rows, WIDTH).to(dtype).requires_grad_()


def spmm_blocks(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    csr, graph, t, edge, weight, *_ = inputs(index, dtype, device)
    x = features(csr.cols, dtype, device)
    one, three, group = masks(csr.cols, device)
    by_row = masks(csr.rows, device)[2]
    soft = three.to(dtype).requires_grad_()
    return [
        (*graph, None, weight, x, one, None, None, False, False, *t),
        (*graph, None, None, x, three, soft, group, False, True, *t),
        (*graph, edge, weight.detach(), x, three, None, by_row, True, False, *NOTHING),
        (*graph, None, weight, x.detach(), three, None, group, False, True, *t),
    ]


def spmm_ragged(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    csr, graph, t, edge, weight, *_ = inputs(index, dtype, device)
    x = features(csr.cols, dtype, device).detach()
    one, three, group = masks(csr.cols, device)
    samples: list[tuple[Any, ...]] = []
    for mask, of_rows in ((one, None), (three, group)):
        rows = compact_blocks(x, mask, of_rows)
        values, begin = rows.values.requires_grad_(), rows.begin.to(index)
        samples += [
            (*graph, None, weight, values, begin, rows.rank(), of_rows, WIDTH, True, *t),
            (*graph, edge, None, values.detach(), begin, rows.rank(), of_rows, WIDTH, False, *NOTHING),
        ]
    return samples


def blocks_of(x: torch.Tensor) -> torch.Tensor:
    return torch.ones(1, (x.shape[1] + 15) // 16, dtype=torch.bool)


def corrupt_ragged(indptr: torch.Tensor, indices: torch.Tensor, edge: torch.Tensor | None, x: torch.Tensor) -> Any:
    if x.dim() != 2 or not x.is_floating_point():
        values, begin = x.flatten() if x.dim() == 2 else x, torch.zeros(len(x), dtype=indptr.dtype)
        rank = torch.zeros(1, 1, dtype=torch.int32)
        values = values.repeat(16) if values.dim() == 1 else values
    else:
        rows = compact_blocks(x, blocks_of(x))
        values, begin, rank = rows.values, rows.begin.to(indptr.dtype), rows.rank()
    return native.spmm_ragged(indptr, indices, edge, None, values, begin, rank, None, x.shape[1], False, *NOTHING)


SAMPLES: dict[str, Samples] = {"spmm_blocks": spmm_blocks, "spmm_ragged": spmm_ragged}
CORRUPT: dict[str, Corrupt] = {
    "spmm_blocks": lambda p, i, e, x: native.spmm_blocks(
        p, i, e, None, x, blocks_of(x), None, None, False, False, *NOTHING
    ),
    "spmm_ragged": corrupt_ragged,
}
