from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from python_tests.ops.samples import Samples


def numbers(dtype: torch.dtype, device: torch.device, *shape: int) -> torch.Tensor:
    flat = torch.linspace(-1, 2, torch.Size(shape).numel(), device=device)
    return flat.reshape(shape).to(dtype).requires_grad_()


def mask(device: torch.device) -> torch.Tensor:
    return torch.tensor([[True, False, True], [False, False, True]], device=device)


def block_linear(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    x, weight, bias = (numbers(dtype, device, *shape) for shape in ((5, 37), (20, 37), (20,)))
    return [
        (x, weight, mask(device), bias, 16, 16),
        (x, weight.detach(), mask(device)[:, :2].contiguous(), None, 16, 32),
    ]


def block_outer(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    y, x = numbers(dtype, device, 5, 20), numbers(dtype, device, 5, 37)
    return [(y, x, mask(device), 16, 16), (y, x.detach(), mask(device)[:1].contiguous(), 32, 16)]


SAMPLES: dict[str, Samples] = {"block_linear": block_linear, "block_outer": block_outer}
