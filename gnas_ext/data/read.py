"""How a file of interactions becomes a log: found out, read lazily, cleaned, every lost row counted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from gnas_ext.data.clean import Options, Raw, clean
from gnas_ext.data.columns import choose, choose_by_position
from gnas_ext.data.ids import as_id_column, check_readable, encode, numbers_if_all
from gnas_ext.data.interactions import Step
from gnas_ext.data.items import attach_items, read_items
from gnas_ext.data.scan import BAD, fast_or_careful, scan
from gnas_ext.data.sniff import Layout, sniff
from gnas_ext.data.times import guess_clock, to_micros
from gnas_ext.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from gnas_ext.data.interactions import Log

MISSING = "_missing"
_SAMPLE_ROWS = 1000
_NOTES = {
    "bad lines": "wrong number of fields, or an unreadable rating or time",
    "missing values": "a field is empty that is needed",
}
_LATE = 1e8  # as Unix seconds this is 1973; no rating is so high


def read_log(
    path: str | Path,
    user: str | None = None,
    item: str | None = None,
    timestamp: str | None = None,
    rating: str | None = None,
    sep: str | None = None,
    *,
    min_rating: float | None = None,
    k_core: int | None = None,
    start: str | float | date | None = None,
    end: str | float | date | None = None,
    items: str | Path | pl.DataFrame | None = None,
) -> Log:
    """Reads a log of who touched what, and cleans it.

    CSV, TSV, text with any separator ("::" too), JSON lines and Parquet, by content, not by the name's ending; text
    and JSON may be compressed by gzip. Polars reads the wanted columns lazily; the whole text is never in memory.

    Args:
        path: the file.
        user: the name of the column of users; guessed where None. In files without a header columns are called
            column_1, column_2 … and are taken for user, item, rating and timestamp in this order.
        item: the column of items, likewise.
        timestamp: the column of times, likewise, if there is one; "none" leaves it out.
        rating: the column of ratings, likewise, if there is one; "none" leaves it out.
        sep: the separator of a text file, one character or more; guessed where None.
        min_rating: keep only interactions rated at least so.
        k_core: keep only users and items with at least so many interactions each, again and again until that holds.
        start: keep only interactions from this time on: Unix seconds, an ISO date or date and time, UTC unless it
            says otherwise.
        end: keep only interactions before this time.
        items: titles and genres: a file as `read_items` reads it, or a frame with a column `item`.

    Returns:
        The log: in order of time where there are times, else in file order. Ids are Int64 where each is a whole
        number without leading zeros, else strings; Parquet keeps its own types.

    Raises:
        InputError: the file, a column or an option cannot be used, or a step drops everything.
    """
    options = Options(
        min_rating=min_rating,
        k_core=k_core,
        start=None if start is None else to_micros(start, "start"),
        end=None if end is None else to_micros(end, "end"),
    )
    wanted = {"user": user, "item": item, "rating": rating, "timestamp": timestamp}
    layout = sniff(path, sep, [name for name in wanted.values() if name is not None])
    guesses = [f"file: {Path(path).name}, {layout.describe()}"]
    roles = _choose_columns(str(path), layout, wanted, options)
    log = clean(_read(str(path), layout, roles, wanted, options, guesses), options)
    return log if items is None else attach_items(log, items if isinstance(items, pl.DataFrame) else read_items(items))


def _choose_columns(path: str, layout: Layout, wanted: Mapping[str, str | None], options: Options) -> dict[str, str]:
    required = ["user", "item"]
    required += ["rating"] if options.min_rating is not None else []
    required += ["timestamp"] if options.start is not None or options.end is not None else []
    if layout.header:
        return choose(path, layout.columns, wanted, required)
    cells = [_looks(layout, at) for at in range(len(layout.columns))]
    if "date" in cells[:2] and wanted["item"] is None:
        raise InputError(
            f"{path}: no header, and column_{cells.index('date') + 1} holds dates, not ids; "
            "say which column is which: --user column_1 --item column_N --timestamp column_M"
        )
    rest = ["rating", "timestamp"]
    if len(cells) > 2 and cells[2] != "small" and cells[3:4] != ["late"] and cells[3:4] != ["date"]:
        rest.reverse()
    return choose_by_position(path, layout.columns, ["user", "item", *rest], wanted, required)


def _looks(layout: Layout, at: int) -> str:
    """What a column of a file without a header holds, by its first rows: dates, late or small numbers, or words."""
    cells = pl.Series([row[at] for row in layout.sample], dtype=pl.String)
    cells = cells.filter(cells != "")
    numbers = cells.cast(pl.Float64, strict=False).drop_nulls()
    if len(numbers) * 2 > len(cells):
        return "late" if (numbers > _LATE).mean() == 1 else "small"
    return "date" if len(cells) and cells.str.contains(r"^\d{4}[-/]\d\d?[-/]\d\d?").all() else "words"


def _read(
    path: str,
    layout: Layout,
    roles: Mapping[str, str],
    wanted: Mapping[str, str | None],
    options: Options,
    guesses: list[str],
) -> Raw:
    (frame, details), careful = fast_or_careful(
        path, layout, lambda careful: _collect(path, layout, roles, options, careful)
    )
    if careful and layout.kind == "text":
        guesses.append("quotes: they do not pair up, so they are read as plain characters")
    elif careful:
        guesses.append("lines: some are no JSON, so each is read on its own (slower)")
    guesses += [
        f"{role}: column {column!r}{details.get(role, '')}"
        for role, column in roles.items()
        if wanted[role] is None or role in details
    ]
    if "timestamp" not in roles:
        guesses.append("timestamp: none, so rows stay in file order")
    return _raw(path, layout, frame, guesses)


def _collect(
    path: str, layout: Layout, roles: Mapping[str, str], options: Options, careful: bool
) -> tuple[pl.DataFrame, dict[str, str]]:
    """The columns user, item, micros and number (the rating), as far as they are needed, and the lines that are no row.

    Returns:
        A frame with these, `_bad` and `_missing`, and role -> what was found out about its column.
    """
    frame = scan(path, layout, roles, careful)
    schema = frame.collect_schema()
    typed = [as_id_column(path, role, roles[role], schema[role]) for role in ("user", "item")]
    unread = [pl.col(BAD)]
    details = {}
    if "timestamp" in roles:
        clock = guess_clock(path, roles["timestamp"], _sample(frame, "timestamp"))
        details["timestamp"] = f", in {clock.unit}"
        typed.append(clock.micros(pl.col("timestamp")).alias("micros"))
        unread.append(pl.col("micros").is_null() & pl.col("timestamp").is_not_null())
    if "rating" in roles and not _are_numbers(sample := _sample(frame, "rating")):
        if options.min_rating is not None:
            raise InputError(
                f"{path}: no numbers in column {roles['rating']!r} such as {sample[0]!r}; "
                "name the column of ratings with --rating"
            )
        details["rating"] = ", left out: it holds no numbers"
    elif "rating" in roles:
        typed.append(pl.col("rating").cast(pl.Float64, strict=False).alias("number"))
        unread.append(~pl.col("number").is_finite().fill_null(pl.col("rating").is_null()))
    needed = [{"rating": "number", "timestamp": "micros"}.get(role, role) for role in roles]
    if options.min_rating is None and "rating" in roles:
        needed.remove("number")
    # Each step names what the next one uses twice, so that nothing is parsed twice.
    plan = (
        frame.with_columns(typed)
        .with_columns(pl.any_horizontal(unread).alias(BAD), pl.any_horizontal(pl.col(needed).is_null()).alias(MISSING))
        .select(*needed, BAD, MISSING)
    )
    return plan.collect(engine="streaming"), details


def _sample(frame: pl.LazyFrame, role: str) -> pl.Series:
    return frame.select(role).drop_nulls().head(_SAMPLE_ROWS).collect(engine="streaming").to_series()


def _are_numbers(sample: pl.Series) -> bool:
    if sample.dtype == pl.String and len(sample):
        return sample.cast(pl.Float64, strict=False).count() > 0
    return sample.is_empty() or sample.dtype.is_numeric()


def _raw(path: str, layout: Layout, frame: pl.DataFrame, guesses: list[str]) -> Raw:
    bad, empty = frame[BAD], frame[MISSING] & ~frame[BAD]
    lines, n_bad, n_empty = len(frame), int(bad.sum()), int(empty.sum())
    if n_bad or n_empty:
        frame = frame.filter(~(bad | empty))
    steps = (
        Step("bad lines", lines, lines - n_bad, _NOTES["bad lines"] if n_bad else ""),
        Step("missing values", lines - n_bad, len(frame), _NOTES["missing values"] if n_empty else ""),
    )
    user, user_ids = encode(frame["user"])
    item, item_ids = encode(frame["item"])
    check_readable(path, "user", user_ids)
    check_readable(path, "item", item_ids)
    if layout.kind != "parquet":
        user_ids, item_ids = numbers_if_all(user_ids), numbers_if_all(item_ids)
    micros, rating = (frame[name].to_numpy() if name in frame.columns else None for name in ("micros", "number"))
    return Raw(path, user, item, micros, rating, user_ids, item_ids, steps, tuple(guesses))
