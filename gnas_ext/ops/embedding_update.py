"""Training on a table of int8: how does a step touch only the batch's rows, and lose nothing on average?"""

from __future__ import annotations

import math

import torch
from torch import Tensor

import gnas_ext._native  # noqa: F401  (registers the op)
from gnas_ext.ops.quantized_rows import QuantizedRows, check_quantized

_GRADIENTS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def embedding_update_int8(
    rows: QuantizedRows,
    index: Tensor,
    grad: Tensor,
    state: Tensor,
    lr: float,
    eps: float = 1e-10,
    seed: int = 0,
) -> None:
    """A step of row-wise Adagrad (Duchi et al., 2011; a number a row, as in DLRM), in place, on the batch's rows alone.

    Of each row r that index names, with g the sum of its gradients in the batch's order:
    state[r] += mean of g²; x = row r - lr / (√state[r] + eps) · g; row r = x in int8, with a new scale (and zero),
    rounded up or down at random, each as likely as it is near. So the mean over seeds is x, and steps smaller than a
    code's width are not lost.

    Args:
        rows: the table, 8 bits, symmetric or affine, of shape [rows, width]; written in place.
        index: [batch], int32 or int64: the row of each gradient; a row may come several times.
        grad: [batch, width], float32, bfloat16 or float16; float64 is rounded to float32, in which the step runs: the
            table and its state have no more.
        state: [rows], float32, 0 or more, contiguous: zeros at the beginning; written in place.
        lr: learning rate.
        eps: above 0.
        seed: 64 bits; another one for every step, or the same roundings come again. Entry f of row r takes number f of
            stream r (Philox4x32-10): the same table comes out at any number of threads, at every instruction set and
            on CUDA.

    Raises:
        ValueError: rows are not of 8 bits, a shape or device does not fit, state is not contiguous, or lr or eps is not
            as above.
        TypeError: a dtype is none of the above.
        RuntimeError: an index is out of range (the message names the entry), or a step would not be finite: NaN or Inf
            in grad, say (it names the row). Then nothing was written.

    Memory: a table of n rows costs n · (width + 8) bytes with its state (12 when affine), where float32 with a state
    takes n · (4 · width + 4) and Adam n · 12 · width: 72, 260 and 768 bytes a row at width 64. A call takes
    batch · (width + 36) bytes beside it (on CUDA another batch · 4 · width). No gradient. The host waits for CUDA, to
    know of refused steps.
    """
    parts = (rows.codes, rows.scale, rows.zero, index, grad, state, lr, eps)
    if rows.bits != 8:
        raise ValueError(f"embedding_update_int8: expected rows of 8 bits, got {rows.bits}")
    _check(*parts)
    torch.ops.gnas_ext.embedding_update_int8(*parts[:4], grad.detach(), state, lr, eps, seed)


def _check(
    codes: Tensor, scale: Tensor, zero: Tensor | None, index: Tensor, grad: Tensor, state: Tensor, lr: float, eps: float
) -> None:
    """The contract of embedding_update_int8. The fake kernel is this function."""
    op = "embedding_update_int8"
    if codes.dim() != 2:
        raise ValueError(f"{op}: expected codes of shape [rows, width], got {list(codes.shape)}")
    count, width = codes.shape
    check_quantized(op, codes, scale, zero, 8, width)
    if index.dim() != 1:
        raise ValueError(f"{op}: expected index of shape [batch], got {list(index.shape)}")
    if index.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"{op}: expected index in int32 or int64, got {index.dtype}")
    if grad.shape != (index.shape[0], width):
        raise ValueError(f"{op}: expected grad of shape [{index.shape[0]}, {width}], got {list(grad.shape)}")
    if grad.dtype not in _GRADIENTS:
        raise TypeError(f"{op}: expected grad in float32, float64, bfloat16 or float16, got {grad.dtype}")
    if state.shape != (count,):
        raise ValueError(f"{op}: expected state of shape [{count}], one a row, got {list(state.shape)}")
    if state.dtype != torch.float32:
        raise TypeError(f"{op}: expected state in float32, got {state.dtype}")
    if not (codes.is_contiguous() and scale.is_contiguous() and (zero is None or zero.is_contiguous())):
        raise ValueError(f"{op}: expected a contiguous table, which is written in place")
    if not state.is_contiguous():
        raise ValueError(f"{op}: expected a contiguous state, which is written in place")
    for name, part in (("index", index), ("grad", grad), ("state", state)):
        if part.device != codes.device:
            raise ValueError(f"{op}: {name} is on {part.device}, the table on {codes.device}: move one with .to()")
    if not math.isfinite(lr):
        raise ValueError(f"{op}: expected a finite lr, got {lr}")
    if not 1e-45 <= eps < 3e38:
        raise ValueError(f"{op}: expected an eps above 0, in float32, got {eps}")


def _fake(
    codes: Tensor,
    scale: Tensor,
    zero: Tensor | None,
    index: Tensor,
    grad: Tensor,
    state: Tensor,
    lr: float,
    eps: float,
    seed: int,
) -> None:
    _check(codes, scale, zero, index, grad, state, lr, eps)


torch.library.register_fake("gnas_ext::embedding_update_int8", _fake)
