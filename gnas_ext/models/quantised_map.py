"""What does a hop's feature transform see once it runs in few bits? Activations and weights as their codes stand for.

Training knows of the rounding (Jacob et al., 2018), and gradients go straight through it (Bengio et al., 2013). What is
kept for the backward pass are the codes and their scales: about a quarter or an eighth of float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from gnas_ext.errors import InputError
from gnas_ext.models.products import product
from gnas_ext.ops.quantize_rows import dequantize_rows, quantize_rows
from gnas_ext.ops.quantized_rows import QuantizedRows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from gnas_ext.ops.quantize_rows import Clip

# A row has few codes in 4 bits: cutting off its largest numbers leaves finer steps for all others.
_CLIPS: dict[int, Clip] = {8: "minmax", 4: "mse"}
# Rows that are in float32 at once: they stay in the cache, and take no memory to speak of beside the codes.
_ROWS = 4096


def quantised_products(left: Tensor, right: Tensor, bits: int, slope: float = 1.0) -> Tensor:
    """<left[i], right[j]> for all pairs, of what codes of both stand for (`ops.quantize_rows`, symmetric).

    Args:
        left: [n, width], the activations: a scale a row.
        right: [m, width], the map: an output a row, a scale each.
        bits: 8, or 4, where a row's range is the one of least squared error.
        slope: what products below zero are multiplied by, 0 or more: a leaky relu, in float32; 1 for none.

    Returns:
        [n, m]; the same for any number of threads. Gradients flow to both, once: those of the product of what the codes
        stand for, straight through the rounding, and to numbers outside the range too, for the range follows the row.

    Raises:
        ValueError: bits or slope is another.
        InputError: a number is not finite, as where training diverged.

    With 8 bits and scales s and t, a product is off by s[i] / 2 * |right[j]| + t[j] / 2 * |left[i]| + width * s[i] *
    t[j] / 4 at most, |·| a sum of magnitudes. Kept for the backward pass are codes and scales alone: bits / 8 bytes a
    number and 4 a row of both. What a slope needs beside them is computed again.
    """
    if bits not in _CLIPS:
        raise ValueError(f"quantised_products: expected bits of 8 or 4, got {bits}")
    if not slope >= 0:
        raise ValueError(f"quantised_products: expected slope of 0 or more, got {slope}")
    products: Tensor = _QuantisedProducts.apply(left, right, bits, slope)  # type: ignore[no-untyped-call]
    return products


class _QuantisedProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, bits: int, slope: float) -> Tensor:
        rows, outputs = _codes("an activation", left, bits), _codes("a weight of the map", right, bits)
        ctx.save_for_backward(rows.codes, rows.scale, outputs.codes, outputs.scale)
        ctx.bits, ctx.slope, ctx.width = bits, slope, left.shape[1]
        right = dequantize_rows(outputs, right.dtype)
        out = left.new_empty(len(left), len(right))
        for some, part in _in_parts(rows, out):
            part.copy_(product(some, right.T))
        return out if slope == 1 else functional.leaky_relu_(out, slope)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        codes, scale, map_codes, map_scale = ctx.saved_tensors
        rows = QuantizedRows(codes, scale, None, ctx.bits, ctx.width)
        right = dequantize_rows(QuantizedRows(map_codes, map_scale, None, ctx.bits, ctx.width), gradient.dtype)
        to_left, to_right = gradient.new_empty(rows.shape), torch.zeros_like(right)
        for some, part, to_some in _in_parts(rows, gradient, to_left):
            if ctx.slope != 1:
                # The same sums in the same order as before, so each has the sign that it had.
                part = torch.ops.aten.leaky_relu_backward(part, product(some, right.T), ctx.slope, False)
            to_some.copy_(product(part, right))
            to_right += product(part.T, some)
        return to_left, to_right, None, None


def _in_parts(rows: QuantizedRows, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """What some rows' codes stand for, and the same rows of others in their dtype, until all were there."""
    pieces = (torch.split(x, _ROWS) for x in (rows.codes, rows.scale, *others))
    for codes, scale, *parts in zip(*pieces, strict=True):
        yield dequantize_rows(QuantizedRows(codes, scale, None, rows.bits, rows.width), parts[0].dtype), *parts


def _codes(name: str, numbers: Tensor, bits: int) -> QuantizedRows:
    try:
        return quantize_rows(numbers, bits, clip=_CLIPS[bits])
    except ValueError as error:
        if numbers.isfinite().all():
            raise
        raise InputError(
            f"{name} is not finite, so it has no code in {bits} bits: did training diverge? Try a lower learning rate"
        ) from error
