"""What is a recommender in a few bytes a row? Two tables of codes, which stand for rows that score by a dot product.

    score(u, i) = <user[u], item[i]> + prior[i]

A table of codes is one of three: rows of 8, 4 or 2 bits an entry (`PackedTable`); a byte for some columns together,
which picks one of 256 vectors (`ProductTable`); or groups of rows, such as popular and rare ones, each with a table of
its own (`GroupedTable`). All of them give back float32 rows, some or all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from gnas_ext.models.factors import FactorModel, Table, ranked
from gnas_ext.ops.quantize_rows import dequantize_rows
from gnas_ext.ops.quantized_rows import QuantizedRows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gnas_ext.graph.csr import CSR
    from gnas_ext.models.base import Model

# Vectors that a byte can name, columns that it can stand for, and groups that two bits can name.
CODEWORDS = 256
WIDEST_PART = 16
GROUPS = 4


class Rows(Protocol):
    """Rows of numbers, however they are kept."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    @property
    def width(self) -> int:
        """Numbers a row."""
        ...

    def float(self, index: Tensor | None = None) -> Tensor:
        """All rows, or those of an index, as float32 [n, width]."""
        ...

    def size_bytes(self) -> int:
        """Bytes of everything that is stored for them."""
        ...


@dataclass(frozen=True, eq=False)
class PackedTable:
    """Rows in 8, 4 or 2 bits an entry, with a scale a row.

    Attributes:
        rows: codes, scales and zeros, as `ops.quantize_rows` makes them.
    """

    rows: QuantizedRows

    def __len__(self) -> int:
        return self.rows.rows

    @property
    def width(self) -> int:
        """Numbers a row."""
        return self.rows.width

    def float(self, index: Tensor | None = None) -> Tensor:
        """All rows, or those of an index, as float32 [n, width]."""
        rows = self.rows
        if index is not None:
            zero = None if rows.zero is None else rows.zero[index]
            rows = QuantizedRows(rows.codes[index], rows.scale[index], zero, rows.bits, rows.width)
        return dequantize_rows(rows)

    def size_bytes(self) -> int:
        """Bytes of the codes, the scales and the zeros, and 8 that say how many bits and columns there are."""
        return self.rows.nbytes + 8


@dataclass(frozen=True, eq=False)
class ProductTable:
    """Rows in parts of some columns each, a byte a part: the number of a vector in the part's codebook.

    Product quantisation (Jégou, Douze and Schmid, 2011), with parts as wide as is best for each.

    Attributes:
        codes: [n, parts], uint8.
        codebook: [256, width], float16, or int8 with a scale: 256 vectors for each part, those of a part in its
            columns.
        widths: columns of each part; they add up to width.
        length: what each row is brought to, such as 1 for cosines; 0 leaves rows as they are.
        codebook_scale: [width], float16: of each column of a codebook in int8; None of one in float16.
    """

    codes: Tensor
    codebook: Tensor
    widths: tuple[int, ...]
    length: float = 0.0
    codebook_scale: Tensor | None = None

    def __post_init__(self) -> None:
        scaled = self.codebook_scale is not None
        if self.codes.dtype != torch.uint8 or self.codebook.dtype != (torch.int8 if scaled else torch.float16):
            raise TypeError(
                "ProductTable: expected codes in uint8 and a codebook in float16, or in int8 with a scale, got "
                f"{self.codes.dtype} and {self.codebook.dtype} {'with' if scaled else 'without'} a scale"
            )
        if self.codes.dim() != 2 or self.codes.shape[1] != len(self.widths):
            raise ValueError(
                f"ProductTable: expected codes of shape [n, {len(self.widths)}], one a part, "
                f"got {list(self.codes.shape)}"
            )
        if min(self.widths, default=0) < 1 or self.codebook.shape != (CODEWORDS, sum(self.widths)):
            raise ValueError(
                f"ProductTable: expected a codebook of shape [{CODEWORDS}, {sum(self.widths)}] for parts of "
                f"{self.widths} columns, 1 or more each, got {list(self.codebook.shape)}"
            )
        if self.codebook_scale is not None and (
            self.codebook_scale.dtype != torch.float16 or self.codebook_scale.shape != (self.width,)
        ):
            raise ValueError(
                f"ProductTable: expected codebook_scale of shape [{self.width}] in float16, got "
                f"{list(self.codebook_scale.shape)} in {self.codebook_scale.dtype}"
            )
        if not 0 <= self.length < float("inf"):
            raise ValueError(f"ProductTable: expected a finite length of 0 or more, got {self.length}")

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def width(self) -> int:
        """Numbers a row."""
        return self.codebook.shape[1]

    @property
    def books(self) -> Tensor:
        """The codebook, [256, width], float32."""
        books = self.codebook.float()
        return books if self.codebook_scale is None else books * self.codebook_scale.float()

    def float(self, index: Tensor | None = None) -> Tensor:
        """All rows, or those of an index, as float32 [n, width]."""
        codes = (self.codes if index is None else self.codes[index]).int()
        columns = torch.split(self.books, list(self.widths), 1)
        found = torch.cat([part[codes[:, place]] for place, part in enumerate(columns)], 1)
        return functional.normalize(found).mul_(self.length) if self.length else found

    def size_bytes(self) -> int:
        """Bytes of the codes and the codebook, 4 for each part's width and 4 for the length."""
        scale = 0 if self.codebook_scale is None else self.codebook_scale.nbytes
        return self.codes.nbytes + self.codebook.nbytes + scale + 4 * len(self.widths) + 4


