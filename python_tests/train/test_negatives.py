from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from gnas_ext import CSR
from gnas_ext.train.negatives import Sampler, Shared
from gnas_ext.train.options import TrainOptions

if TYPE_CHECKING:
    from torch import Tensor

USERS, ITEMS = 9, 20
# In no order and some twice, as logs are; the last user knows everything, the last but one nothing, item 19 is rare.
_RNG = np.random.default_rng(5)
_SOME = np.stack([_RNG.integers(0, USERS - 2, 90), (_RNG.random(90) ** 2 * (ITEMS - 1)).astype(np.int64)])
_ALL = np.stack([np.full(ITEMS, USERS - 1), np.arange(ITEMS)])
USER, ITEM = (torch.from_numpy(side.copy()) for side in _RNG.permutation(np.concatenate([_SOME, _ALL], 1), 1))
COUNTS = torch.from_numpy(np.bincount(ITEM.numpy(), minlength=ITEMS))
KNOWN = set(zip(USER.tolist(), ITEM.tolist(), strict=True))

SOURCES = ["uniform", "popularity", "mixed"]


def sampler(seed: int = 0, **options: Any) -> Sampler:
    graph = CSR.from_coo(USER.int(), ITEM.int(), torch.ones(len(USER)), (USERS, ITEMS))
    return Sampler(ITEM, graph, TrainOptions(**options), torch.Generator().manual_seed(seed))


def shares(source: str) -> Tensor:
    """How often each item is drawn, [items]."""
    even, popular = torch.full((ITEMS,), 1 / ITEMS, dtype=torch.float64), COUNTS.double() / len(ITEM)
    return {"uniform": even, "popularity": popular, "mixed": (even + popular) / 2}[source]


def assert_in_proportion(times: Tensor, share: Tensor) -> None:
    """Pearson's chi-square, far from its mean only if the shares are others: 6 standard deviations."""
    expected = share * times.sum()
    assert not times[expected == 0].any()
    there = expected > 0
    square = ((times - expected)[there].square() / expected[there]).sum()
    freedom = int(there.sum()) - 1
    assert square < freedom + 6 * math.sqrt(2 * freedom)


def pairs(shared: Shared) -> list[tuple[int, int]]:
    return list(zip(shared.row.tolist(), shared.column.tolist(), strict=True))


# One's own.


def own(users: Tensor, touched: Tensor | None = None, seed: int = 0, **options: Any) -> Tensor:
    return sampler(seed, **options).own(users, torch.zeros_like(users) if touched is None else touched)


@pytest.mark.parametrize("source", [*SOURCES, "batch"])
def test_nobody_gets_an_item_that_they_know(source: str) -> None:
    users = torch.arange(USERS - 1).repeat(200)
    drawn = own(users, users * 7 % ITEMS, negatives_from=source, avoid_known=True)
    assert drawn.dtype == torch.int64
    assert drawn.shape == users.shape
    assert not KNOWN & set(zip(users.tolist(), drawn.tolist(), strict=True))


@pytest.mark.parametrize("source", SOURCES)
def test_who_knows_everything_still_gets_an_item(source: str) -> None:
    drawn = own(torch.full((1000,), USERS - 1), negatives_from=source, avoid_known=True)
    assert set(drawn.tolist()) == set(range(ITEMS))


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("avoid_known", [False, True])
def test_own_items_come_as_often_as_the_source_says(source: str, avoid_known: bool) -> None:
    """Seen by one who knows nothing, so that nothing is left out."""
    drawn = own(torch.full((20_000,), USERS - 2), negatives_from=source, avoid_known=avoid_known)
    assert_in_proportion(torch.bincount(drawn, minlength=ITEMS), shares(source))


@pytest.mark.parametrize("source", SOURCES)
def test_known_items_leave_their_share_to_the_others(source: str) -> None:
    """In proportion: to popularity, where that is asked for at all."""
    user = 2
    drawn = own(torch.full((20_000,), user), negatives_from=source, avoid_known=True)
    unknown = torch.tensor([(user, item) not in KNOWN for item in range(ITEMS)])
    first = shares(source)
    instead = shares("uniform" if source == "uniform" else "popularity") * unknown
    share = first * unknown + first[~unknown].sum() * instead / instead.sum()
    assert_in_proportion(torch.bincount(drawn, minlength=ITEMS), share)


@pytest.mark.parametrize("avoid_known", [False, True])
def test_what_the_batch_touched_comes_as_often_as_there(avoid_known: bool) -> None:
    touched = torch.tensor([3, 3, 3, 19]).repeat(5000)
    drawn = own(torch.full((20_000,), USERS - 2), touched, negatives_from="batch", avoid_known=avoid_known)
    share = torch.zeros(ITEMS, dtype=torch.float64)
    share[3], share[19] = 0.75, 0.25
    assert_in_proportion(torch.bincount(drawn, minlength=ITEMS), share)


@pytest.mark.parametrize("source", [*SOURCES, "batch"])
@pytest.mark.parametrize("avoid_known", [False, True])
def test_one_touch_alone_draws_too(source: str, avoid_known: bool) -> None:
    assert own(torch.tensor([1]), negatives_from=source, avoid_known=avoid_known).shape == (1,)


@pytest.mark.parametrize("avoid_known", [False, True])
def test_each_step_draws_anew_and_a_seed_repeats_it(avoid_known: bool) -> None:
    users = torch.arange(USERS - 1).repeat(3)
    touched = torch.zeros_like(users)
    one, two = (sampler(seed=7, avoid_known=avoid_known) for _ in range(2))
    first, second = one.own(users, touched), one.own(users, touched)
    assert not torch.equal(first, second)
    assert torch.equal(two.own(users, touched), first)
    assert torch.equal(two.own(users, touched), second)


