from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext.data.times import guess_clock, to_micros
from gnas_ext.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

MOMENT = datetime(2013, 2, 28, 14, 38, 27, tzinfo=UTC)
SECONDS = 1_362_062_307


def read(values: Sequence[Any], dtype: pl.DataType | None = None) -> list[int | None]:
    column = pl.Series("t", values, dtype=dtype)
    clock = guess_clock("f", "t", column.drop_nulls())
    return column.to_frame().select(clock.micros(pl.col("t"))).to_series().to_list()


@pytest.mark.parametrize("power", [0, 3, 6, 9])
@pytest.mark.parametrize("as_text", [False, True])
def test_the_unit_is_known_by_its_size(power: int, as_text: bool) -> None:
    value = SECONDS * 10**power
    assert read([str(value) if as_text else value]) == [SECONDS * 10**6]


@pytest.mark.parametrize(("power", "unit"), [(0, "seconds"), (3, "milliseconds"), (6, "microseconds"), (9, "nanos")])
def test_the_unit_is_said(power: int, unit: str) -> None:
    assert guess_clock("f", "t", pl.Series([SECONDS * 10**power])).unit.startswith(unit)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2013-02-28", datetime(2013, 2, 28, tzinfo=UTC)),
        ("2013/02/28", datetime(2013, 2, 28, tzinfo=UTC)),
        ("2013-02-28 14:38", MOMENT.replace(second=0)),
        ("2013-02-28 14:38:27", MOMENT),
        ("2013-02-28T14:38:27", MOMENT),
        ("2013-02-28T14:38:27Z", MOMENT),
        ("2013-02-28 14:38:27 UTC", MOMENT),
        ("2013-02-28T16:38:27+02:00", MOMENT),
        ("2013-02-28 16:38:27 +0200", MOMENT),
        ("2013-02-28T14:38:27.250Z", MOMENT.replace(microsecond=250_000)),
        ("20130228", datetime(2013, 2, 28, tzinfo=UTC)),
        ("1362062307.5", MOMENT.replace(microsecond=500_000)),
        ("1.362062307e9", MOMENT),
    ],
)
def test_text_is_read_as_a_moment(text: str, expected: datetime) -> None:
    assert read([text]) == [round(expected.timestamp() * 1e6)]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_datetimes_keep_their_moment(unit: Any) -> None:
    assert read([MOMENT.replace(tzinfo=None)], pl.Datetime(unit)) == [SECONDS * 10**6]


def test_a_zone_is_respected() -> None:
    there = MOMENT.astimezone(timezone(timedelta(hours=2))).replace(tzinfo=None)
    column = pl.Series("t", [there]).dt.replace_time_zone("Etc/GMT-2")
    clock = guess_clock("f", "t", column)
    assert column.to_frame().select(clock.micros(pl.col("t"))).item() == SECONDS * 10**6


def test_days_are_midnights() -> None:
    assert read([date(1970, 1, 2)]) == [86_400 * 10**6]


def test_seconds_with_a_fraction_keep_it() -> None:
    assert read([SECONDS + 0.5]) == [SECONDS * 10**6 + 500_000]


def test_forms_may_mix_and_the_rest_is_null() -> None:
    assert read(["1970-01-02", "1970-01-01 00:00:01", "soon", None]) == [86_400 * 10**6, 10**6, None, None]


def test_a_number_that_no_int64_holds_is_null() -> None:
    good = [str(SECONDS)] * 3
    assert read([*good, "99999999999999999999999", str(10**17)])[3:] == [None, None]


@settings(deadline=None)
@given(st.lists(st.integers(10**9, 10**11 - 1), min_size=1))
def test_whole_seconds_are_exact(values: list[int]) -> None:
    assert read([str(value) for value in values]) == [value * 10**6 for value in values]


@pytest.mark.parametrize("values", [["01 5, 2013"], ["yesterday"], ["28/02/2013"]])
def test_what_is_no_time_is_refused_with_an_example(values: list[str]) -> None:
    with pytest.raises(InputError, match=f"ratings.csv: no times in column 'when' such as '{values[0]}'; expected"):
        guess_clock("ratings.csv", "when", pl.Series(values))


def test_a_column_of_another_type_is_refused() -> None:
    with pytest.raises(InputError, match="column 'when' is of type Boolean"):
        guess_clock("f", "when", pl.Series([True]))


@pytest.mark.parametrize(
    "moment",
    [
        SECONDS,
        float(SECONDS),
        str(SECONDS),
        "2013-02-28T14:38:27",
        "2013-02-28T16:38:27+02:00",
        MOMENT,
        MOMENT.replace(tzinfo=None),
    ],
)
def test_a_caller_may_name_a_moment_in_many_ways(moment: str | float | date) -> None:
    assert to_micros(moment, "start") == SECONDS * 10**6


def test_a_caller_may_name_a_day() -> None:
    assert to_micros("1970-01-02", "start") == to_micros(date(1970, 1, 2), "start") == 86_400 * 10**6


def test_a_caller_cannot_name_nonsense() -> None:
    with pytest.raises(InputError, match="end: 'soon' is no time"):
        to_micros("soon", "end")
