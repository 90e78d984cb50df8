from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext.data import (
    Interactions,
    Log,
    Split,
    leave_last_out,
    n_items,
    n_users,
    random_split,
    split_log,
    temporal_split,
)
from gnas_ext.data.split import draw, recode
from gnas_ext.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Pair = tuple[int, int]
Triple = tuple[int, int, int]


def make_log(rows: list[Triple], times: bool = True) -> Log:
    """A log of (user id, item id, second), whose ids are strings and whose codes follow first appearance."""
    users, items = (list(dict.fromkeys(row[side] for row in rows)) for side in (0, 1))
    return Log(
        Interactions(
            np.array([users.index(row[0]) for row in rows], dtype=np.int32),
            np.array([items.index(row[1]) for row in rows], dtype=np.int32),
            np.array([row[2] for row in rows], dtype=np.int64) if times else None,
        ),
        pl.Series([f"u{user}" for user in users], dtype=pl.String),
        pl.Series([f"i{item}" for item in items], dtype=pl.String),
    )


def rows_of(part: Interactions, split: Log | Split) -> list[tuple[str, str, int]]:
    times = part.timestamp if part.timestamp is not None else np.zeros(len(part), dtype=np.int64)
    users, items = split.user_ids.gather(part.user).to_list(), split.item_ids.gather(part.item).to_list()
    return list(zip(users, items, times.tolist(), strict=True))


PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), min_size=8, max_size=40, unique=True)


@st.composite
def logs(draw: st.DrawFn) -> Log:
    """Logs in order of time, each pair once, with some equal times."""
    pairs = draw(PAIRS)
    seconds = draw(st.lists(st.integers(0, 40), min_size=len(pairs), max_size=len(pairs)))
    return make_log([(user, item, time) for (user, item), time in zip(pairs, sorted(seconds), strict=True)])


def attempt(method: Callable[[Log], Split], log: Log) -> Split | None:
    """The split, or None where the log is too small for it."""
    try:
        return method(log)
    except InputError:
        return None


METHODS: dict[str, Callable[[Log], Split]] = {
    "temporal": temporal_split,
    "leave-last-out": leave_last_out,
    "random": random_split,
}


@pytest.mark.parametrize("method", METHODS)
@settings(deadline=None, max_examples=60)
@given(log=logs())
def test_parts_are_disjoint_and_cover_the_log(method: str, log: Log) -> None:
    if (split := attempt(METHODS[method], log)) is None:
        return
    parts = [rows_of(part, split) for part in (split.train, split.valid, split.test)]
    assert sorted(row for part in parts for row in part) == sorted(rows_of(log.interactions, log))
    assert len({row[:2] for part in parts for row in part}) == sum(map(len, parts))


@pytest.mark.parametrize("method", METHODS)
@settings(deadline=None, max_examples=60)
@given(log=logs())
def test_codes_follow_first_appearance_in_training_then_validation_then_test(method: str, log: Log) -> None:
    if (split := attempt(METHODS[method], log)) is None:
        return
    everything = Interactions.concatenate([split.train, split.valid, split.test])
    for codes, ids in ((everything.user, split.user_ids), (everything.item, split.item_ids)):
        assert list(dict.fromkeys(codes.tolist())) == list(range(len(ids)))
    assert sorted(set(split.train.user.tolist())) == list(range(n_users(split.train)))
    assert sorted(set(split.train.item.tolist())) == list(range(n_items(split.train)))


@settings(deadline=None, max_examples=100)
@given(log=logs())
def test_training_is_before_validation_is_before_test(log: Log) -> None:
    if (split := attempt(temporal_split, log)) is None:
        return
    train, valid, test = map(times_of, (split.train, split.valid, split.test))
    assert train.max() < valid.min()
    assert valid.max() < test.min()


