"""Dense layers with a pruned weight: what do the blocks, or the N of each M weights, that are left come to?"""

from __future__ import annotations

import warnings
from math import prod
from typing import Any, cast

import torch
from torch import Tensor

import gnas_ext._native  # noqa: F401  (registers the ops)
from gnas_ext.ops._autocast import lowered, register_autocast
from gnas_ext.ops._autograd import linear, register_autograd
from gnas_ext.ops._entries import FLOATS

_SIDE = 16  # blocks are multiples of it


def block_linear(x: Tensor, weight: Tensor, mask: Tensor, bias: Tensor | None = None, block: int = 16) -> Tensor:
    """`torch.nn.functional.linear` with a weight that is pruned in blocks; only live ones are multiplied.

    Args:
        x: [..., in], float32, float64, bfloat16 or float16.
        weight: [out, in], x's dtype.
        mask: [ceil(out / block), ceil(in / block)], bool: which blocks of the weight are live.
        bias: [out], x's dtype, or none.
        block: the side of a block, a multiple of 16; blocks at the edges may be smaller.

    Returns:
        [..., out], x's dtype: x @ (weight * mask)^T + bias. Sums run in float32 (float64 for float64).

    Raises:
        ValueError: a shape or device does not fit, or block is no multiple of 16.
        TypeError: a dtype is none of the above, or weight or bias have another one than x.

    Gradients of any order flow to x, to the weight (zero in dead blocks) and to the bias. Repeats exactly, whatever the
    number of threads.
    """
    x, weight, bias = lowered(x.device, x, weight, bias)
    if x.dim() < 1:
        raise ValueError(f"block_linear: expected x of shape [..., in], got {list(x.shape)}")
    flat = x if x.dim() == 2 else x.reshape(prod(x.shape[:-1]), x.shape[-1])
    _linear_out(flat, weight, mask, bias, block, block)
    out: Tensor = torch.ops.gnas_ext.block_linear(flat, weight, mask.contiguous(), bias, block, block)
    return out.view(*x.shape[:-1], weight.shape[0])


def nm_linear(x: Tensor, weight: Tensor, mask: Tensor, bias: Tensor | None = None) -> Tensor:
    """`torch.nn.functional.linear` with a weight of which N of each M neighbours are left, as `prune.nm_mask` has it.

    On GPUs with sparse tensor cores, for a 2:4 mask in float16 or bfloat16 and without a gradient, torch's
    semi-structured kernels run (`torch.sparse.to_sparse_semi_structured`), after the weight is compressed in this call.
    Elsewhere it is a masked dense product: **on the CPU an N:M mask saves no time**; `block_linear` does.

    Args:
        x: [..., in], floating.
        weight: [out, in], x's dtype.
        mask: [out, in], bool.
        bias: [out], x's dtype, or none.

    Returns:
        [..., out], x's dtype: x @ (weight * mask)^T + bias.

    Raises:
        ValueError: a shape does not fit.
        TypeError: mask is not of bool.

    Gradients of any order flow to x, to the weight (zero where it is masked) and to the bias.
    """
    if mask.dtype != torch.bool:
        raise TypeError(f"nm_linear: expected mask in bool, got {mask.dtype}")
    if weight.dim() != 2 or mask.shape != weight.shape:
        raise ValueError(
            f"nm_linear: expected a weight of shape [out, in] and a mask like it, got {list(weight.shape)} and "
            f"{list(mask.shape)}"
        )
    if x.dim() < 1 or x.shape[-1] != weight.shape[1]:
        raise ValueError(f"nm_linear: expected x of shape [..., {weight.shape[1]}], got {list(x.shape)}")
    if _semi_structured(x, weight, mask, bias):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch calls it a prototype
            compressed = torch.sparse.to_sparse_semi_structured(weight.masked_fill(~mask, 0))
        return torch.nn.functional.linear(x, cast("Tensor", compressed), bias)
    return torch.nn.functional.linear(x, torch.where(mask, weight, torch.zeros_like(weight)), bias)


