from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from python_tests.ops.samples._inputs import NOTHING, inputs

if TYPE_CHECKING:
    from python_tests.ops.samples import Corrupt, Samples

native = torch.ops.gnas_ext


def sddmm(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    _, graph, t, edge, _, a, x = inputs(index, dtype, device)
    select = native.spmm_arg(*graph, None, x.detach(), "max", *NOTHING)[1]
    return [
        (*graph, None, a, x, None, 0, *t),
        (*graph, None, a, x, None, 2, *t),
        (*graph, None, a, x, select, 3, *t),
        (*graph, edge, a, x.detach(), None, 0, *NOTHING),
        (*graph, edge, a, x.detach(), None, 6, *NOTHING),
    ]


def sddmm_elementwise(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    _, graph, t, _, _, a, x = inputs(index, dtype, device)
    return [
        (*graph, a, x, "add", *t),
        (*graph, a, x, "mul", *t),
        (*graph, a.detach(), x, "mul", *NOTHING),
    ]


def a_of(indptr: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return x.new_ones(max(len(indptr) - 1, 0), x.shape[1])


SAMPLES: dict[str, Samples] = {"sddmm": sddmm, "sddmm_elementwise": sddmm_elementwise}
CORRUPT: dict[str, Corrupt] = {
    "sddmm": lambda p, i, e, x: native.sddmm(p, i, e, a_of(p, x), x, None, 0, *NOTHING),
    "sddmm_elementwise": lambda p, i, _, x: native.sddmm_elementwise(p, i, a_of(p, x), x, "mul", *NOTHING),
}
