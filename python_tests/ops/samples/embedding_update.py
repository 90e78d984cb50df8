from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from python_tests.ops.samples._inputs import inputs

if TYPE_CHECKING:
    from python_tests.ops.samples import Samples


def embedding_update_int8(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    x = inputs(index, dtype, device).x.detach()
    codes, scale, _ = torch.ops.gnas_ext.quantize_rows(x, 8, "nearest", "minmax", True, 0)
    affine = torch.ops.gnas_ext.quantize_rows(x, 8, "nearest", "minmax", False, 0)
    batch = torch.tensor([3, 0, 3, 9], dtype=index, device=device)
    grad = torch.linspace(-1, 2, 24, device=device).view(4, 6).to(dtype)
    state = torch.ones(len(x), device=device)
    return [
        (codes, scale, None, batch, grad, state, 0.1, 1e-10, 0),
        (*affine, batch, grad, state.clone(), 0.1, 1e-10, -5),
        (*affine, batch[:0], grad[:0], state.clone(), 0.1, 1e-10, 0),
    ]


SAMPLES: dict[str, Samples] = {"embedding_update_int8": embedding_update_int8}
