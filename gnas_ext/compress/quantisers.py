"""What does training see of the codes that will be stored? Rows as they come back, with gradients straight through.

Each quantiser takes float32 rows that training moves and gives the rows that their codes stand for; the gradient goes
to the rows as if nothing had been rounded (Bengio et al., 2013), and to what the codes are read with.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from gnas_ext.compress.product import codebooks, nearest, part_widths
from gnas_ext.models.coded import GroupedTable, PackedTable, ProductTable, pack_groups
from gnas_ext.models.factors import Table
from gnas_ext.ops.quantize_rows import fake_quantize_rows, quantize_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gnas_ext.models.coded import Rows
    from gnas_ext.ops.quantize_rows import Clip, Rounding


class Quantiser(nn.Module, ABC):
    """From rows in training to rows in codes; what it learns beside the rows are its parameters."""

    @abstractmethod
    def forward(self, rows: Tensor, index: Tensor) -> Tensor:
        """What the rows of an index come back as, [len(index), width], of all rows, [n, width]."""

    def refresh(self, rows: Tensor) -> None:
        """Looks at all rows again: before a pass, and every so many steps."""

    @abstractmethod
    def store(self, rows: Tensor) -> Rows:
        """The table that is kept."""


class Floats(Quantiser):
    """Rows as they are; `length` brings each to it, 0 does not."""

    def __init__(self, length: float = 0.0) -> None:
        super().__init__()
        self.length = length

    def forward(self, rows: Tensor, index: Tensor) -> Tensor:
        """The rows of an index."""
        return to_length(rows.index_select(0, index), self.length)

    def store(self, rows: Tensor) -> Rows:
        """Float32."""
        return Table(to_length(rows.detach(), self.length))


class RowBits(Quantiser):
    """Rows in 8, 4 or 2 bits with a scale a row (`ops.fake_quantize_rows`).

    Args:
        bits: 8, 4 or 2.
        rounding: in training; "stochastic" leaves no bias. What is stored is rounded to the nearest.
        clip: "mse" searches each row's range.
        symmetric: or with a zero a row, which two bits need to have four codes.
        length: that rows had; the scales hold it.
    """

    def __init__(
        self,
        bits: int,
        rounding: Rounding = "nearest",
        clip: Clip = "mse",
        symmetric: bool = True,
        length: float = 0.0,
    ) -> None:
        super().__init__()
        self.bits, self.clip, self.symmetric, self.length = bits, clip, symmetric, length
        self.rounding: Rounding = rounding
        self._step = 0

    def forward(self, rows: Tensor, index: Tensor) -> Tensor:
        """The rows of an index as they come back."""
        self._step += 1
        some = to_length(rows.index_select(0, index), self.length)
        return fake_quantize_rows(some, self.bits, self.rounding, self.clip, self.symmetric, self._step)

    def store(self, rows: Tensor) -> Rows:
        """Codes, rounded to the nearest."""
        rows = to_length(rows.detach(), self.length)
        return PackedTable(quantize_rows(rows, self.bits, clip=self.clip, symmetric=self.symmetric))


class Product(Quantiser):
    """Rows in a byte a part (`models.ProductTable`), with codebooks that learn.

    Codes are found for all rows by `refresh`, and anew for few rows whenever they are asked for.

    Args:
        rows: [n, width], what training begins with.
        parts: bytes a row.
        weight: [width], how much an error in each column costs.
        length: of every row; 0 for none.
        seed: of the first codebooks.
    """

    def __init__(self, rows: Tensor, parts: int, weight: Tensor, length: float = 0.0, seed: int = 0) -> None:
        super().__init__()
        self.weight, self.length = weight, length
        self.widths = part_widths(rows.var(0, correction=0) * weight, parts)
        self.books = nn.Parameter(codebooks(rows, self.widths, weight, seed))
        self.codes = torch.empty(0)
        self.refresh(rows)

    def forward(self, rows: Tensor, index: Tensor) -> Tensor:
        """The rows of an index as they come back; gradients flow to the rows and to the vectors that were picked."""
        some = rows.index_select(0, index)
        if len(index) < len(rows) // 4:
            self.codes[index] = nearest(some.detach(), self.books.detach(), self.widths, self.weight)
        codes = self.codes[index].long()
        parts = torch.split(self.books, list(self.widths), 1)
        picked = torch.cat([functional.embedding(codes[:, place], part) for place, part in enumerate(parts)], 1)
        return to_length(picked + (some - some.detach()), self.length)

    def refresh(self, rows: Tensor) -> None:
        """Finds the codes of all rows."""
        self.codes = nearest(rows.detach(), self.books.detach(), self.widths, self.weight)

    def store(self, rows: Tensor) -> Rows:
        """Codes for the codebook as it is stored, in float16."""
        books = self.books.detach().half()
        return ProductTable(
            nearest(rows.detach(), books.float(), self.widths, self.weight), books, self.widths, self.length
        )


class Grouped(Quantiser):
    """Groups of rows, each with a quantiser of its own.

    Args:
        group: the group of each row, [n], int64.
        quantisers: one a group.
    """

    def __init__(self, group: Tensor, quantisers: Sequence[Quantiser]) -> None:
        super().__init__()
        self.group = group
        self.each = tuple(quantisers)
        self.kept = nn.ModuleList(quantisers)  # so that their parameters are found
        self.place = torch.zeros_like(group)
        for number in range(len(quantisers)):
            mine = group == number
            self.place[mine] = torch.arange(int(mine.sum()))

    def forward(self, rows: Tensor, index: Tensor) -> Tensor:
        """The rows of an index as they come back."""
        found, order = [], []
        for number, quantiser in enumerate(self.each):
            mine = (self.group[index] == number).nonzero()[:, 0]
            found.append(quantiser(rows[self.group == number], self.place[index[mine]]))
            order.append(mine)
        back = torch.empty(len(index), dtype=torch.int64)
        back[torch.cat(order)] = torch.arange(len(index))
        return torch.cat(found)[back]

    def refresh(self, rows: Tensor) -> None:
        """Each group's."""
        for number, quantiser in enumerate(self.each):
            quantiser.refresh(rows[self.group == number])

    def store(self, rows: Tensor) -> Rows:
        """A table a group."""
        tables = [quantiser.store(rows[self.group == number]) for number, quantiser in enumerate(self.each)]
        return GroupedTable(pack_groups(self.group), tuple(tables), len(self.group))


def to_length(rows: Tensor, length: float) -> Tensor:
    """Rows of one length; as they are for 0."""
    return functional.normalize(rows) * length if length else rows
