"""May this tensor be kept for later calls? Not as it comes out of inference mode, torch.func or torch.export."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def to_keep(make: Callable[[], T]) -> tuple[T, bool]:
    """What `make` returns, of plain tensors that any later call can use; and whether it may be kept.

    Training refuses tensors made in inference mode, and those made under torch.func belong to one of its levels. While
    torch.export runs there are no plain tensors at all.
    """
    with torch.inference_mode(False):
        if torch.compiler.is_compiling() or not torch._C._are_functorch_transforms_active():
            return make(), not torch.compiler.is_exporting()
        with torch._C._DisableFuncTorch():
            return make(), True