def tampered(log: Log, held_out: NDArray[np.bool_], how: str, seed: int) -> Log:
    """The log with its held-out rows removed, permuted, or replaced by rows with users and items never seen."""
    rng = np.random.default_rng(seed)
    part = log.interactions
    if how == "removed":
        return replace(log, interactions=part.select(~held_out))
    user, item = part.user.copy(), part.item.copy()
    if how == "permuted":
        user[held_out], item[held_out] = rng.permutation(user[held_out]), rng.permutation(item[held_out])
        return replace(log, interactions=Interactions(user, item, part.timestamp))
    n = int(held_out.sum())
    user[held_out] = len(log.user_ids) + rng.integers(0, 3, n)
    item[held_out] = len(log.item_ids) + rng.integers(0, 3, n)
    users, items = (pl.concat([ids, pl.Series(["new1", "new2", "new3"])]) for ids in (log.user_ids, log.item_ids))
    return replace(log, interactions=Interactions(user, item, part.timestamp), user_ids=users, item_ids=items)


@pytest.mark.parametrize("how", ["removed", "permuted", "replaced"])
@settings(deadline=None, max_examples=60)
@given(log=logs(), seed=st.integers(0, 99))
def test_nothing_held_out_reaches_training(how: str, log: Log, seed: int) -> None:
    if (split := attempt(temporal_split, log)) is None:
        return
    held_out = times_of(log.interactions) >= times_of(split.valid).min()
    other = tampered(log, held_out, how, seed)
    # Times and counts are as before, and so is the cut; where the rows are gone, all that is left is training.
    again = temporal_split(other, valid=0, test=0) if how == "removed" else temporal_split(other)
    assert np.array_equal(again.train.user, split.train.user)
    assert np.array_equal(again.train.item, split.train.item)
    assert np.array_equal(times_of(again.train), times_of(split.train))
    users, items = n_users(split.train), n_items(split.train)
    assert again.user_ids[:users].to_list() == split.user_ids[:users].to_list()
    assert again.item_ids[:items].to_list() == split.item_ids[:items].to_list()


CODES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20)


@settings(deadline=None)
@given(train=CODES, held_out=CODES, other=CODES)
def test_codes_of_training_ignore_the_other_parts(train: list[Pair], held_out: list[Pair], other: list[Pair]) -> None:
    (part, *_), users, items = recode([coded(train), coded(held_out)])
    (same, *_), same_users, same_items = recode([coded(train), coded(other)])
    assert np.array_equal(part.user, same.user)
    assert np.array_equal(part.item, same.item)
    assert np.array_equal(users[: n_users(part)], same_users[: n_users(part)])
    assert np.array_equal(items[: n_items(part)], same_items[: n_items(part)])


def coded(pairs: list[Pair]) -> Interactions:
    user, item = np.array(pairs, dtype=np.int32).reshape(-1, 2).T
    return Interactions(user, item)


def times_of(part: Interactions) -> NDArray[np.int64]:
    assert part.timestamp is not None
    return part.timestamp


@pytest.mark.parametrize("rows", [10, 12, 20, 100])
@pytest.mark.parametrize("share", [0.1, 0.2, 0.3, 5 / 12, 0.7])
def test_a_share_is_rounded_up_to_whole_rows(rows: int, share: float) -> None:
    split = temporal_split(make_log([(0, at, at) for at in range(rows)]), valid=0, test=share)
    assert len(split.test) == math.ceil(Fraction(share).limit_denominator(1000) * rows)


def test_a_fifth_by_count_is_test_and_a_tenth_before_it_validation() -> None:
    split = temporal_split(make_log([(at % 7, at, at) for at in range(100)]))
    assert [len(part) for part in (split.train, split.valid, split.test)] == [70, 10, 20]
    assert split.method == "temporal: last 20% test, 10% before it validation"


