"""The row that an index names for each entry: the transpose of the scattered sum."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import gnas_ext._native  # noqa: F401  (registers the ops)
from gnas_ext.ops._autograd import register_autograd
from gnas_ext.ops._entries import as_matrix, check_features, check_index


def gather_rows(x: Tensor, index: Tensor) -> Tensor:
    """Gives each entry its row: out[e] = x[index[e]]. The transpose of the scattered sum.

    Args:
        x: [rows, …], float32, float64, bfloat16 or float16.
        index: [entries], int32 or int64, each 0 … rows-1.

    Returns:
        [entries, …], x's dtype.

    Raises:
        ValueError: a shape or device does not fit.
        TypeError: a dtype is none of the above.
        RuntimeError: an index is out of range.

    Gradients of any order flow to x.
    """
    _gather_rows_out(x, index)
    out: Tensor = torch.ops.gnas_ext.gather_rows(as_matrix(x), index)
    return out.reshape(index.shape[0], *x.shape[1:])


def _gather_rows_out(x: Tensor, index: Tensor) -> Tensor:
    """The contract of gather_rows: what is refused, and what comes out. The fake kernel is this function."""
    check_features("gather_rows", "x", x)
    check_index("gather_rows", index)
    if x.device != index.device:
        raise ValueError(f"gather_rows: x is on {x.device}, index on {index.device}: move one with .to()")
    return x.new_empty(index.shape[0], *x.shape[1:])


def _gather_rows_cuda(x: Tensor, index: Tensor) -> Tensor:
    return x.index_select(0, index)


def _save_gather(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    x, index = inputs
    ctx.rows = x.shape[0]
    ctx.save_for_backward(index)


def _gather_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    (index,) = ctx.saved_tensors
    return torch.ops.gnas_ext.scatter(grad, index, ctx.rows, "sum"), None


torch.library.register_fake("gnas_ext::gather_rows", _gather_rows_out)
torch.library.impl("gnas_ext::gather_rows", "CUDA", _gather_rows_cuda)
register_autograd("gather_rows", _gather_backward, setup_context=_save_gather)
