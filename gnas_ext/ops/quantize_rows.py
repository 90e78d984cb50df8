"""Rows in 8, 4 or 2 bits an entry: which codes, how far off, and what does training see of it?"""

from __future__ import annotations

from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor

import gnas_ext._native  # noqa: F401  (registers the ops)
from gnas_ext.ops._autograd import _library, register_autograd
from gnas_ext.ops._entries import FLOATS
from gnas_ext.ops.quantized_rows import BITS, QuantizedRows, check_quantized, packed_width

Rounding = Literal["nearest", "stochastic"]
Clip = Literal["minmax", "mse"]


def quantize_rows(
    x: Tensor,
    bits: int = 8,
    rounding: Rounding = "nearest",
    clip: Clip = "minmax",
    symmetric: bool = True,
    seed: int = 0,
) -> QuantizedRows:
    """Stores each row in codes of a few bits, with a scale of its own: x[i, f] ≈ scale[i] * code[i, f] + zero[i].

    Args:
        x: [rows, width], float32, float64, bfloat16 or float16.
        bits: 8, 4 or 2.
        rounding: "nearest", of two the even code; or "stochastic": up or down, each as likely as it is near, so that
            the mean over seeds is x.
        clip: "minmax" spans the row from end to end. "mse" takes of a fixed grid of ranges the one whose nearest codes
            have the least squared error, the widest of equals; what lies outside gets the last code.
        symmetric: codes -(2^(bits-1) - 1) … 2^(bits-1) - 1 and no zero: -127 … 127, -7 … 7, or -1, 0 and 1 (two bits
            leave -2 unused, so that a row and its negative have opposite codes). Else affine: all 2^bits codes.
        seed: of the random numbers, 64 bits. Entry f of row i takes number f of stream i (Philox4x32-10; Salmon et al.,
            2011): the same codes come out at any number of threads, at every instruction set and on CUDA.

    Returns:
        The rows. scale is the largest magnitude / (2^(bits-1) - 1), or the row's span / (2^bits - 1); where that is
        below the normal numbers of float32 it is 1 and every code 0: rows of zeros, and affine rows of one value, which
        is exact.

    Raises:
        ValueError: x is not two-dimensional, or holds NaN, Inf or a number beyond float32, affine beyond half of its
            range (the message names the first such row), or an option is unknown. Inside torch.compile, and from the
            raw op, such a row is a RuntimeError.
        TypeError: x's dtype is none of the above.

    What comes back is off by scale / 2 at most, by less than scale with stochastic rounding ("minmax"); and, from
    float32's own rounding, by 2^-22 of the row's largest magnitude. The grid of "mse": of a symmetric range 32, 31 … 4
    parts in 32; of an affine one 0 … 6 parts in 16 left out at the low end, with as many at the high end. One pass over
    x (29 or 49 more over each row, in the cache, for "mse"); the host waits for CUDA, to know of refused rows. No
    gradient: see `fake_quantize_rows`.
    """
    _quantize_rows_out(x, bits, rounding, clip, symmetric, seed)
    codes, scale, zero = _called(torch.ops.gnas_ext.quantize_rows, x.detach(), bits, rounding, clip, symmetric, seed)
    return QuantizedRows(codes, scale, None if symmetric else zero, bits, x.shape[1])


def dequantize_rows(rows: QuantizedRows, dtype: torch.dtype = torch.float32) -> Tensor:
    """The numbers that codes stand for: scale[i] * code[i, f] + zero[i].

    Args:
        rows: of shape [rows, width].
        dtype: float32, float64, bfloat16 or float16.

    Returns:
        [rows, width]. The product and the sum run in float32 and are rounded each (in float64 for float64, where the
        product is exact); the same bits at every instruction set and on CUDA.

    Raises:
        TypeError: dtype is none of the above.

    No gradient: see `fake_quantize_rows`.
    """
    parts = (rows.codes, rows.scale, rows.zero, rows.bits, rows.width)
    _dequantize_rows_out(*parts, dtype)
    return cast("Tensor", torch.ops.gnas_ext.dequantize_rows(*parts, dtype))


def fake_quantize_rows(
    x: Tensor,
    bits: int = 8,
    rounding: Rounding = "nearest",
    clip: Clip = "minmax",
    symmetric: bool = True,
    seed: int = 0,
) -> Tensor:
    """What x will be once it is stored in few bits, for training that is to know: dequantize_rows(quantize_rows(x)).

    Args:
        x: [rows, width], float32, float64, bfloat16 or float16.
        bits: 8, 4 or 2.
        rounding: as in `quantize_rows`, like the others.
        clip: "minmax" or "mse".
        symmetric: or affine.
        seed: of the random numbers.

    Returns:
        [rows, width], x's dtype.

    Raises:
        ValueError, TypeError: see `quantize_rows`.

    The gradient is straight-through (Bengio et al., 2013), as of torch.fake_quantize_per_channel_affine: that of the
    result, where x rounds to a code, and zero where it is clipped; with "minmax" nothing is. None flows through the
    scale. Forward mode and gradients of any order likewise.
    """
    _quantize_rows_out(x, bits, rounding, clip, symmetric, seed)
    out, _, _ = _called(torch.ops.gnas_ext.fake_quantize_rows, x, bits, rounding, clip, symmetric, seed)
    return cast("Tensor", out)


