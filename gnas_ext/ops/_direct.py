"""Does anything watch a call? Where nothing does, autograd's part of the dispatcher costs more than a small op."""

from __future__ import annotations

import torch
from torch import Tensor
from torch._C import (  # what torch.library's own kernels use
    _are_functorch_transforms_active,
    _AutoDispatchBelowAutograd,
    _is_any_autocast_enabled,
)
from torch.autograd import forward_ad

below_autograd = _AutoDispatchBelowAutograd


def unwatched(x: Tensor, weight: Tensor | None) -> bool:
    """Whether a call with these tensors may go straight to its kernel.

    Not where a derivative may be asked for, autocast picks the dtype, torch.compile traces, or x is of another class.
    """
    return (
        type(x) is Tensor
        and not (torch.is_grad_enabled() and (x.requires_grad or (weight is not None and weight.requires_grad)))
        and not torch.compiler.is_compiling()
        and not _is_any_autocast_enabled()
        and not _are_functorch_transforms_active()
        and forward_ad._current_level < 0
    )
