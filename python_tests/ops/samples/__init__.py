"""What each op can be called with: a module an op, found by itself, so that a new op adds a file and changes none.

A module has `SAMPLES`, which maps the op's name to a function that gives arguments, with and without the optional ones,
needing a gradient and not; and, for ops that take raw row pointers, `CORRUPT`, which maps it to a call with a
graph of 3 rows and with features that has to refuse what is not one.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    Samples = Callable[[torch.dtype, torch.dtype, torch.device], list[tuple[Any, ...]]]
    # indptr, indices, where each entry's weight stands (or None), x of shape [cols, width]
    Corrupt = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor], Any]


SAMPLES: dict[str, Samples] = {}
CORRUPT: dict[str, Corrupt] = {}
for _found in pkgutil.iter_modules(__path__):
    _module = importlib.import_module(f"{__name__}.{_found.name}")
    SAMPLES |= _module.SAMPLES
    CORRUPT |= getattr(_module, "CORRUPT", {})
