"""What is an item called: titles and genres beside a log."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import polars as pl

from gnas_ext.data.columns import choose, choose_by_position
from gnas_ext.data.ids import as_id_column, numbers_if_all
from gnas_ext.data.interactions import Log, Split
from gnas_ext.data.scan import BAD, fast_or_careful, scan
from gnas_ext.data.sniff import GZIP, sniff
from gnas_ext.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gnas_ext.data.sniff import Layout

Logged = TypeVar("Logged", Log, Split)


def read_items(
    path: str | Path,
    item: str | None = None,
    title: str | None = None,
    genres: str | None = None,
    sep: str | None = None,
) -> pl.DataFrame:
    """Reads titles and, where there are any, genres of items, from any format that `read_log` reads.

    Text that is not UTF-8 is taken for Latin-1, as MovieLens' `movies.dat` is. Of two rows for an item the last counts.

    Args:
        path: the file.
        item: the column of ids; guessed where None, by position in files without a header.
        title: the column of titles, likewise.
        genres: the column of genres, likewise, but it may be missing.
        sep: the separator of a text file; guessed where None.

    Returns:
        A row an item: `item` (Int64 or String, as in `read_log`), `title` (String), `genres` (String, maybe null).

    Raises:
        InputError: the file or a column cannot be used, or no row is left.
    """
    wanted = {"item": item, "title": title, "genres": genres}
    layout = sniff(path, sep, [name for name in wanted.values() if name is not None])
    pick = choose if layout.header else _by_position
    roles = pick(str(path), layout.columns, wanted, ["item", "title"])
    frame, careful = fast_or_careful(path, layout, lambda careful: _collect(str(path), layout, roles, careful))
    if layout.kind == "text" and frame["title"].str.contains("\ufffd", literal=True).any():
        frame = _collect(_from_latin1(path), layout, roles, careful)
    frame = frame.filter(~pl.col(BAD)).select(
        as_id_column(str(path), "item", roles["item"], frame["item"].dtype),
        pl.col("title").cast(pl.String),
        pl.col("genres").cast(pl.String) if "genres" in roles else pl.lit(None, pl.String).alias("genres"),
    )
    frame = frame.drop_nulls(["item", "title"]).unique("item", keep="last", maintain_order=True)
    if frame.is_empty():
        raise InputError(f"{path}: no item with a title; check --item and --title")
    return frame if layout.kind == "parquet" else frame.with_columns(numbers_if_all(frame["item"]))


def attach_items(log: Logged, items: pl.DataFrame) -> Logged:
    """The log, or the split, with facts about its items, whose ids are brought to the type that the log's have.

    Raises:
        InputError: there is no column `item`, or it shares no id with the log.
    """
    if "item" not in items.columns:
        raise InputError(f"items: no column 'item'; found {', '.join(items.columns)}")
    items = items.with_columns(pl.col("item").cast(log.item_ids.dtype, strict=False)).drop_nulls("item")
    known = int(log.item_ids.is_in(items["item"].implode()).sum())
    if not known:
        raise InputError(
            f"items: none of the log's {len(log.item_ids):,} items is in the list, such as {log.item_ids[0]!r}"
        )
    note = f"items: facts about {known:,} of {len(log.item_ids):,}"
    return replace(log, items=items, guesses=(*log.guesses, note))


def _collect(source: str | bytes, layout: Layout, roles: Mapping[str, str], careful: bool) -> pl.DataFrame:
    return scan(source, layout, roles, careful).collect(engine="streaming")


def _from_latin1(path: str | Path) -> bytes:
    raw = Path(path).expanduser().read_bytes()
    return (gzip.decompress(raw) if raw.startswith(GZIP) else raw).decode("latin-1").encode()


def _by_position(
    path: str, columns: tuple[str, ...], wanted: dict[str, str | None], required: list[str]
) -> dict[str, str]:
    return choose_by_position(path, columns, ["item", "title", "genres"], wanted, required)
