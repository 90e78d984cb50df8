"""A linear layer as PyG's layers have it: Glorot weights where they ask for them, a width that the first call finds."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Linear(nn.Linear):
    """x W^T + b, drawn as torch does, or after Glorot and Bengio (2010).

    Args:
        in_channels: width of x.
        out_channels: width of the output.
        bias: whether there is one.
        glorot: whether the weights are drawn from ±sqrt(6 / (in + out)), the bias being zero.
    """

    glorot: bool = False

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True, glorot: bool = False) -> None:
        self.glorot = glorot  # before torch's constructor, which draws the weights
        super().__init__(in_channels, out_channels, bias)

    def reset_parameters(self) -> None:
        """Draws the weights anew."""
        if self.glorot:
            nn.init.xavier_uniform_(self.weight)
        else:
            super().reset_parameters()


class _LazyLinear(nn.LazyLinear, Linear):
    cls_to_become: Any = Linear

    def __init__(self, out_channels: int, bias: bool, glorot: bool) -> None:
        super().__init__(out_channels, bias)
        self.glorot = glorot


def linear(in_channels: int, out_channels: int, bias: bool = True, glorot: bool = False) -> nn.Linear:
    """A `Linear`; in_channels of -1 takes the width of the first input."""
    if in_channels == -1:
        return _LazyLinear(out_channels, bias, glorot)
    return Linear(in_channels, out_channels, bias, glorot)


def glorot_(parameter: torch.Tensor) -> None:
    """Draws from ±sqrt(6 / (the sum of the last two sizes)), in place."""
    bound = (6 / (parameter.shape[-2] + parameter.shape[-1])) ** 0.5
    with torch.no_grad():
        parameter.uniform_(-bound, bound)
