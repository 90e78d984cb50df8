"""Does a call need autograd's part of the dispatcher? Where nothing is recorded it costs more than a small op."""

from __future__ import annotations

import torch
from torch import Tensor
from torch._C import (  # what torch.library's own kernels use
    _are_functorch_transforms_active,
    _AutoDispatchBelowAutograd,
)

below_autograd = _AutoDispatchBelowAutograd


def records_nothing(x: Tensor) -> bool:
    """Whether a call whose tensors are all like x, and want no gradient, may skip autograd.

    Not where torch.compile traces, a transform of torch.func is at work, or x is a tensor of another class.
    """
    return type(x) is Tensor and not torch.compiler.is_compiling() and not _are_functorch_transforms_active()
