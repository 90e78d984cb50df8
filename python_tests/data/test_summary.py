from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from gnas_ext.data import Interactions, Log, Split, Step, split_log, summary, summary_table


def log_with(steps: tuple[Step, ...], guesses: tuple[str, ...] = ()) -> Log:
    codes = np.arange(10, dtype=np.int32)
    time = np.arange(10, dtype=np.int64) * 86_400
    return Log(Interactions(codes, codes, time), pl.Series(range(10)), pl.Series(range(10)), steps, guesses)


def test_each_step_is_printed_with_its_counts() -> None:
    text = summary(
        log_with((Step("duplicates", 1_234_567, 1_234_000, "the last by time is kept"),), ("user: column 'u'",))
    )
    line = next(line for line in text.splitlines() if line.startswith("duplicates"))
    assert line.split()[:3] == ["duplicates", "567", "1,234,000"]
    assert text.startswith("user: column 'u'\n")
    assert text.endswith("10 interactions, 10 users, 10 items, 1970-01-01 to 1970-01-10")


def test_a_split_is_printed_with_its_parts() -> None:
    text = summary(split_log(log_with(())))
    assert [line.split()[:2] for line in text.splitlines()[-3:]] == [
        ["training:", "7,"],
        ["validation:", "1,"],
        ["test:", "2,"],
    ]
    assert "temporal: last 20% test" in text


def test_a_log_without_times_has_no_dates() -> None:
    codes = np.arange(2, dtype=np.int32)
    part, ids = Interactions(codes, codes), pl.Series([0, 1])
    split = Split(part, part, part, ids, ids, "given")
    assert summary(split).splitlines()[-1].split() == ["test:", "2"]


@pytest.mark.parametrize("second", [2**62, -(2**62)])
def test_a_year_beyond_the_calendar_is_printed_as_a_number(second: int) -> None:
    codes = np.zeros(1, dtype=np.int32)
    log = Log(Interactions(codes, codes, np.array([second])), pl.Series([0]), pl.Series([0]))
    assert f"time {second}" in summary(log)


WORDS = st.text(st.characters(codec="ascii", categories=["L", "N", "Zs", "P"]), max_size=200)


@settings(deadline=None)
@given(WORDS, WORDS, WORDS, st.integers(0, 10**9), st.integers(0, 10**9))
def test_no_line_is_wider_than_80_columns(name: str, note: str, guess: str, before: int, lost: int) -> None:
    text = summary(log_with((Step(name, before + lost, before, note),), (guess,)))
    assert max(map(len, text.splitlines())) <= 80


def test_the_table_has_a_row_a_step() -> None:
    table = summary_table(log_with((Step("duplicates", 10, 7, "n"), Step("5-core", 7, 5, ""))))
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table)
    text = console.export_text()
    assert table.row_count == 2
    assert "duplicates" in text
    assert max(map(len, text.splitlines())) <= 80
