"""QuantizedRows: what it refuses, where it goes, and that plain tensors carry it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from gnas_ext import ops

if TYPE_CHECKING:
    from pathlib import Path

CODES, SCALE = torch.zeros(3, 5, dtype=torch.int8), torch.ones(3)


@pytest.mark.parametrize(
    ("kind", "message", "arguments"),
    [
        (ValueError, "bits of 8, 4 or 2, got 16", (CODES, SCALE, None, 16, 5)),
        (ValueError, r"codes of shape \[rows, 6\] for 6 columns of 8 bits, got \[3, 5\]", (CODES, SCALE, None, 8, 6)),
        (ValueError, r"codes of shape \[rows, 3\] for 5 columns of 4 bits, got \[3, 5\]", (CODES, SCALE, None, 4, 5)),
        (ValueError, r"codes of shape \[rows, 0\] for -1 columns", (CODES[:, :0], SCALE, None, 8, -1)),
        (ValueError, r"codes of shape \[rows, 5\] .*, got \[5\]", (CODES[0], SCALE, None, 8, 5)),
        (TypeError, "codes of 8 bits in torch.int8, got torch.uint8", (CODES.byte(), SCALE, None, 8, 5)),
        (TypeError, "codes of 2 bits in torch.uint8, got torch.int8", (CODES[:, :2], SCALE, None, 2, 5)),
        (ValueError, r"scale of shape \[3\], one a row, got \[2\]", (CODES, SCALE[1:], None, 8, 5)),
        (TypeError, "scale in float32, got torch.float64", (CODES, SCALE.double(), None, 8, 5)),
        (ValueError, r"zero of shape \[3\], one a row, got \[3, 1\]", (CODES, SCALE, SCALE.unsqueeze(1), 8, 5)),
        (TypeError, "zero in float32, got torch.int64", (CODES, SCALE, SCALE.long(), 8, 5)),
        (ValueError, "scale is on meta, codes on cpu: move one", (CODES, SCALE.to("meta"), None, 8, 5)),
    ],
)
def test_what_does_not_fit_is_refused(kind: type[Exception], message: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(kind, match=f"QuantizedRows: (expected )?{message}"):
        ops.QuantizedRows(*arguments)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("bits", "row_bytes"), [(8, 13), (4, 7), (2, 4)])
def test_shape_and_size(bits: int, row_bytes: int, symmetric: bool) -> None:
    rows = ops.quantize_rows(torch.randn(6, 13), bits, symmetric=symmetric)
    assert (rows.rows, rows.shape, rows.device) == (6, (6, 13), torch.device("cpu"))
    assert rows.nbytes == 6 * (row_bytes + (4 if symmetric else 8))


@pytest.mark.parametrize("symmetric", [True, False])
def test_moves_to_another_device(symmetric: bool) -> None:
    rows = ops.quantize_rows(torch.randn(6, 13), 4, symmetric=symmetric)
    moved = rows.to("meta")
    assert (moved.device.type, moved.shape, moved.bits) == ("meta", rows.shape, 4)
    assert (moved.zero is None) == symmetric
    assert moved.zero is None or moved.zero.device.type == "meta"
    assert ops.dequantize_rows(moved, torch.float16).shape == (6, 13)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [8, 4, 2])
def test_plain_tensors_carry_it(tmp_path: Path, bits: int, symmetric: bool) -> None:
    rows = ops.quantize_rows(torch.randn(6, 13), bits, symmetric=symmetric)
    torch.save(rows.state_dict(), tmp_path / "rows.pt")
    again = ops.QuantizedRows.from_state_dict(torch.load(tmp_path / "rows.pt", weights_only=True))
    assert torch.equal(ops.dequantize_rows(again), ops.dequantize_rows(rows))
    assert (again.bits, again.width, again.zero is None) == (bits, 13, symmetric)
