from __future__ import annotations

import numpy as np
import pytest
import torch

from gnas_ext.data.interactions import Interactions
from gnas_ext.errors import InputError
from gnas_ext.models import decayed_counts, fit_decayed_popularity, fit_popularity, fit_recent_popularity

DAY = 86_400


def log(items: list[int], times: list[int] | None = None) -> Interactions:
    timestamp = None if times is None else np.array(times, dtype=np.int64)
    return Interactions(np.arange(len(items), dtype=np.int32), np.array(items, dtype=np.int32), timestamp)


def test_popularity_counts_interactions() -> None:
    assert fit_popularity(log([2, 0, 2]), 3, 4).weight.tolist() == [1, 0, 2, 0]


def test_an_item_code_outside_is_refused() -> None:
    with pytest.raises(ValueError, match="below n_items=2, got 2"):
        fit_popularity(log([2, 0]), 3, 2)


def test_scores_are_a_new_tensor() -> None:
    model = fit_popularity(log([2, 0, 2]), 3, 4)
    model.score(np.array([0, 1], dtype=np.int32)).fill_(-1)
    assert model.weight.tolist() == [1, 0, 2, 0]


def test_recent_popularity_looks_at_the_last_share_in_time() -> None:
    # Shuffled in the file; in time: 0 0 0 1 | 2 (the last fifth).
    model = fit_recent_popularity(log([2, 0, 1, 0, 0], [50, 10, 40, 20, 30]), 5, 3, share=0.2)
    assert torch.argsort(model.weight, descending=True).tolist() == [2, 0, 1]


def test_recent_popularity_breaks_ties_by_all_interactions() -> None:
    # The last two are 0 and 1, once each; 1 was touched before, 2 more often but never lately.
    model = fit_recent_popularity(log([2, 2, 2, 1, 0, 1], [1, 2, 3, 4, 5, 6]), 6, 4, share=1 / 3)
    assert model.weight.tolist() == [2, 3, 1, 0]


def test_recent_popularity_of_everything_is_popularity() -> None:
    items = np.random.default_rng(0).integers(0, 9, 200).tolist()
    recent = fit_recent_popularity(log(items, list(range(200))), 200, 9, share=1.0).weight
    overall = fit_popularity(log(items), 200, 9).weight
    assert torch.equal(recent[:, None] < recent, overall[:, None] < overall)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, float("nan")])
def test_a_share_outside_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share in"):
        fit_recent_popularity(log([0], [0]), 1, 1, share=share)


def test_decay_halves_with_each_half_life() -> None:
    counts = decayed_counts(log([0, 1, 2, 2], [0, 7 * DAY, 14 * DAY, 0]), 4, half_life_days=7)
    assert counts.tolist() == [0.25, 0.5, 1.25, 0.0]


def test_decay_with_an_endless_half_life_counts() -> None:
    assert fit_decayed_popularity(log([0, 1, 1], [0, 1, 2]), 3, 2, half_life_days=np.inf).weight.tolist() == [1, 2]


@pytest.mark.parametrize("half_life", [0.0, -1.0, float("nan")])
def test_a_half_life_that_is_not_positive_is_refused(half_life: float) -> None:
    with pytest.raises(ValueError, match="half_life_days above 0"):
        decayed_counts(log([0], [0]), 1, half_life)


def test_a_log_without_times_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match="recent popularity needs the times"):
        fit_recent_popularity(log([0]), 1, 1)
    with pytest.raises(InputError, match="half-life needs the times"):
        fit_decayed_popularity(log([0]), 1, 1, half_life_days=1)


def test_no_interactions_weigh_nothing() -> None:
    assert decayed_counts(log([], []), 2, 7).tolist() == [0, 0]
    assert fit_recent_popularity(log([], []), 0, 2).weight.tolist() == [0, 0]
