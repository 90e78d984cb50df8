"""What is a table in a few bits an entry? Packed codes, and what a code stands for in each row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

BITS = (8, 4, 2)


@dataclass(frozen=True, eq=False)
class QuantizedRows:
    """Rows of numbers in 8, 4 or 2 bits each: entry f of row i is scale[i] * code[i, f] + zero[i].

    A code is a signed integer of `bits` bits. Eight bits are stored as int8. Fewer are packed, the lowest bits of a
    byte first, as code + 2^(bits - 1) in uint8: 4 bits as two to a byte, 2 bits as four; the last byte of a row is
    filled up with zero bits.

    Args:
        codes: [rows, width] int8 for 8 bits; [rows, ceil(width * bits / 8)] uint8 for 4 and 2.
        scale: [rows], float32: the step from one code to the next; finite, 0 or more.
        zero: [rows], float32: what code 0 stands for; finite. None where that is 0 (symmetric rows).
        bits: 8, 4 or 2.
        width: numbers a row.

    Raises:
        TypeError: a dtype is another one.
        ValueError: bits is another number, or a shape or device does not fit.
    """

    codes: Tensor
    scale: Tensor
    zero: Tensor | None
    bits: int
    width: int

    def __post_init__(self) -> None:
        check_quantized("QuantizedRows", self.codes, self.scale, self.zero, self.bits, self.width)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.codes.shape[0]

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, width), of the numbers that it stands for."""
        return self.rows, self.width

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.codes.device

    @property
    def nbytes(self) -> int:
        """Bytes of the codes, the scales and the zeros."""
        return sum(part.nbytes for part in (self.codes, self.scale, self.zero) if part is not None)

    def to(self, device: torch.device | str) -> QuantizedRows:
        """The same rows on another device."""
        zero = None if self.zero is None else self.zero.to(device)
        return replace(self, codes=self.codes.to(device), scale=self.scale.to(device), zero=zero)

    def state_dict(self) -> dict[str, Tensor | int]:
        """Plain tensors and numbers, for torch.save and safetensors; `from_state_dict` reads them."""
        state: dict[str, Tensor | int] = {
            "codes": self.codes,
            "scale": self.scale,
            "bits": self.bits,
            "width": self.width,
        }
        return state if self.zero is None else {**state, "zero": self.zero}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> QuantizedRows:
        """The rows of a `state_dict`."""
        return cls(state["codes"], state["scale"], state.get("zero"), int(state["bits"]), int(state["width"]))


def packed_width(width: int, bits: int) -> int:
    """Bytes a row of codes."""
    return (width * bits + 7) // 8


def packed(code: Tensor, bits: int) -> Tensor:
    """Codes as they are stored, [rows, width] in integers: int8, or several to a byte."""
    if bits == 8:
        return code.to(torch.int8)
    in_byte = 8 // bits
    filled = torch.nn.functional.pad(code + 2 ** (bits - 1), (0, -code.shape[1] % in_byte)).to(torch.uint8)
    shifts = torch.arange(0, 8, bits, device=code.device, dtype=torch.uint8)
    return (filled.view(len(code), filled.shape[1] // in_byte, in_byte) << shifts).sum(2, dtype=torch.uint8)


def check_quantized(op: str, codes: Tensor, scale: Tensor, zero: Tensor | None, bits: int, width: int) -> None:
    """The contract of quantised rows, for every op that takes them. Nothing but shapes and types is looked at."""
    if bits not in BITS:
        raise ValueError(f"{op}: expected bits of 8, 4 or 2, got {bits}")
    if codes.dim() != 2 or width < 0 or codes.shape[1] != packed_width(width, bits):
        raise ValueError(
            f"{op}: expected codes of shape [rows, {packed_width(max(width, 0), bits)}] for {width} columns of {bits} "
            f"bits, got {list(codes.shape)}"
        )
    stored = torch.int8 if bits == 8 else torch.uint8
    if codes.dtype != stored:
        raise TypeError(f"{op}: expected codes of {bits} bits in {stored}, got {codes.dtype}")
    for name, part in (("scale", scale), ("zero", zero)):
        if part is None:
            continue
        if part.shape != codes.shape[:1]:
            raise ValueError(f"{op}: expected {name} of shape [{codes.shape[0]}], one a row, got {list(part.shape)}")
        if part.dtype != torch.float32:
            raise TypeError(f"{op}: expected {name} in float32, got {part.dtype}")
        if part.device != codes.device:
            raise ValueError(f"{op}: {name} is on {part.device}, codes on {codes.device}: move one with .to()")