def _semi_structured(x: Tensor, weight: Tensor, mask: Tensor, bias: Tensor | None) -> bool:
    """Whether torch's 2:4 kernels can take this call."""
    if x.device.type != "cuda" or torch.compiler.is_compiling() or torch.version.cuda is None:
        return False
    tensors = (x, weight) if bias is None else (x, weight, bias)
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        return False
    out, width = weight.shape
    return (
        weight.dtype in (torch.float16, torch.bfloat16)
        and x.dtype == weight.dtype
        and torch.cuda.get_device_capability(x.device) >= (8, 0)
        and out % 64 == 0
        and width % 64 == 0
        and x.numel() > 0
        and int(mask.view(out, width // 4, 4).sum(2).max()) <= 2
    )


def _linear_out(
    x: Tensor, weight: Tensor, mask: Tensor, bias: Tensor | None, block_out: int, block_in: int
) -> tuple[Any, int]:
    """The contract of block_linear: what is refused, and the shape that comes out. The fake kernel is this function."""
    if weight.dim() != 2:
        raise ValueError(f"block_linear: expected weight of shape [out, in], got {list(weight.shape)}")
    if x.dim() != 2 or x.shape[1] != weight.shape[1]:
        raise ValueError(f"block_linear: expected x of shape [..., {weight.shape[1]}], got {list(x.shape)}")
    if x.dtype not in FLOATS:
        raise TypeError(f"block_linear: expected x in float32, float64, bfloat16 or float16, got {x.dtype}")
    for name, part in (("weight", weight), ("bias", bias)):
        if part is not None and part.dtype != x.dtype:
            raise TypeError(f"block_linear: expected {name} in x's dtype {x.dtype}, got {part.dtype}")
        if part is not None and part.device != x.device:
            raise ValueError(f"block_linear: {name} is on {part.device}, x on {x.device}: move one with .to()")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"block_linear: expected bias of shape [{weight.shape[0]}], got {list(bias.shape)}")
    _check_mask("block_linear", mask, weight.shape[0], weight.shape[1], block_out, block_in, x.device)
    return x.shape[0], weight.shape[0]


def _check_mask(
    op: str, mask: Tensor, out: int, width: int, block_out: int, block_in: int, device: torch.device
) -> None:
    for block in (block_out, block_in):
        if block < _SIDE or block % _SIDE != 0:
            raise ValueError(f"{op}: expected block to be a multiple of {_SIDE}, got {block}")
    shape = ((out + block_out - 1) // block_out, (width + block_in - 1) // block_in)
    if mask.dtype != torch.bool:
        raise TypeError(f"{op}: expected mask in bool, got {mask.dtype}")
    if mask.dim() != 2 or mask.shape[0] != shape[0] or mask.shape[1] != shape[1]:
        raise ValueError(f"{op}: expected mask of shape {list(shape)}, got {list(mask.shape)}")
    if mask.device != device:
        raise ValueError(f"{op}: mask is on {mask.device}, x on {device}: move one with .to()")


def _linear_fake(x: Tensor, weight: Tensor, mask: Tensor, bias: Tensor | None, block_out: int, block_in: int) -> Tensor:
    return x.new_empty(_linear_out(x, weight, mask, bias, block_out, block_in))


def _outer_fake(y: Tensor, x: Tensor, mask: Tensor, block_out: int, block_in: int) -> Tensor:
    if y.dim() != 2 or x.dim() != 2 or y.shape[0] != x.shape[0]:
        raise ValueError(f"block_outer: expected y and x of as many rows, got {list(y.shape)} and {list(x.shape)}")
    _check_mask("block_outer", mask, y.shape[1], x.shape[1], block_out, block_in, x.device)
    return x.new_empty(y.shape[1], x.shape[1])


def _save_linear(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, mask, _, ctx.block_out, ctx.block_in = inputs
    ctx.save_for_backward(x, weight, mask)


def _linear_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    x, weight, mask = ctx.saved_tensors
    grad_x = grad_weight = grad_bias = None
    if ctx.needs_input_grad[0]:
        back = (weight.t(), mask.t().contiguous())
        grad_x = torch.ops.gnas_ext.block_linear(grad, *back, None, ctx.block_in, ctx.block_out)
    if ctx.needs_input_grad[1]:
        grad_weight = torch.ops.gnas_ext.block_outer(grad, x, mask, ctx.block_out, ctx.block_in)
    if ctx.needs_input_grad[3]:
        grad_bias = grad.sum(0)
    return grad_x, grad_weight, None, grad_bias, None, None


def _linear_jvp(inputs: list[Any], tangents: tuple[Tensor | None, ...], output: Tensor) -> Tensor | None:
    x, weight, mask, _, *blocks = inputs
    without_bias = [x, weight, mask, None, *blocks]
    total = cast("Tensor | None", linear("block_linear", 0, 1)(without_bias, tangents, output))
    if tangents[3] is None:
        return total
    added = tangents[3].expand_as(output)
    return added.clone() if total is None else total + added


def _save_outer(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    y, x, mask, ctx.block_out, ctx.block_in = inputs
    ctx.save_for_backward(y, x, mask)


def _outer_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    y, x, mask = ctx.saved_tensors
    grad_y = grad_x = None
    if ctx.needs_input_grad[0]:
        grad_y = torch.ops.gnas_ext.block_linear(x, grad, mask, None, ctx.block_out, ctx.block_in)
    if ctx.needs_input_grad[1]:
        back = (grad.t(), mask.t().contiguous())
        grad_x = torch.ops.gnas_ext.block_linear(y, *back, None, ctx.block_in, ctx.block_out)
    return grad_y, grad_x, None, None, None


torch.library.register_fake("gnas_ext::block_linear", _linear_fake)
torch.library.register_fake("gnas_ext::block_outer", _outer_fake)
register_autograd("block_linear", _linear_backward, setup_context=_save_linear, jvp=_linear_jvp)
register_autograd("block_outer", _outer_backward, setup_context=_save_outer, jvp=linear("block_outer", 0, 1))
register_autocast("block_linear")
register_autocast("block_outer")
