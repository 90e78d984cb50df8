"""What does autograd keep of a call until its backward pass?"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def kept_by(run: Callable[[], T]) -> tuple[T, dict[int, int]]:
    """What a call returns; and of each storage that is kept for the backward pass, by its address, the bytes."""
    kept: dict[int, int] = {}

    def keep(part: torch.Tensor) -> torch.Tensor:
        kept[part.untyped_storage().data_ptr()] = part.untyped_storage().nbytes()
        return part

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda part: part):
        return run(), kept
