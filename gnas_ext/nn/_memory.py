"""What is already known about this tensor? Forgotten when the tensor changes or is no more."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.weak import WeakTensorKeyDictionary

if TYPE_CHECKING:
    from torch import Tensor

# Values must not refer to their key, or nothing would ever be forgotten.
_known: Any = WeakTensorKeyDictionary()
_lock = Lock()


def memory_of(tensor: Tensor, *others: Tensor) -> dict[Any, Any]:
    """What the caller noted about these tensors: a dictionary of its own, empty if one of them was changed since.

    It lives as long as the first tensor. A change that torch does not count, such as one through `.data` or a numpy
    array that shares the memory, is not seen.
    """
    tensors = (tensor, *others)
    # torch does not count the changes of inference mode's tensors, and a compiler sees none of this.
    if torch.compiler.is_compiling() or any(each.is_inference() for each in tensors):
        return {}
    now = tuple((each._version, each.data_ptr(), each.shape, each.stride(), each.dtype) for each in tensors)
    with _lock:
        then, notes = _known.get(tensor, (None, None))
        if then != now:
            notes = {}
            _known[tensor] = (now, notes)
        return notes  # type: ignore[no-any-return]
