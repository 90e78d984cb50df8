"""How a table shrinks to a quarter: rows in int8, each with its own scale, without training."""

from __future__ import annotations

import torch
from torch import Tensor

from gnas_ext.errors import InputError
from gnas_ext.models.factors import FactorModel, Table
from gnas_ext.ops.quantize_rows import quantize_rows


def quantize_table(x: Tensor, bits: int) -> Table:
    """Stores rows in 32 or 8 bits an entry.

    Eight bits are symmetric and row by row: the scale is the row's largest magnitude / 127, a code is the nearest
    integer to entry / scale, so an entry is off by half a scale at most. A row of zeros has scale 1 and stays zero.

    Args:
        x: [n, width], float32.
        bits: 32 keeps x as it is; 8 makes int8 codes in -127 … 127 and a float32 scale a row.

    Raises:
        InputError: an entry is NaN or infinite.
        ValueError, TypeError: x is not two-dimensional float32, or bits is neither 32 nor 8.
    """
    if x.dim() != 2:
        raise ValueError(f"quantize_table: expected x of shape [n, width], got {list(x.shape)}")
    if x.dtype != torch.float32:
        raise TypeError(f"quantize_table: expected float32, got {x.dtype}")
    if bits not in (8, 32):
        raise ValueError(f"quantize_table: expected 8 or 32 bits, got {bits}")
    finite = x.isfinite().all(1)
    if not finite.all():
        row = int(finite.logical_not().nonzero()[0])
        raise InputError(f"quantize_table: row {row} holds NaN or Inf and cannot be stored; did training diverge?")
    if bits == 32:
        return Table(x)
    rows = quantize_rows(x)
    return Table(rows.codes, rows.scale)


def quantize_model(model: FactorModel, bits: int) -> FactorModel:
    """Stores both tables in 32 or 8 bits an entry; the prior, one number an item, stays float32."""
    return FactorModel(quantize_table(model.user.float(), bits), quantize_table(model.item.float(), bits), model.prior)