def _called(op: Any, *arguments: Any) -> Any:
    """What the op returns. A row that it refuses is the argument's fault: a ValueError, in the op's words."""
    if torch.compiler.is_compiling():
        return op(*arguments)
    try:
        return op(*arguments)
    except RuntimeError as error:
        words = str(error)
        if "which has no code" not in words:
            raise
        raise ValueError(words[words.index("quantize_rows: ") :].splitlines()[0]) from None


def _quantize_rows_out(
    x: Tensor, bits: int, rounding: str, clip: str, symmetric: bool, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The contract of quantize_rows: what is refused, and what comes out. The fake kernel is this function."""
    if x.dim() != 2:
        raise ValueError(f"quantize_rows: expected x of shape [rows, width], got {list(x.shape)}")
    if x.dtype not in FLOATS:
        raise TypeError(f"quantize_rows: expected x in float32, float64, bfloat16 or float16, got {x.dtype}")
    if bits not in BITS:
        raise ValueError(f"quantize_rows: expected bits of 8, 4 or 2, got {bits}")
    if rounding not in get_args(Rounding):
        raise ValueError(f"quantize_rows: expected rounding in {', '.join(get_args(Rounding))}, got {rounding!r}")
    if clip not in get_args(Clip):
        raise ValueError(f"quantize_rows: expected clip in {', '.join(get_args(Clip))}, got {clip!r}")
    rows, width = x.shape
    return (
        x.new_empty(rows, packed_width(width, bits), dtype=torch.int8 if bits == 8 else torch.uint8),
        x.new_empty(rows, dtype=torch.float32),
        x.new_empty(0 if symmetric else rows, dtype=torch.float32),
    )


def _dequantize_rows_out(
    codes: Tensor, scale: Tensor, zero: Tensor | None, bits: int, width: int, dtype: torch.dtype
) -> Tensor:
    """The contract of dequantize_rows, and its fake kernel."""
    check_quantized("dequantize_rows", codes, scale, zero, bits, width)
    if dtype not in FLOATS:
        raise TypeError(f"dequantize_rows: expected dtype float32, float64, bfloat16 or float16, got {dtype}")
    return codes.new_empty(codes.shape[0], width, dtype=dtype)


def _fake_quantize_rows(
    x: Tensor, bits: int, rounding: str, clip: str, symmetric: bool, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    codes, scale, zero = torch.ops.gnas_ext.quantize_rows(x, bits, rounding, clip, symmetric, seed)
    out = torch.ops.gnas_ext.dequantize_rows(codes, scale, None if symmetric else zero, bits, x.shape[1], x.dtype)
    return out, scale, zero


def _fake_quantize_rows_fake(
    x: Tensor, bits: int, rounding: str, clip: str, symmetric: bool, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    _, scale, zero = _quantize_rows_out(x, bits, rounding, clip, symmetric, seed)
    return x.new_empty(x.shape), scale, zero


def _passes(
    change: Tensor | None, x: Tensor, scale: Tensor, zero: Tensor, bits: int, clip: str, symmetric: bool
) -> Tensor | None:
    """A gradient or a tangent, where x rounds to a code."""
    if clip == "minmax" or change is None:
        return change
    highest = 2 ** (bits - 1) - 1
    lowest = -highest if symmetric else -highest - 1
    wide = x.detach().to(torch.promote_types(x.dtype, torch.float32))
    code = ((wide if symmetric else wide - zero.unsqueeze(1)) / scale.unsqueeze(1)).round()
    return torch.where((code >= lowest) & (code <= highest), change, 0)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    x, ctx.bits, _, ctx.clip, ctx.symmetric, _ = inputs
    ctx.mark_non_differentiable(*output[1:])
    ctx.save_for_backward(x, *output[1:])


def _backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Any, ...]:
    x, scale, zero = ctx.saved_tensors
    return _passes(grad, x, scale, zero, ctx.bits, ctx.clip, ctx.symmetric), None, None, None, None, None


def _jvp(inputs: list[Any], tangents: tuple[Tensor | None, ...], output: tuple[Tensor, ...]) -> tuple[Any, None, None]:
    x, bits, _, clip, symmetric, _ = inputs
    return _passes(tangents[0], x, output[1], output[2], bits, clip, symmetric), None, None


_library.define(
    "fake_quantize_rows(Tensor x, int bits, str rounding, str clip, bool symmetric, int seed) -> (Tensor, Tensor, "
    "Tensor)"
)
for _key in ("CPU", "CUDA"):
    _library.impl("fake_quantize_rows", _fake_quantize_rows, _key)
torch.library.register_fake("gnas_ext::quantize_rows", _quantize_rows_out)
torch.library.register_fake("gnas_ext::dequantize_rows", _dequantize_rows_out)
torch.library.register_fake("gnas_ext::fake_quantize_rows", _fake_quantize_rows_fake)
register_autograd("fake_quantize_rows", _backward, setup_context=_save, jvp=_jvp)
