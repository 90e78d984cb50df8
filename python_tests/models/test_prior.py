from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from gnas_ext.data.interactions import Interactions
from gnas_ext.models import prior as module
from gnas_ext.models.prior import time_prior
from python_tests.logs import DAY, touches

if TYPE_CHECKING:
    from gnas_ext.data.interactions import Seconds

ITEMS = 30


def times(train: Interactions) -> Seconds:
    assert train.timestamp is not None
    return train.timestamp


def faded(train: Interactions, until: int, now: int, days: float) -> list[float]:
    """Log popularity of each item at a time, from the touches before another, one by one."""
    counts = [0.0] * ITEMS
    for item, time in zip(train.item, times(train), strict=True):
        if time < until:
            counts[item] += 0.5 ** ((now - time) / DAY / days)
    return [math.log(count + 0.1) for count in counts]


@pytest.mark.parametrize("days", [0.5, 10.0, 1000.0, math.inf])
@pytest.mark.parametrize("moments", [1, 7, 128])
def test_each_moment_has_the_faded_counts_of_what_was_before(days: float, moments: int) -> None:
    train = touches()
    prior = time_prior(train, ITEMS, days, moments)
    for moment in range(len(prior.table)):
        begins = int(times(train)[prior.moment.numpy() == moment].min())
        np.testing.assert_allclose(prior.table[moment], faded(train, begins, begins, days), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("days", [0.5, 10.0, math.inf])
def test_now_has_the_faded_counts_of_all(days: float) -> None:
    train = touches()
    last = int(times(train).max())
    np.testing.assert_allclose(time_prior(train, ITEMS, days).now, faded(train, last + 1, last, days), rtol=1e-5)


def test_moments_divide_the_touches_evenly() -> None:
    train = touches()
    counts = np.bincount(time_prior(train, ITEMS, 10.0, moments=8).moment)
    assert len(counts) == 8
    assert counts.max() - counts.min() <= 2


def test_no_touch_counts_in_its_own_prior() -> None:
    """What is touched at a time or later may be anything: the priors of earlier touches do not change."""
    train = touches()
    middle = int(times(train)[200])
    later = times(train) >= middle
    other = replace(train, item=np.where(later, (train.item + 7) % ITEMS, train.item).astype(np.int32))
    one, two = (time_prior(part, ITEMS, 5.0) for part in (train, other))
    until = int(one.moment[200]) + 1
    assert torch.equal(one.table[:until], two.table[:until])
    assert not torch.equal(one.table[until:], two.table[until:])


def test_touches_in_any_order_have_the_same_priors() -> None:
    train = touches()
    order = np.random.default_rng(0).permutation(len(train))
    one, two = time_prior(train, ITEMS, 5.0), time_prior(train.select(order), ITEMS, 5.0)
    torch.testing.assert_close(one.table, two.table)
    assert torch.equal(one.moment[order], two.moment)


@pytest.mark.parametrize("stamps", [None, np.full(480, 7, np.int64)], ids=["no times", "one time"])
def test_without_times_popularity_is_that_of_the_whole_log(stamps: Seconds | None) -> None:
    train = replace(touches(), timestamp=stamps)
    prior = time_prior(train, ITEMS, 5.0)
    wanted = np.log(np.bincount(train.item, minlength=ITEMS) + 0.1)
    np.testing.assert_allclose(prior.table, wanted[None], rtol=1e-6)
    np.testing.assert_allclose(prior.now, wanted, rtol=1e-6)
    assert not prior.moment.any()


def test_many_items_have_fewer_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_CELLS", 4 * ITEMS)
    assert len(time_prior(touches(), ITEMS, 5.0).table) == 4


def test_one_touch_is_enough() -> None:
    one = Interactions(np.zeros(1, np.int32), np.zeros(1, np.int32), np.array([5], np.int64))
    prior = time_prior(one, 2, 5.0)
    np.testing.assert_allclose(prior.now, np.log([1.1, 0.1]), rtol=1e-6)
    assert prior.moment.tolist() == [0]
