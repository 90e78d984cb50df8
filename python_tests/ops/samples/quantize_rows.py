from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from python_tests.ops.samples._inputs import inputs

if TYPE_CHECKING:
    from python_tests.ops.samples import Samples

native = torch.ops.gnas_ext


def quantize_rows(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    x = inputs(index, dtype, device).x.detach()
    return [
        (x, 8, "nearest", "minmax", True, 0),
        (x, 4, "stochastic", "minmax", False, 7),
        (x[:, :5], 2, "nearest", "mse", False, 0),
    ]


def dequantize_rows(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    x = inputs(index, dtype, device).x.detach()
    codes, scale, _ = native.quantize_rows(x, 8, "nearest", "minmax", True, 0)
    few, step, zero = native.quantize_rows(x[:, :5], 2, "nearest", "minmax", False, 0)
    return [(codes, scale, None, 8, 6, dtype), (few, step, zero, 2, 5, dtype)]


def fake_quantize_rows(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    x = inputs(index, dtype, device).x
    return [
        (x, 8, "nearest", "minmax", True, 0),
        (x, 4, "stochastic", "mse", False, -3),
        (x, 2, "nearest", "mse", True, 0),
        (x.detach(), 2, "nearest", "mse", True, 0),
    ]


SAMPLES: dict[str, Samples] = {
    "quantize_rows": quantize_rows,
    "dequantize_rows": dequantize_rows,
    "fake_quantize_rows": fake_quantize_rows,
}
