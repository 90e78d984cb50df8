"""Which tensors is a model of codes made of, and when do a stranger's tensors make one?

A table is one of four, told apart by its tensors' names: `rows` of float32; `codes` with a `scale`; `codes` with a
`codebook`; or `group`, with a table a group below it ("item.0.codes").
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch

from gnas_ext.models.coded import GROUPS, CodedModel, GroupedTable, PackedTable, ProductTable, Rows
from gnas_ext.models.factors import Table
from gnas_ext.ops.quantized_rows import QuantizedRows

if TYPE_CHECKING:
    from torch import Tensor

    from gnas_ext.evaluate.seen import SeenItems
    from gnas_ext.recommend._tensors import Tensors

SIDES = ("user", "item", "prior")
_FIELDS = ("rows", "codes", "scale", "zero", "codebook", "codebook_scale", "length", "layout")
_PLACES = ("", *(f".{number}" for number in range(GROUPS)))
# Everything that may be there; what must be hangs on the rest.
NAMES = tuple(
    name
    for side in SIDES
    for name in (f"{side}.group", *(f"{side}{place}.{field}" for place, field in product(_PLACES, _FIELDS)))
)


def coded_tensors(model: CodedModel, seen: SeenItems) -> dict[str, Tensor]:
    """Every tensor of a model of codes under its name."""
    found: dict[str, Tensor] = {}
    for side in SIDES:
        table: Rows | None = getattr(model, side)
        if table is not None:
            found |= _tensors(side, table)
    return found


def coded_model(found: Tensors, seen: SeenItems, n_items: int) -> CodedModel:
    """The model that checked tensors make; InputError where they do not fit together."""
    user, item = _table(found, "user", seen.n_users), _table(found, "item", n_items)
    prior = None
    if any(f"prior.{name}" in found for name in ("rows", "codes", "group")):
        prior = _table(found, "prior", n_items)
    try:
        model = CodedModel(user, item, prior)
    except ValueError as error:
        raise found.refuse(str(error)) from error
    # Nothing is there that the model does not use.
    found.check_names(tuple(coded_tensors(model, seen)), ())
    return model


def _tensors(name: str, table: Rows) -> dict[str, Tensor]:
    if isinstance(table, GroupedTable):
        found = {f"{name}.group": table.group}
        for number, part in enumerate(table.tables):
            found |= _tensors(f"{name}.{number}", part)
        return found
    if isinstance(table, ProductTable):
        found = {
            f"{name}.codes": table.codes,
            f"{name}.codebook": table.codebook,
            f"{name}.length": torch.tensor([table.length]),
            f"{name}.layout": torch.tensor(table.widths, dtype=torch.int32),
        }
        scale = table.codebook_scale
        return found if scale is None else {**found, f"{name}.codebook_scale": scale}
    if isinstance(table, PackedTable):
        rows = table.rows
        found = {
            f"{name}.codes": rows.codes,
            f"{name}.scale": rows.scale,
            f"{name}.layout": torch.tensor([rows.bits, rows.width], dtype=torch.int32),
        }
        return found if rows.zero is None else {**found, f"{name}.zero": rows.zero}
    if isinstance(table, Table) and table.scale is None:
        return {f"{name}.rows": table.rows}
    raise TypeError(f"save_artefact: {name}: expected a table of codes or of float32 rows, got {type(table).__name__}")


def _table(found: Tensors, name: str, rows: int) -> Rows:
    """The table of a name; `rows` is how many it must have, or 0 where that is checked elsewhere."""
    try:
        table = _any_table(found, name, rows)
    except (ValueError, TypeError) as error:
        raise found.refuse(f"{name}: {error}") from error
    if rows and len(table) != rows:
        raise found.refuse(f"{name}: expected {rows} rows, got {len(table)}")
    return table


def _any_table(found: Tensors, name: str, rows: int) -> Rows:
    if f"{name}.group" in found:
        group = torch.from_numpy(found.typed(f"{name}.group", "uint8"))
        count = sum(any(f"{name}.{number}.{field}" in found for field in _FIELDS) for number in range(GROUPS))
        # Each group's rows are counted by GroupedTable.
        return GroupedTable(group, tuple(_table(found, f"{name}.{number}", 0) for number in range(count)), rows)
    if f"{name}.codes" not in found:
        if f"{name}.rows" not in found:
            raise found.refuse(f"tensor {name}.rows, {name}.codes or {name}.group is missing")
        return Table(found.floats(f"{name}.rows"))
    codes = found.typed(f"{name}.codes", "uint8", "int8")
    for needed in ("layout", *(("length",) if f"{name}.codebook" in found else ("scale",))):
        if f"{name}.{needed}" not in found:
            raise found.refuse(f"tensor {name}.{needed} is missing")
    layout = found.typed(f"{name}.layout", "int32")
    if layout.ndim != 1:
        raise found.refuse(f"expected {name}.layout, one-dimensional, got {layout.ndim}")
    numbers = [int(number) for number in layout]
    if f"{name}.codebook" in found:
        book = found.typed(f"{name}.codebook", "float16", "int8")
        length = float(found.vector(f"{name}.length", 1))
        scale = found.typed(f"{name}.codebook_scale", "float16") if f"{name}.codebook_scale" in found else None
        for field, part in (("codebook", book), ("codebook_scale", scale)):
            if part is not None and not np.isfinite(part).all():
                raise found.refuse(f"{name}.{field}: expected finite numbers, got NaN or infinity")
        return ProductTable(
            torch.from_numpy(codes),
            torch.from_numpy(book),
            tuple(numbers),
            length,
            None if scale is None else torch.from_numpy(scale),
        )
    if len(numbers) != 2:
        raise found.refuse(f"expected {name}.layout of bits and width, got {len(numbers)} numbers")
    zero = found.floats(f"{name}.zero") if f"{name}.zero" in found else None
    return PackedTable(
        QuantizedRows(torch.from_numpy(codes), found.floats(f"{name}.scale"), zero, numbers[0], numbers[1])
    )
