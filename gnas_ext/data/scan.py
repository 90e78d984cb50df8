"""How the wanted columns of any file become one lazy frame, without the whole text in memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import polars as pl

from gnas_ext.data.sniff import REFUSALS, first_line
from gnas_ext.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gnas_ext.data.sniff import Layout

Result = TypeVar("Result")

BAD = "_bad"
_LINE_SEPARATOR = "\x01"  # stands in no text, so that Polars' CSV reader hands over whole lines
# What spreadsheets, pandas, R and databases write for nothing.
_NOTHING = ["", "null", "NULL", "NaN", "nan", "NA", "None", "\\N"]


def scan(source: str | Path | bytes, layout: Layout, roles: Mapping[str, str], careful: bool = False) -> pl.LazyFrame:
    """A lazy frame with a column a role, and a column `_bad` for lines that are no row.

    Text and JSON give strings without blanks around them, null where there is nothing; Parquet gives what it
    holds. Lines with too many fields are bad. Lines with too few are bad as far as that can be known: Polars' CSV
    reader does not tell an absent last field from an empty one.

    Args:
        source: the file, or text in memory.
        layout: from `sniff`.
        roles: role -> column.
        careful: slower, for files that Polars refuses: quotes are plain characters and bad JSON lines are marked.
    """
    if isinstance(source, str):
        source = Path(source).expanduser()
    if layout.kind == "parquet":
        frame = pl.scan_parquet(source, glob=False)
        frame = frame.select(*(pl.col(column).alias(role) for role, column in roles.items()), pl.lit(False).alias(BAD))
        return frame.with_columns(pl.col(pl.Float32, pl.Float64).fill_nan(None))  # pandas' way to write nothing
    if layout.kind == "json":
        return _careful_json(source, roles) if careful else _json(source, roles)
    if len(layout.separator.encode()) > 1:
        return _split(source, layout, roles)
    return _csv(source, layout, roles, quotes=not careful)


def scan_lines(source: Path | bytes, skip: int = 0) -> pl.LazyFrame:
    """The lines of a text as one column `line`, null for blank ones, without the first `skip`."""
    return _scan_csv(source, ["line", "rest"], _LINE_SEPARATOR, skip, None).select("line")


def fast_or_careful(path: str | Path, layout: Layout, plan: Callable[[bool], Result]) -> tuple[Result, bool]:
    """Runs `plan(careful=False)` and, where Polars refuses the file, `plan(careful=True)`.

    Returns:
        What the plan gave, and whether it had to be careful.

    Raises:
        InputError: neither works.
    """
    for careful in (False, True):
        try:
            return plan(careful), careful
        except REFUSALS as error:
            refusal = first_line(error)
            if layout.kind == "parquet" or isinstance(error, OSError):
                break
    raise InputError(f"{path}: cannot be read as {layout.describe()} ({refusal}); the file may be damaged")


def _texts(frame: pl.LazyFrame, roles: Mapping[str, str]) -> pl.LazyFrame:
    """The roles' values without blanks around them, null where there is nothing."""
    cells = pl.col(*roles)
    stripped = frame.with_columns(cells.str.strip_chars())  # a step of its own: within one, it would run twice
    return stripped.with_columns(pl.when(~cells.is_in(_NOTHING)).then(cells))


def _csv(source: Path | bytes, layout: Layout, roles: Mapping[str, str], quotes: bool) -> pl.LazyFrame:
    names = [f"{at}" for at in range(len(layout.columns))]
    skip = layout.skip + layout.header
    frame = _scan_csv(source, [*names, "extra"], layout.separator, skip, '"' if quotes else None)
    places = {role: names[layout.columns.index(column)] for role, column in roles.items()}
    if not quotes:
        frame = frame.with_columns(pl.col(*names).str.strip_chars().str.strip_chars('"'))
    # A line that ends early lacks its last fields: two of the wanted ones, or else it may be a mere empty cell.
    last_wanted = sorted(places.values(), key=int)[-2:]
    early = pl.all_horizontal(pl.col(place).is_null() for place in {*last_wanted, names[-1]})
    bad = pl.col("extra").is_not_null() | early
    frame = frame.select(*(pl.col(place).alias(role) for role, place in places.items()), bad.alias(BAD))
    return _texts(frame, roles)


def _split(source: Path | bytes, layout: Layout, roles: Mapping[str, str]) -> pl.LazyFrame:
    width = len(layout.columns)
    fields = pl.col("fields")
    cells = {role: layout.columns.index(column) for role, column in roles.items()}
    bad = (_field(fields, width).fill_null("") != "") | _field(fields, width - 1).is_null()
    frame = scan_lines(source, layout.skip + layout.header)
    frame = frame.select(pl.col("line").str.splitn(layout.separator, width + 1).alias("fields"))
    frame = frame.select(*(_field(fields, at).alias(role) for role, at in cells.items()), bad.alias(BAD))
    return _texts(frame, roles)


def _field(fields: pl.Expr, at: int) -> pl.Expr:
    return fields.struct.field(f"field_{at}")


def _json(source: Path | bytes, roles: Mapping[str, str]) -> pl.LazyFrame:
    frame = pl.scan_ndjson(source, schema={column: pl.String() for column in roles.values()})
    return _json_roles(frame.select(pl.col(column).alias(role) for role, column in roles.items()), roles)


def _careful_json(source: Path | bytes, roles: Mapping[str, str]) -> pl.LazyFrame:
    def value(column: str) -> pl.Expr:
        quoted = column.replace("\\", "\\\\").replace('"', '\\"')
        return pl.col("line").str.json_path_match(f'$["{quoted}"]')

    frame = scan_lines(source).filter(pl.col("line").str.strip_chars() != "")
    return _json_roles(frame.select(value(column).alias(role) for role, column in roles.items()), roles)


def _json_roles(frame: pl.LazyFrame, roles: Mapping[str, str]) -> pl.LazyFrame:
    nothing = pl.all_horizontal(pl.col(role).is_null() for role in roles)
    return _texts(frame.with_columns(nothing.alias(BAD)), roles)


def _scan_csv(
    source: Path | bytes, names: list[str], separator: str, skip: int, quote_char: str | None
) -> pl.LazyFrame:
    return pl.scan_csv(
        source,
        has_header=False,
        skip_lines=skip,
        separator=separator,
        quote_char=quote_char,
        schema={name: pl.String() for name in names},
        # Short lines are filled with nulls; long ones show in the last of `names`.
        truncate_ragged_lines=True,
        missing_columns="insert",
        # A title in Latin-1 must not stop the reading; ids are checked for the replacement character later.
        encoding="utf8-lossy",
        raise_if_empty=False,
        glob=False,
    )