def test_equal_times_do_not_straddle_a_cut() -> None:
    split = temporal_split(make_log([(at % 7, at, at // 15) for at in range(100)]))
    assert [len(part) for part in (split.train, split.valid, split.test)] == [60, 15, 25]


def test_rows_need_not_be_sorted() -> None:
    rows = [(at % 7, at, (at * 37) % 100) for at in range(100)]
    split = temporal_split(make_log(rows))
    assert sorted(time for _, _, time in rows_of(split.test, split)) == list(range(80, 100))


def test_all_of_one_time_cannot_be_cut() -> None:
    with pytest.raises(InputError, match="no training rows: 10 interactions with 1 different times"):
        temporal_split(make_log([(at % 2, at, 5) for at in range(10)]))


def test_without_times_there_is_no_temporal_split() -> None:
    with pytest.raises(InputError, match="the log has no times; name their column with --timestamp"):
        temporal_split(make_log([(0, 0, 0), (1, 1, 1)], times=False))


@settings(deadline=None, max_examples=100)
@given(log=logs(), times=st.booleans())
def test_leave_last_out_takes_the_last(log: Log, times: bool) -> None:
    if not times:
        log = replace(log, interactions=replace(log.interactions, timestamp=None))
    if (split := attempt(leave_last_out, log)) is None:
        return
    mine: dict[str, list[str]] = {}
    for user, item, _ in rows_of(log.interactions, log):
        mine.setdefault(user, []).append(item)
    test = {user: item for user, item, _ in rows_of(split.test, split)}
    valid = {user: item for user, item, _ in rows_of(split.valid, split)}
    assert test == {user: items[-1] for user, items in mine.items() if len(items) >= 2}
    assert valid == {user: items[-2] for user, items in mine.items() if len(items) >= 3}


def test_leave_last_out_needs_a_user_with_two() -> None:
    with pytest.raises(InputError, match="no user has two interactions"):
        leave_last_out(make_log([(0, 0, 0), (1, 1, 1)]))


@settings(deadline=None, max_examples=50)
@given(log=logs(), seed=st.integers(0, 1000))
def test_a_seed_repeats(log: Log, seed: int) -> None:
    split, again = (attempt(lambda log: random_split(log, seed=seed), log) for _ in range(2))
    if split is None or again is None:
        assert split is again
        return
    for part, same in zip((split.train, split.valid, split.test), (again.train, again.valid, again.test), strict=True):
        assert np.array_equal(part.user, same.user)
        assert np.array_equal(part.item, same.item)


def test_seeds_differ() -> None:
    log = make_log([(at % 5, at, at) for at in range(100)])
    assert rows_of(random_split(log, seed=1).test, log) != rows_of(random_split(log, seed=2).test, log)


@settings(deadline=None, max_examples=100)
@given(log=logs(), seed=st.integers(0, 1000))
def test_a_random_split_leaves_each_user_something(log: Log, seed: int) -> None:
    drawn = draw(log.interactions.user, (0.4, 0.5), np.random.default_rng(seed))
    for user in range(len(log.user_ids)):
        mine = drawn[log.interactions.user == user]
        assert (mine == 0).any()
        assert abs((mine == 1).sum() - 0.4 * len(mine)) <= 1


def test_small_shares_of_few_rows_are_right_on_average() -> None:
    user = np.repeat(np.arange(20_000), 5)
    drawn = draw(user, (0.2, 0.1), np.random.default_rng(0))
    assert (drawn == 1).sum() == 20_000
    assert (drawn == 2).mean() == pytest.approx(0.1, abs=0.003)


def test_each_row_of_a_user_is_as_likely() -> None:
    drawn = draw(np.repeat(np.arange(20_000), 5), (0.2,), np.random.default_rng(0)).reshape(-1, 5)
    assert drawn.mean(axis=0) == pytest.approx([0.2] * 5, abs=0.01)


@pytest.mark.parametrize(("times", "method"), [(True, "temporal"), (False, "random")])
def test_time_decides_the_default(times: bool, method: str) -> None:
    assert split_log(make_log([(at % 3, at, at) for at in range(50)], times)).method.startswith(method)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_can_be_named(method: str) -> None:
    assert split_log(make_log([(at % 3, at, at) for at in range(50)]), method).method.startswith(method)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(InputError, match="expected one of temporal, leave-last-out, random, got 'lottery'"):
        split_log(make_log([(0, 0, 0)]), "lottery")


@pytest.mark.parametrize(("valid", "test"), [(0.5, 0.5), (-0.1, 0.2), (0.1, 1.0), (float("nan"), 0.1)])
@pytest.mark.parametrize("method", ["temporal", "random"])
def test_impossible_shares_are_refused(method: str, valid: float, test: float) -> None:
    with pytest.raises(InputError, match="expected shares from 0 that leave some for training"):
        split_log(make_log([(0, 0, 0), (1, 1, 1)]), method, valid=valid, test=test)


def test_what_is_known_about_the_log_goes_along() -> None:
    log = make_log([(at % 3, at, at) for at in range(50)])
    log = replace(log, guesses=("g",), items=pl.DataFrame({"item": ["i1"]}))
    split = split_log(log)
    assert (split.guesses, split.items) == (log.guesses, log.items)