# Shared.


@pytest.mark.parametrize("source", [*SOURCES, "batch"])
@pytest.mark.parametrize("avoid_known", [False, True])
def test_pairs_that_do_not_count_are_those_that_brute_force_finds(source: str, avoid_known: bool) -> None:
    """Items are drawn twice, and users come twice."""
    rows = torch.arange(40) % 31
    users, touched = USER[rows], ITEM[rows]
    shared = sampler(loss="softmax", negatives_from=source, avoid_known=avoid_known, negatives=ITEMS).shared(
        users, touched
    )
    expected = [
        (row, column)
        for row, (user, own) in enumerate(zip(users.tolist(), touched.tolist(), strict=True))
        for column, item in enumerate(shared.items.tolist())
        if item == own or (avoid_known and (user, item) in KNOWN)
    ]
    assert len(set(shared.items.tolist())) < len(shared.items)
    assert sorted(pairs(shared)) == expected
    assert shared.row.tolist() == sorted(shared.row.tolist())


def test_none_is_apart_where_nothing_known_was_drawn() -> None:
    one = sampler(loss="softmax", negatives=1)
    drawn = one.shared(torch.tensor([0]), torch.tensor([0]))
    while drawn.items[0] == 0:
        drawn = one.shared(torch.tensor([0]), torch.tensor([0]))
    assert pairs(drawn) == []


def test_a_batch_is_compared_with_what_it_touched() -> None:
    users, touched = USER[:15], ITEM[:15]
    assert sampler(loss="softmax", negatives_from="batch", negatives=3).shared(users, touched).items.equal(touched)


@pytest.mark.parametrize("source", SOURCES)
def test_as_many_are_drawn_as_asked_for_but_no_more_than_there_are(source: str) -> None:
    for count in (1, 7, ITEMS, 500):
        shared = sampler(loss="softmax", negatives_from=source, negatives=count).shared(USER[:3], ITEM[:3])
        assert len(shared.items) == min(count, ITEMS)


@pytest.mark.parametrize("source", SOURCES)
def test_shared_items_come_as_often_as_the_source_says(source: str) -> None:
    one = sampler(loss="softmax", negatives_from=source, negatives=ITEMS)
    drawn = torch.cat([one.shared(USER[:2], ITEM[:2]).items for _ in range(1000)])
    assert_in_proportion(torch.bincount(drawn, minlength=ITEMS), shares(source))


def test_half_of_the_mixed_are_uniform_and_half_popular() -> None:
    one = sampler(loss="softmax", negatives_from="mixed", negatives=10)
    drawn = torch.stack([one.shared(USER[:2], ITEM[:2]).items for _ in range(2000)])
    for half, source in ((drawn[:, :5], "uniform"), (drawn[:, 5:], "popularity")):
        assert_in_proportion(torch.bincount(half.flatten(), minlength=ITEMS), shares(source))


# How many items each stands for.


@pytest.mark.parametrize(("source", "count"), [("uniform", 6), ("popularity", 6), ("mixed", 6), ("batch", 6)])
def test_the_bias_is_minus_the_logarithm_of_draws_times_share(source: str, count: int) -> None:
    shared = sampler(loss="softmax", negatives_from=source, negatives=count).shared(USER[:6], ITEM[:6])
    assert shared.bias is not None
    share = shares("popularity" if source == "batch" else source)[shared.items]
    torch.testing.assert_close(shared.bias.expand(1, 6), -(6 * share).log().float()[None])


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("count", [1, 7])
@pytest.mark.parametrize("avoid_known", [False, True])
def test_what_counts_estimates_the_sum_over_all_others(source: str, count: int, avoid_known: bool) -> None:
    """An odd number of mixed draws too, which cannot be halved."""
    value = torch.linspace(0.5, 2.0, ITEMS, dtype=torch.float64)
    one = sampler(loss="softmax", negatives_from=source, negatives=count, avoid_known=avoid_known)
    # Not of the user who knows everything.
    row = int((USER < USERS - 2).nonzero()[0])
    user, touched = USER[row : row + 1], ITEM[row : row + 1]
    assert COUNTS.min() > 0
    known = {item for who, item in KNOWN if who == int(user)} if avoid_known else {int(touched)}
    wanted = sum(float(value[item]) for item in range(ITEMS) if item not in known)
    estimates = torch.zeros(800, dtype=torch.float64)
    for index in range(len(estimates)):
        shared = one.shared(user, touched)
        assert shared.bias is not None
        terms = value[shared.items] * shared.bias[0].double().exp()
        terms[shared.column] = 0
        estimates[index] = terms.sum()
    error = float(estimates.std()) / math.sqrt(len(estimates))
    assert abs(float(estimates.mean()) - wanted) < 5 * error


def test_the_others_of_a_batch_estimate_the_sum_over_all_items() -> None:
    value = torch.linspace(0.5, 2.0, ITEMS, dtype=torch.float64)
    one = sampler(loss="softmax", negatives_from="batch")
    generator = torch.Generator().manual_seed(3)
    estimates = []
    for _ in range(1500):
        touched = ITEM[torch.randperm(len(ITEM), generator=generator)[:10]]
        shared = one.shared(torch.zeros(10, dtype=torch.int64), touched)
        assert shared.bias is not None
        estimates.append(float((value[shared.items] * shared.bias[0].double().exp()).sum()))
    assert np.mean(estimates) == pytest.approx(float(value.sum()), abs=5 * float(np.std(estimates)) / math.sqrt(1500))


def test_uncorrected_scores_stay_as_they_are() -> None:
    for source in (*SOURCES, "batch"):
        assert sampler(loss="softmax", negatives_from=source, corrected=False).shared(USER[:3], ITEM[:3]).bias is None
