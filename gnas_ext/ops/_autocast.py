"""What does `torch.autocast` make of an op: the lower precision of a matmul, float32, or the widest that comes?"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from gnas_ext.ops._autograd import _library

_DEVICES = {"cpu": "AutocastCPU", "cuda": "AutocastCUDA"}


def lowered(device: torch.device, *values: Tensor | None) -> tuple[Any, ...]:
    """The values as autocast hands them to a matmul on that device: in its dtype; as they are where it is off."""
    if not torch.compiler.is_compiling() and not torch._C._is_any_autocast_enabled():
        return values
    return _cast(values, device.type, None)


def widened(device: torch.device, *values: Tensor) -> tuple[Tensor, ...]:
    """The values as autocast hands them to a sum: in the widest dtype among them; as they are where it is off."""
    if device.type not in _DEVICES or not torch.is_autocast_enabled(device.type):
        return values
    to = functools.reduce(torch.promote_types, (value.dtype for value in values))
    return tuple(value.to(to) for value in values)


def register_autocast(name: str, dtype: torch.dtype | None = None) -> None:
    """Under autocast torch.ops.gnas_ext.<name> runs in `dtype`, by default in that of matmuls. float64 stays."""
    op = getattr(torch.ops.gnas_ext, name)
    for device, key in _DEVICES.items():
        _library.impl(name, _kernel(op, device, key, dtype), key, with_keyset=True)


def _kernel(op: Any, device: str, key: str, dtype: torch.dtype | None) -> Any:
    excluded = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, key))

    def kernel(_: Any, *args: Any) -> Any:
        cast = _cast(args, device, dtype)
        with torch._C._ExcludeDispatchKeyGuard(excluded):
            return op(*cast)

    return kernel


def _cast(values: tuple[Any, ...], device: str, dtype: torch.dtype | None) -> tuple[Any, ...]:
    if device not in _DEVICES or not torch.is_autocast_enabled(device):
        return values
    to = torch.get_autocast_dtype(device) if dtype is None else dtype
    return tuple(value.to(to) if _lowers(value, device) else value for value in values)


def _lowers(value: Any, device: str) -> bool:
    return (
        isinstance(value, Tensor)
        and value.is_floating_point()
        and value.dtype != torch.float64
        and value.device.type == device
    )
