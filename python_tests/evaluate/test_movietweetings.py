"""The figures that the embedded log is known for, counted once by a plain loop over users apart from this code."""

from __future__ import annotations

import pytest

from gnas_ext.data import Interactions, Split, movietweetings, n_items, n_users, temporal_split
from gnas_ext.evaluate import evaluate, judged_users
from gnas_ext.models import Popularity, fit_popularity, fit_recent_popularity


@pytest.fixture(scope="module")
def split() -> Split:
    return temporal_split(movietweetings(min_rating=6, k_core=5), valid=0.1, test=0.2)


@pytest.fixture(scope="module")
def train(split: Split) -> Interactions:
    return split.train_and_valid


def measured(model: Popularity, train: Interactions, split: Split) -> tuple[float, float]:
    metrics = evaluate(model, train, split.test)
    return round(metrics["ndcg@20"], 4), round(metrics["recall@20"], 4)


def test_2469_users_are_judged(train: Interactions, split: Split) -> None:
    assert len(judged_users(n_users(train), train, split.test)) == 2469


def test_popularity(train: Interactions, split: Split) -> None:
    assert measured(fit_popularity(train, n_users(train), n_items(train)), train, split) == (0.0916, 0.1722)


def test_popularity_of_the_last_quarter_of_training(train: Interactions, split: Split) -> None:
    model = fit_recent_popularity(train, n_users(train), n_items(train), share=0.25)
    assert measured(model, train, split) == (0.1251, 0.2417)