@dataclass(frozen=True, eq=False)
class GroupedTable:
    """Groups of rows, each with a table of its own: popular rows in many bits, rare ones in few.

    Attributes:
        group: the group of each row, four rows a byte, the lowest two bits first, [ceil(n / 4)], uint8.
        tables: one a group, four at most, for its rows in their order; or of a single row, which all of them share. A
            table narrower than the widest has zeros to its right.
        rows: n.
    """

    group: Tensor
    tables: tuple[Rows, ...]
    rows: int

    def __post_init__(self) -> None:
        if self.group.dtype != torch.uint8 or self.group.shape != ((self.rows + 3) // 4,):
            raise ValueError(
                f"GroupedTable: expected group of shape [{(self.rows + 3) // 4}] in uint8 for {self.rows} rows, got "
                f"{list(self.group.shape)} in {self.group.dtype}"
            )
        if not 1 <= len(self.tables) <= GROUPS:
            raise ValueError(f"GroupedTable: expected 1 to {GROUPS} tables, got {len(self.tables)}")
        counts = torch.bincount(self.groups(), minlength=GROUPS).tolist()
        for number in range(GROUPS):
            known = len(self.tables[number]) if number < len(self.tables) else 0
            if known != counts[number] and not (known == 1 and counts[number]):
                raise ValueError(
                    f"GroupedTable: expected a table of {counts[number]} rows, or of 1 for all, for group {number}, "
                    f"got {known}"
                )

    def __len__(self) -> int:
        return self.rows

    @property
    def width(self) -> int:
        """Numbers a row."""
        return max(table.width for table in self.tables)

    def groups(self) -> Tensor:
        """The group of each row, [n], int64."""
        shifts = torch.tensor([0, 2, 4, 6], dtype=torch.uint8)
        return ((self.group[:, None] >> shifts) & 3).flatten()[: self.rows].long()

    def float(self, index: Tensor | None = None) -> Tensor:
        """All rows, or those of an index, as float32 [n, width]."""
        group = self.groups()
        place = torch.zeros_like(group)
        for number in range(len(self.tables)):
            mine = group == number
            place[mine] = torch.arange(int(mine.sum()))
        if index is not None:
            group, place = group[index], place[index]
        out = torch.zeros(len(group), self.width)
        for number, table in enumerate(self.tables):
            mine = (group == number).nonzero()[:, 0]
            out[mine, : table.width] = table.float(place[mine].clamp(max=len(table) - 1))
        return out

    def size_bytes(self) -> int:
        """Bytes of the groups and their tables."""
        return self.group.nbytes + sum(table.size_bytes() for table in self.tables)


def pack_groups(group: Tensor) -> Tensor:
    """Groups 0 … 3 of n rows, any integers, as `GroupedTable` keeps them: [ceil(n / 4)], uint8."""
    filled = functional.pad(group.to(torch.uint8), (0, -len(group) % 4)).view(-1, 4)
    return filled[:, 0] | filled[:, 1] << 2 | filled[:, 2] << 4 | filled[:, 3] << 6


@dataclass(frozen=True, eq=False)
class CodedModel:
    """Scores by a dot product of coded rows and an optional prior per item.

    Attributes:
        user: a row a user.
        item: a row an item, as wide as `user`.
        prior: what an item scores for everybody, as a table of one column; None for nothing.
    """

    user: Rows
    item: Rows
    prior: Rows | None = None

    def __post_init__(self) -> None:
        if self.user.width != self.item.width:
            raise ValueError(
                f"CodedModel: expected user rows as wide as item rows, got {self.user.width} and {self.item.width}"
            )
        if self.prior is not None and (len(self.prior), self.prior.width) != (len(self.item), 1):
            raise ValueError(
                f"CodedModel: expected a prior of shape [{len(self.item)}, 1], got "
                f"[{len(self.prior)}, {self.prior.width}]"
            )

    @property
    def n_users(self) -> int:
        """Users with a row."""
        return len(self.user)

    @property
    def n_items(self) -> int:
        """Items with a row."""
        return len(self.item)

    def score(self, users: NDArray[np.int32]) -> Tensor:
        """Scores of all items for each user, [len(users), n_items], float32."""
        scores = self.user.float(torch.from_numpy(users).long()) @ self.item.float().T
        prior = self.prior_row()
        return scores if prior is None else scores.add_(prior)

    def best(self, users: NDArray[np.int32], k: int, exclude: CSR | None) -> tuple[Tensor, Tensor]:
        """The k best items of each user, as `ops.topk_scores` finds them; rows are decoded for each call."""
        rows = self.user.float(torch.from_numpy(users).long())
        return ranked(rows, self.item.float(), self.prior_row(), k, exclude)

    def prior_row(self) -> Tensor | None:
        """The prior as `FactorModel` has it: [n_items], float32, or None."""
        return None if self.prior is None else self.prior.float()[:, 0].contiguous()

    def decoded(self) -> FactorModel:
        """The same model with its rows in float32."""
        return FactorModel(Table(self.user.float()), Table(self.item.float()), self.prior_row())

    def size_bytes(self) -> int:
        """Bytes of both tables and the prior."""
        return self.user.size_bytes() + self.item.size_bytes() + (0 if self.prior is None else self.prior.size_bytes())


def as_served(model: Model) -> Model:
    """The model for those who ask it often: codes are decoded once, to float32, or stay int8 where all are 8 bits."""
    if not isinstance(model, CodedModel):
        return model
    user, item = _int8(model.user), _int8(model.item)
    if user is None or item is None:
        return model.decoded()
    return FactorModel(user, item, model.prior_row())


def _int8(rows: Rows) -> Table | None:
    if not isinstance(rows, PackedTable) or rows.rows.bits != 8 or rows.rows.zero is not None:
        return None
    return Table(rows.rows.codes, rows.rows.scale)


def in_floats(model: Model) -> Model:
    """The model, but one of codes with its rows in float32: for those who know no codes."""
    return model.decoded() if isinstance(model, CodedModel) else model
