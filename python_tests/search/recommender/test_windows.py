from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gnas_ext.data import split_log
from gnas_ext.data.interactions import Interactions, Split
from gnas_ext.search.recommender import Objective
from gnas_ext.search.recommender.windows import other_part
from python_tests import logs


def pairs(part: Interactions) -> list[tuple[int, int]]:
    return sorted(zip(part.user.tolist(), part.item.tolist(), strict=True))


def in_time(rows: int = 100, valid: int = 10) -> Split:
    """A row a second, in no order; two rows share the time at which the first part before validation begins."""
    split = logs.split()
    time = np.random.default_rng(0).permutation(rows).astype(np.int64)
    time[time == 81] = 80
    codes = np.arange(rows, dtype=np.int32)
    whole = Interactions(codes % 7, codes, time)
    late = time >= rows - valid
    return replace(split, train=whole.select(np.flatnonzero(~late)), valid=whole.select(np.flatnonzero(late)))


def test_in_time_the_parts_before_validation_follow_each_other() -> None:
    split = in_time()
    (first, judged), (second, before) = other_part(split, 1), other_part(split, 2)
    assert sorted(judged.timestamp) == [80, 80, *range(82, 90)]  # type: ignore[arg-type]
    assert sorted(first.timestamp) == list(range(80))  # type: ignore[arg-type]
    assert sorted(before.timestamp) == list(range(70, 80))  # type: ignore[arg-type]
    assert sorted(second.timestamp) == list(range(70))  # type: ignore[arg-type]
    assert set(pairs(judged)) <= set(pairs(split.train))


def test_in_time_twice_the_size_is_left_to_learn_from() -> None:
    split = in_time(45)
    assert len(split.train) == 35
    train, valid = other_part(split, 1)
    assert (len(train), len(valid)) == (25, 10)
    for number in (2, 5):
        again = other_part(split, number)
        assert (pairs(again[0]), pairs(again[1])) == (pairs(train), pairs(valid))
    small = in_time(25)
    assert other_part(small, 1) == (small.train, small.valid)


@pytest.mark.parametrize("timed", [False, True])
def test_elsewhere_a_part_as_large_is_drawn_from_both(timed: bool) -> None:
    split = split_log(logs.log(), "random", seed=3)
    whole = split.train_and_valid
    if not timed:
        split = replace(split, **{name: replace(getattr(split, name), timestamp=None) for name in ("train", "valid")})
    found = [other_part(split, number, seed=5) for number in (1, 2)]
    for train, valid in found:
        assert sorted(pairs(train) + pairs(valid)) == pairs(whole)
        assert len(valid) == pytest.approx(len(split.valid), rel=0.3)
        assert set(train.user) == set(whole.user)
    held_out = [set(pairs(valid)) for _, valid in found]
    assert held_out[0] != held_out[1]
    assert held_out[0] != set(pairs(split.valid))
    again = other_part(split, 1, seed=5)
    assert pairs(again[1]) == pairs(found[0][1])
    assert pairs(other_part(split, 1, seed=6)[1]) != pairs(found[0][1])


def test_an_objective_judges_by_the_part_that_it_is_given() -> None:
    split = logs.split()
    genotype = {"family": "popularity"}
    train, valid = other_part(split, 1, seed=4)
    there = Objective(replace(split, train=train, valid=valid), k=5)(genotype).values
    assert Objective(split, k=5, seed=4, window=1)(genotype).values == there
    assert Objective(split, k=5, seed=4)(genotype).values != there
