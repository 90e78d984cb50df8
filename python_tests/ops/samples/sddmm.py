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
        (*graph, None, a, x, None, *t),
        (*graph, None, a, x, select, *t),
        (*graph, edge, a, x.detach(), None, *NOTHING),
    ]


SAMPLES: dict[str, Samples] = {"sddmm": sddmm}
CORRUPT: dict[str, Corrupt] = {
    "sddmm": lambda p, i, e, x: native.sddmm(p, i, e, x.new_ones(max(len(p) - 1, 0), x.shape[1]), x, None, *NOTHING)
}
