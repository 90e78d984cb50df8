from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from python_tests.ops.samples._inputs import NOTHING, inputs

if TYPE_CHECKING:
    from python_tests.ops.samples import Corrupt, Samples

native = torch.ops.gnas_ext


def spmm(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    _, graph, t, edge, weight, _, x = inputs(index, dtype, device)
    return [
        (*graph, None, None, x, "sum", *t),
        (*graph, None, weight, x, "mean", *t),
        (*graph, None, torch.stack([weight, weight * 2, -weight], 1), x, "sum", *t),
        (*graph, edge, weight, x.detach(), "mean", *NOTHING),
        (*graph, None, weight.detach(), x.detach(), "sum", *NOTHING),
        (*graph, None, weight.detach(), x.detach(), "max", *NOTHING),
    ]


def spmm_out(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    csr, graph, _, edge, weight, _, x = inputs(index, dtype, device)
    out = torch.zeros(csr.rows, x.shape[1], dtype=dtype, device=device)
    return [(*graph, edge, weight.detach(), x.detach(), "mean", out), (*graph, None, None, x.detach(), "min", out)]


def spmm_arg(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    _, graph, t, _, weight, _, x = inputs(index, dtype, device)
    return [
        (*graph, None, x, "max", *t),
        (*graph, weight, x, "min", *t),
        (*graph, torch.stack([weight, -weight], 1), x, "max", *t),
        (*graph, weight.detach(), x.detach(), "min", *NOTHING),
    ]


def spmm_select(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    _, graph, t, _, weight, a, x = inputs(index, dtype, device)
    select = native.spmm_arg(*graph, None, x.detach(), "max", *NOTHING)[1]
    return [(*t, weight, a, select, *graph, None), (*t, None, a.detach(), select, *NOTHING)]


def select_like(x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    return torch.zeros(x.shape, dtype=index.dtype)


def out_of(indptr: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return x.new_empty(max(len(indptr) - 1, 0), x.shape[1])


SAMPLES: dict[str, Samples] = {"spmm": spmm, "spmm_out": spmm_out, "spmm_arg": spmm_arg, "spmm_select": spmm_select}
CORRUPT: dict[str, Corrupt] = {
    "spmm": lambda p, i, e, x: native.spmm(p, i, e, None, x, "sum", *NOTHING),
    "spmm_out": lambda p, i, e, x: native.spmm_out(
        p, i, e, None, x, "sum", x.new_empty(max(len(p) - 1, 0), x.shape[1])
    ),
    "spmm_arg": lambda p, i, _, x: native.spmm_arg(p, i, None, x, "max", *NOTHING),
    "spmm_select": lambda p, i, e, x: native.spmm_select(p, i, e, None, x, select_like(x, i), *NOTHING),
}
