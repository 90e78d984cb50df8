from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext.data.clean import Options, Raw, clean, k_core, last_of_each_pair
from gnas_ext.errors import InputError

Row = tuple[int, int, int, float]  # user, item, second, rating
ROWS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 9), st.integers(0, 5)), max_size=60)


def raw(rows: list[Row], times: bool = True, ratings: bool = True) -> Raw:
    columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], [], []]
    return Raw(
        "f",
        np.array(columns[0], dtype=np.int32),
        np.array(columns[1], dtype=np.int32),
        np.array(columns[2], dtype=np.int64) * 1_000_000 if times else None,
        np.array(columns[3], dtype=np.float64) if ratings else None,
        pl.Series(range(100, 110)),
        pl.Series([f"i{at}" for at in range(10)]),
    )


def by_hand(rows: list[Row], min_rating: float, k: int, start: int, end: int) -> list[tuple[int, str, int]]:
    """The same cleaning in plain Python, without codes."""
    ordered = sorted((row for row in rows if start <= row[2] < end), key=lambda row: row[2])
    last = {(row[0], row[1]): at for at, row in enumerate(ordered)}
    kept = [row for at, row in enumerate(ordered) if last[row[0], row[1]] == at and row[3] >= min_rating]
    while True:
        users, items = Counter(row[0] for row in kept), Counter(row[1] for row in kept)
        core = [row for row in kept if users[row[0]] >= k and items[row[1]] >= k]
        if len(core) == len(kept):
            return [(row[0] + 100, f"i{row[1]}", row[2]) for row in kept]
        kept = core


@settings(deadline=None, max_examples=300)
@given(ROWS, st.integers(0, 4), st.integers(0, 3), st.integers(0, 4), st.integers(5, 10))
def test_cleaning_agrees_with_plain_python(rows: list[Row], min_rating: int, k: int, start: int, end: int) -> None:
    expected = by_hand(rows, min_rating, k, start, end)
    options = Options(min_rating, k, start * 1_000_000, end * 1_000_000)
    if len({user for user, _, _ in expected}) < 2 or len({item for _, item, _ in expected}) < 2:
        with pytest.raises(InputError):
            clean(raw(rows), options)
        return
    log = clean(raw(rows), options)
    part = log.interactions
    assert part.timestamp is not None
    users, items = log.user_ids.gather(part.user).to_list(), log.item_ids.gather(part.item).to_list()
    assert list(zip(users, items, part.timestamp.tolist(), strict=True)) == expected
    assert part.user.dtype == part.item.dtype == np.int32
    assert list(dict.fromkeys(part.user.tolist())) == list(range(len(log.user_ids)))
    assert list(dict.fromkeys(part.item.tolist())) == list(range(len(log.item_ids)))


@settings(deadline=None)
@given(ROWS, st.integers(0, 4), st.integers(2, 3))
def test_no_row_is_lost_without_being_counted(rows: list[Row], min_rating: int, k: int) -> None:
    try:
        log = clean(raw(rows), Options(min_rating, k, 2_000_000))
    except InputError:
        return
    assert log.steps[0].rows_before == len(rows)
    assert log.steps[-1].rows_after == len(log.interactions)
    for step, following in zip(log.steps, log.steps[1:], strict=False):
        assert step.rows_after == following.rows_before


def test_without_times_the_last_in_the_file_is_kept() -> None:
    log = clean(raw([(0, 0, 9, 1), (1, 1, 8, 1), (0, 0, 7, 1)], times=False), Options())
    assert log.user_ids.gather(log.interactions.user).to_list() == [101, 100]
    assert log.interactions.timestamp is None


def test_a_later_low_rating_takes_the_earlier_high_one_away() -> None:
    log = clean(raw([(0, 0, 1, 5), (0, 0, 2, 1), (1, 1, 3, 5), (2, 2, 4, 5)]), Options(min_rating=3))
    assert log.user_ids.to_list() == [101, 102]


def test_what_comes_after_the_range_takes_nothing_within_it_away() -> None:
    log = clean(raw([(0, 0, 1, 5), (1, 1, 2, 5), (0, 0, 9, 5)]), Options(end=5_000_000))
    assert log.user_ids.to_list() == [100, 101]


def test_only_asked_steps_are_listed() -> None:
    rows: list[Row] = [(0, 0, 1, 5), (1, 1, 2, 5)]
    assert [step.name for step in clean(raw(rows), Options(k_core=1)).steps] == ["duplicates"]
    asked = clean(raw(rows * 2 + [(0, 1, 3, 5), (1, 0, 3, 5)]), Options(1, 2, 0, 10**9))
    assert [step.name for step in asked.steps] == ["time range", "duplicates", "rating threshold", "2-core"]


@settings(deadline=None)
@given(ROWS)
def test_the_last_of_each_pair(rows: list[Row]) -> None:
    last = {(user, item): at for at, (user, item, _, _) in enumerate(rows)}
    mask = last_of_each_pair(raw(rows).user, raw(rows).item)
    assert np.flatnonzero(mask).tolist() == sorted(last.values())


def test_large_codes_make_no_pair_equal() -> None:
    user = np.array([0, 70_000, 70_000, 0], dtype=np.int32)
    item = np.array([2**31 - 2, 0, 2**31 - 2, 2**31 - 2], dtype=np.int32)
    assert last_of_each_pair(user, item).tolist() == [False, True, True, True]


def test_the_core_of_a_chain_is_empty_after_many_rounds() -> None:
    links = np.arange(50, dtype=np.int32)
    user, item = np.concatenate([links, links[1:]]), np.concatenate([links, links[:-1]])
    mask, rounds = k_core(user, item, 2)
    assert not mask.any()
    assert rounds > 10


def test_the_core_of_a_square_is_the_square() -> None:
    user, item = np.array([0, 0, 1, 1, 2], dtype=np.int32), np.array([0, 1, 0, 1, 1], dtype=np.int32)
    mask, _ = k_core(user, item, 2)
    assert mask.tolist() == [True, True, True, True, False]
