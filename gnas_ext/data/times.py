"""When was that: Unix times in any unit, ISO dates and Parquet datetimes, all brought to microseconds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import polars as pl

from gnas_ext.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

MICROS = 1_000_000  # in a second
_INT64_MAX = 2**63 - 1

# The median decides: 1e11 seconds are the year 5138, 1e11 milliseconds are 1973.
_UNITS: tuple[tuple[float, str, float], ...] = (
    (1e11, "seconds", 1e6),
    (1e14, "milliseconds", 1e3),
    (1e17, "microseconds", 1.0),
    (float("inf"), "nanoseconds", 1e-3),
)
_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M%#z")
_EXPECTED = "expected Unix time (s, ms, us or ns) or ISO dates such as 2013-02-28 or 2013-02-28T14:38:27Z"


@dataclass(frozen=True)
class Clock:
    """How a column is read.

    Attributes:
        unit: in words, such as "milliseconds".
        micros: from the column to microseconds since 1970, Int64; null where there is no time.
    """

    unit: str
    micros: Callable[[pl.Expr], pl.Expr]


def guess_clock(path: str, column: str, sample: pl.Series) -> Clock:
    """How to read a column of times, judged by some of its values that are not null.

    Raises:
        InputError: it holds no times.
    """
    if isinstance(sample.dtype, pl.Datetime | pl.Date):
        return Clock("dates", lambda time: time.dt.epoch("us"))
    if sample.dtype == pl.String:
        return _guess_text(path, column, sample)
    if sample.dtype.is_numeric():
        return _guess_number(sample.cast(pl.Float64), whole=sample.dtype.is_integer())
    raise InputError(f"{path}: column {column!r} is of type {sample.dtype}; {_EXPECTED}, or --timestamp none")


def to_micros(moment: str | float | date, what: str) -> int:
    """A moment that a caller names: Unix seconds, an ISO date or date and time (UTC unless it says otherwise).

    Raises:
        InputError: it is no moment.
    """
    if isinstance(moment, str):
        try:
            moment = float(moment) if moment.replace(".", "", 1).isdigit() else datetime.fromisoformat(moment)
        except ValueError:
            raise InputError(f"{what}: {moment!r} is no time; expected Unix seconds or 2013-02-28[T14:38:27]") from None
    if isinstance(moment, date):
        if not isinstance(moment, datetime):
            moment = datetime(moment.year, moment.month, moment.day)
        since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
        return (since.days * 86_400 + since.seconds) * MICROS + since.microseconds
    return round(moment * MICROS)


def _guess_text(path: str, column: str, sample: pl.Series) -> Clock:
    numbers = sample.cast(pl.Float64, strict=False).drop_nulls()
    if len(numbers) * 2 >= len(sample) > 0:
        return _guess_number(numbers, whole=True)
    fitting = [form for form in _FORMATS if sample.to_frame("t").select(_parse(pl.col("t"), form)).to_series().count()]
    if not fitting:
        shown = f" such as {sample[0]!r}" if len(sample) else ""
        raise InputError(f"{path}: no times in column {column!r}{shown}; {_EXPECTED}, or --timestamp none")
    return Clock("ISO dates", lambda time: pl.coalesce([_parse(time, form) for form in fitting]))


def _parse(text: pl.Expr, form: str) -> pl.Expr:
    plain = text.str.replace(r"(\d)[Tt](\d)", "$1 $2").str.replace_all("/", "-", literal=True)
    plain = plain.str.replace(r" ?(Z|z|UTC|GMT)$", "")
    return plain.str.to_datetime(form, strict=False, time_unit="us").dt.epoch("us")


def _guess_number(sample: pl.Series, whole: bool) -> Clock:
    if _are_calendar_days(sample):
        return Clock("days (YYYYMMDD)", lambda time: _calendar_day(time).dt.epoch("us"))
    median = sample.abs().median()
    size = median if isinstance(median, float) else 0.0
    unit, factor = next((unit, factor) for limit, unit, factor in _UNITS if size < limit)
    return Clock(unit, lambda time: _scaled(time, factor, whole))


def _are_calendar_days(sample: pl.Series) -> bool:
    if not len(sample) or not sample.is_between(19000101, 21001231).all():
        return False
    return not sample.to_frame("t").select(_calendar_day(pl.col("t")).is_null().any()).item()


def _calendar_day(number: pl.Expr) -> pl.Expr:
    whole = number.cast(pl.Float64, strict=False).cast(pl.Int64, strict=False).cast(pl.String)
    return whole.str.to_datetime("%Y%m%d", strict=False, time_unit="us")


def _scaled(number: pl.Expr, factor: float, whole: bool) -> pl.Expr:
    """Whole numbers exactly, fractions as well as float64 holds them; null for what no Int64 can hold."""
    rounded = (number.cast(pl.Float64, strict=False) * factor).floor().cast(pl.Int64, strict=False)
    if not whole:
        return rounded
    exact = number.cast(pl.Int64, strict=False)
    if factor < 1:
        exact = exact // round(1 / factor)
    else:
        exact = pl.when(exact.abs() <= _INT64_MAX // int(factor)).then(exact * int(factor))
    return exact.fill_null(rounded)
