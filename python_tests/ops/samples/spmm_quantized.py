from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from gnas_ext.ops import reference
from python_tests.ops.samples._inputs import NOTHING, inputs

if TYPE_CHECKING:
    from python_tests.ops.samples import Samples

native = torch.ops.gnas_ext


def table(rows: int, width: int, bits: int, affine: bool, device: torch.device) -> tuple[Any, ...]:
    numbers = torch.linspace(-2, 3, rows * width).reshape(rows, width)
    made = reference.quantize_rows(numbers, bits, not affine).to(device)
    return made.codes, made.scale, made.zero


def spmm_quantized(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    given = inputs(index, torch.float32, device)
    graph, t, edge, weight, x = given.graph, given.t, given.edge, given.weight, given.x
    eight, four = (table(len(x), 6, bits, bits == 4, device) for bits in (8, 4))
    return [
        (*graph, None, weight, *eight, x, 8, 6, "sum", *t),
        (*graph, None, weight, *four, x.detach(), 4, 6, "mean", *NOTHING),
        (*graph, edge, weight.detach(), *four, x, 4, 6, "sum", *NOTHING),
        (*graph, None, None, *table(len(x), 6, 2, False, device), None, 2, 6, "mean", *NOTHING),
    ]


def spmm_requantized(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    given = inputs(index, torch.float32, device)
    graph, weight = given.graph, given.weight.detach()
    return [
        (*graph, None, weight, *table(len(given.x), 6, 8, False, device), 8, 6, "sum"),
        (*graph, given.edge, weight, *table(len(given.x), 6, 4, True, device), 4, 6, "mean"),
        (*graph, None, None, *table(len(given.x), 6, 2, True, device), 2, 6, "sum"),
    ]


def sddmm_quantized(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    given = inputs(index, torch.float32, device)
    graph, a, x = given.graph, given.a, given.x
    eight, four = (table(len(x), 6, bits, bits == 4, device) for bits in (8, 4))
    return [
        (*graph, None, a, *eight, x, 8, 6, *given.t),
        (*graph, given.edge, a, *four, None, 4, 6, *NOTHING),
        (*graph, None, a.detach(), *four, x, 4, 6, *NOTHING),
    ]


def spmm_int32(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    given = inputs(index, torch.float32, device)
    weight = torch.arange(given.csr.nnz, device=device).to(torch.int8)
    return [(*given.graph, weight, table(len(given.x), 6, 8, False, device)[0])]


SAMPLES: dict[str, Samples] = {
    "spmm_quantized": spmm_quantized,
    "spmm_requantized": spmm_requantized,
    "sddmm_quantized": sddmm_quantized,
    "spmm_int32": spmm_int32,
}
