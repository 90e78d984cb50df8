"""How does a table shrink without training? Rows in 8, 4 or 2 bits with a scale each, or a byte for some columns.

The cheap option: what training with the quantiser in sight (`compress.distil` with `compress.quantisers`) has to beat.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, overload

import torch
from torch import Tensor

from gnas_ext.compress.product import nearest, product_table
from gnas_ext.compress.rotate import importance, rotate, row_length
from gnas_ext.errors import InputError
from gnas_ext.models.coded import CodedModel, GroupedTable, PackedTable, pack_groups
from gnas_ext.models.factors import FactorModel, Table
from gnas_ext.ops.quantize_rows import quantize_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gnas_ext.models.coded import Rows

_BITS = (2, 4, 8, 32)


@overload
def quantize_table(x: Tensor, bits: Literal[8, 32]) -> Table: ...


@overload
def quantize_table(x: Tensor, bits: int) -> Table | PackedTable: ...


def quantize_table(x: Tensor, bits: int) -> Table | PackedTable:
    """Stores rows in 32, 8, 4 or 2 bits an entry.

    Eight bits are symmetric and row by row: the scale is the row's largest magnitude / 127, a code is the nearest
    integer to entry / scale, so an entry is off by half a scale at most. A row of zeros has scale 1 and stays zero.
    Four and two bits leave out what is far where that makes the row's squared error less (`ops.quantize_rows`, "mse");
    two bits have a zero a row beside the scale, for else they would have three codes instead of four.

    Args:
        x: [n, width], float32.
        bits: 32 keeps x as it is; 8 makes int8 codes in -127 … 127 and a float32 scale a row; 4 and 2 are packed.

    Raises:
        InputError: an entry is NaN or infinite.
        ValueError, TypeError: x is not two-dimensional float32, or bits is none of these.
    """
    _check(x)
    if bits not in _BITS:
        raise ValueError(f"quantize_table: expected 2, 4, 8 or 32 bits, got {bits}")
    if bits == 32:
        return Table(x)
    if bits == 8:
        rows = quantize_rows(x)
        return Table(rows.codes, rows.scale)
    return PackedTable(quantize_rows(x, bits, clip="mse", symmetric=bits == 4))


def quantize_groups(x: Tensor | Rows, group: Tensor, bits: Sequence[int]) -> GroupedTable:
    """Stores rows in bits that hang on their group: popular rows in many, rare ones in few.

    Args:
        x: [n, width], float32, or a table of it. Where it is in groups already, these stay apart, and a row that some
            share is in the fewest bits; there may be four kinds of rows in all.
        group: the group of each row, [n], 0 … len(bits) - 1 (`degree_groups`).
        bits: of each group, four groups at most: 32, 8, 4 or 2.
    """
    if isinstance(x, GroupedTable):
        return _regrouped(x, group, bits)
    rows = x if isinstance(x, Tensor) else x.float()
    _check(rows)
    tables = tuple(_in_group(rows[group == number], some) for number, some in enumerate(bits))
    return GroupedTable(pack_groups(group), tables, len(rows))


def _regrouped(rows: GroupedTable, group: Tensor, bits: Sequence[int]) -> GroupedTable:
    before, kind = rows.groups(), torch.zeros(len(rows), dtype=torch.int64)
    tables: list[Rows] = []
    for number, table in enumerate(rows.tables):
        members = (before == number).nonzero()[:, 0]
        if len(table) == 1:
            kind[members] = len(tables)
            tables.append(_in_group(table.float(), min(bits)))
            continue
        for other, some in enumerate(bits):
            mine = (group[members] == other).nonzero()[:, 0]
            if len(mine):
                kind[members[mine]] = len(tables)
                tables.append(_in_group(table.float(mine), some))
    return GroupedTable(pack_groups(kind), tuple(tables), len(rows))


def in_table_groups(model: FactorModel | CodedModel) -> bool:
    """Whether all rows are in tables of float32 or int8, some of them in groups (`prune.fold_rows`)."""
    return isinstance(model, CodedModel) and all(
        isinstance(part, Table)
        for rows in (model.user, model.item)
        for part in (rows.tables if isinstance(rows, GroupedTable) else (rows,))
    )


def quantize_parts(model: CodedModel, bits: int) -> CodedModel:
    """Stores rows in groups in 32, 8, 4 or 2 bits an entry (`quantize_table`), each group as wide as it is.

    Args:
        model: of `in_table_groups`.
        bits: of all rows.
    """
    return CodedModel(_parts(model.user, bits), _parts(model.item, bits), model.prior)


def _parts(rows: Rows, bits: int) -> Rows:
    if not isinstance(rows, GroupedTable):
        return quantize_table(rows.float(), bits)
    return replace(rows, tables=tuple(_in_group(table.float(), bits) for table in rows.tables))


def _in_group(rows: Tensor, bits: int) -> Rows:
    # In a group, int8 rows are packed ones too.
    return PackedTable(quantize_rows(rows)) if bits == 8 else quantize_table(rows, bits)


def degree_groups(degree: Tensor, shares: Sequence[float]) -> Tensor:
    """Groups of rows by how often they were touched, [n], int64: group 0 are the most popular.

    Args:
        degree: touches of each row, [n].
        shares: of all rows, for each group but the last, which has the rest.
    """
    if not all(share >= 0 for share in shares) or sum(shares) > 1:
        raise ValueError(f"degree_groups: expected shares of 0 or more that add up to 1 at most, got {list(shares)}")
    order = degree.argsort(descending=True, stable=True)
    group = torch.full((len(degree),), len(shares), dtype=torch.int64)
    first = 0
    for number, share in enumerate(shares):
        last = first + round(share * len(degree))
        group[order[first:last]] = number
        first = last
    return group


@overload
def quantize_model(model: FactorModel, bits: Literal[8, 32]) -> FactorModel: ...


@overload
def quantize_model(model: FactorModel, bits: int) -> FactorModel | CodedModel: ...


def quantize_model(model: FactorModel, bits: int) -> FactorModel | CodedModel:
    """Stores both tables in 32, 8, 4 or 2 bits an entry; the prior, one number an item, stays float32."""
    user, item = quantize_table(model.user.float(), bits), quantize_table(model.item.float(), bits)
    if isinstance(user, Table) and isinstance(item, Table):
        return FactorModel(user, item, model.prior)
    return CodedModel(user, item, None if model.prior is None else Table(model.prior[:, None]))


def product_quantize(model: FactorModel, user_parts: int, item_parts: int, seed: int = 0) -> CodedModel:
    """Stores rows in so many bytes each, and the prior in one an item, without training.

    Columns are turned first (`rotate`), and an error counts as much as it moves scores (`importance`). Where all rows
    of a table are of one length, as those of cosines are, so are they again when they are read.

    Args:
        model: float32 or int8.
        user_parts: bytes a user, from width / 16 to width.
        item_parts: bytes an item.
        seed: of the codebooks.
    """
    turned = rotate(model)
    user, item = turned.user.float(), turned.item.float()
    _check(user)
    _check(item)
    return CodedModel(
        product_table(user, user_parts, importance(user, item, centred=True), row_length(user), seed),
        product_table(item, item_parts, importance(item, user, centred=False), row_length(item), seed),
        None if model.prior is None else prior_table(model.prior),
    )


def product_quantize_parts(model: CodedModel, user_parts: int, item_parts: int) -> CodedModel:
    """Stores rows in groups in so many bytes each, or as many as a group has columns; a shared row stays float32.

    Args:
        model: of `in_table_groups`.
        user_parts: bytes a user, from width / 16 to width.
        item_parts: bytes an item.
    """
    user, item, prior = model.user.float(), model.item.float(), model.prior_row()
    return CodedModel(
        _coded_parts(model.user, user_parts, importance(user, item, centred=True)),
        _coded_parts(model.item, item_parts, importance(item, user, centred=False)),
        None if prior is None else prior_table(prior),
    )


def _coded_parts(rows: Rows, parts: int, weight: Tensor) -> Rows:
    def coded(table: Rows) -> Rows:
        x = table.float()
        return Table(x) if len(x) < 2 else product_table(x, min(parts, table.width), weight[: table.width])

    if not isinstance(rows, GroupedTable):
        return coded(rows)
    return replace(rows, tables=tuple(map(coded, rows.tables)))


def prior_table(prior: Tensor) -> Rows:
    """A prior, float32 [n_items], in a byte an item.

    Codewords are found among its different values, each counted once: a log popularity has few, and those of the most
    popular items, which many lists have, would be lost among so many rare ones.
    """
    table = product_table(torch.unique(prior)[:, None], 1)
    return replace(table, codes=nearest(prior[:, None], table.books, table.widths, torch.ones(1)))


def _check(x: Tensor) -> None:
    if x.dim() != 2:
        raise ValueError(f"quantize_table: expected x of shape [n, width], got {list(x.shape)}")
    if x.dtype != torch.float32:
        raise TypeError(f"quantize_table: expected float32, got {x.dtype}")
    finite = x.isfinite().all(1)
    if not finite.all():
        row = int(finite.logical_not().nonzero()[0])
        raise InputError(f"quantize_table: row {row} holds NaN or Inf and cannot be stored; did training diverge?")
