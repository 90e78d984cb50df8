"""Quantised rows in plain torch: what the tests of ops over them are fed with, and what they must come to."""

from __future__ import annotations

import torch
from torch.nn.functional import pad

from gnas_ext.ops.quantized_rows import QuantizedRows


def pack(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """Codes as they are stored: int8, or several to a byte."""
    if bits == 8:
        return codes.to(torch.int8)
    share = 8 // bits
    shifted = pad(codes.int() + 2 ** (bits - 1), (0, -codes.shape[1] % share))
    parts = shifted.view(len(codes), shifted.shape[1] // share, share) << (torch.arange(share) * bits)
    return parts.sum(2).to(torch.uint8)


def unpack(rows: QuantizedRows) -> torch.Tensor:
    """The codes, one a number, int32."""
    if rows.bits == 8:
        return rows.codes.int()
    share = 8 // rows.bits
    parts = rows.codes.int().unsqueeze(2) >> (torch.arange(share) * rows.bits)
    codes: torch.Tensor = (parts & (2**rows.bits - 1)) - 2 ** (rows.bits - 1)
    return codes.flatten(1)[:, : rows.width]


def quantized(x: torch.Tensor, bits: int, affine: bool = False) -> QuantizedRows:
    """Rows to the nearest code: symmetric, or from the least number to the largest."""
    least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    if not x.shape[1]:
        empty = torch.zeros(len(x))
        return QuantizedRows(pack(x, bits), empty, empty.clone() if affine else None, bits, 0)
    if affine:
        low, high = x.amin(1), x.amax(1)
        scale = ((high - low) / (most - least)).clamp(min=1e-30)
        zero = low - least * scale
    else:
        scale, zero = x.abs().amax(1) / most, None
        scale = scale.where(scale > 0, 1)
    centred = x if zero is None else x - zero.unsqueeze(1)
    codes = (centred / scale.unsqueeze(1)).round().clamp(least, most)
    return QuantizedRows(pack(codes, bits), scale, zero, bits, x.shape[1])


def dequantized(rows: QuantizedRows) -> torch.Tensor:
    """The numbers that they stand for, in float64."""
    out = unpack(rows).double() * rows.scale.double().unsqueeze(1)
    return out if rows.zero is None else out + rows.zero.double().unsqueeze(1)
