"""What ops over entries and rows have in common: their checks, and features of more than one dimension."""

from __future__ import annotations

from math import prod
from typing import get_args

import torch
from torch import Tensor

from gnas_ext.ops.spmm import Reduce

FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
INDEX_TYPES = (torch.int32, torch.int64)


def as_matrix(x: Tensor) -> Tensor:
    """Rows by all other dimensions: [rows, width]."""
    return x if x.dim() == 2 else x.reshape(x.shape[0], prod(x.shape[1:]))


def entries_of(index: Tensor, size: int) -> Tensor:
    """How many entries go to each row, [size], int64."""
    return torch.zeros(size, dtype=torch.int64, device=index.device).scatter_add_(
        0, index.long(), torch.ones_like(index, dtype=torch.int64)
    )


def check_reduce(op: str, reduce: str) -> None:
    """Refuses a reduction that is unknown."""
    if reduce not in get_args(Reduce):
        raise ValueError(f"{op}: expected reduce in {', '.join(get_args(Reduce))}, got {reduce!r}")


def check_index(op: str, index: Tensor) -> None:
    """Refuses what is not an index an entry."""
    if index.dtype not in INDEX_TYPES:
        raise TypeError(f"{op}: expected index in int32 or int64, got {index.dtype}")
    if index.dim() != 1:
        raise ValueError(f"{op}: expected index of shape [entries], got {list(index.shape)}")


def check_features(op: str, name: str, x: Tensor) -> None:
    """Refuses what is not a row of numbers an entry."""
    if x.dim() < 1:
        raise ValueError(f"{op}: expected {name} of shape [entries, …], got {list(x.shape)}")
    if x.dtype not in FLOATS:
        raise TypeError(f"{op}: expected {name} in float32, float64, bfloat16 or float16, got {x.dtype}")
