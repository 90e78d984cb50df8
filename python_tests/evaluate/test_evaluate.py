from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gnas_ext.data.interactions import Interactions
from gnas_ext.errors import InputError
from gnas_ext.evaluate import evaluate, judged_users
from gnas_ext.evaluate.evaluate import evaluate_with_spread
from gnas_ext.models import FactorModel, Popularity, Table


def pairs(*rows: tuple[int, int]) -> Interactions:
    codes = np.array(rows, dtype=np.int32).reshape(-1, 2)
    return Interactions(codes[:, 0], codes[:, 1])


# Items in the order 0, 1, 2, 3 for everybody.
MODEL = Popularity(torch.tensor([4.0, 3.0, 2.0, 1.0]), n_users=4)
TRAIN = pairs((0, 0), (1, 1), (3, 2))


def test_judged_are_users_with_both_parts_that_the_model_knows() -> None:
    train, target = pairs((5, 0), (0, 0), (2, 0), (3, 0)), pairs((5, 1), (3, 1), (1, 1), (2, 1), (2, 2))
    users = judged_users(5, train, target)
    assert users.tolist() == [2, 3]
    assert users.dtype == np.int32


def test_users_without_training_are_not_judged() -> None:
    # User 2 would score 0.
    assert evaluate(MODEL, TRAIN, pairs((0, 1), (2, 3)), ks=[1])["recall@1"] == 1.0


def test_training_items_are_left_out_of_the_lists() -> None:
    # User 1 saw item 1: the list is 0, 2.
    assert evaluate(MODEL, TRAIN, pairs((1, 2)), ks=[2])["mrr@2"] == 0.5


def test_held_out_items_that_the_model_does_not_know_count_as_missed() -> None:
    measured = evaluate(MODEL, TRAIN, pairs((0, 1), (0, 17)), ks=[2])
    assert measured["recall@2"] == 0.5
    assert measured["ndcg@2"] == pytest.approx(1 / (1 + 1 / math.log2(3)))


def test_held_out_pairs_that_repeat_count_once() -> None:
    assert evaluate(MODEL, TRAIN, pairs((0, 1), (0, 1)), ks=[1])["recall@1"] == 1.0


def test_metrics_are_means_over_users() -> None:
    measured = evaluate(MODEL, TRAIN, pairs((0, 1), (1, 3), (3, 0)), ks=[1])
    assert measured["hit_rate@1"] == pytest.approx(2 / 3)


def test_names_every_metric_at_every_k() -> None:
    measured = evaluate(MODEL, TRAIN, pairs((0, 1)), ks=[1, 20])
    names = ["recall", "ndcg", "precision", "f1", "mrr", "map", "hit_rate", "coverage", "novelty", "gini"]
    assert list(measured) == [f"{name}@{k}" for k in (1, 20) for name in names]
    assert all(type(value) is float for value in measured.values())


def test_a_k_beyond_the_catalogue_counts_misses() -> None:
    assert evaluate(MODEL, TRAIN, pairs((0, 1)), ks=[20])["precision@20"] == 1 / 20


def test_catalogue_metrics_look_at_the_judged_users_lists() -> None:
    measured = evaluate(MODEL, TRAIN, pairs((0, 1), (1, 3)), ks=[1])
    # Lists: [1] and [0], each touched by one of three users in training.
    assert measured["coverage@1"] == 0.5
    assert measured["novelty@1"] == pytest.approx(math.log2(3))
    assert measured["gini@1"] == pytest.approx(2 / 3)


def test_the_block_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    train, target = (pairs(*rng.integers(0, 30, (200, 2)).tolist()) for _ in range(2))
    model = FactorModel(Table(torch.randn(30, 4)), Table(torch.randn(30, 4)))
    assert evaluate(model, train, target, block=3) == evaluate(model, train, target)


def test_nobody_to_judge_is_one_clear_line() -> None:
    line = "none of the 2 users with held-out interactions is among the 3 with training interactions"
    with pytest.raises(InputError, match=line):
        evaluate(MODEL, TRAIN, pairs((2, 1), (9, 1)))


def test_nothing_held_out_is_one_clear_line() -> None:
    with pytest.raises(InputError, match="no interactions are held out"):
        evaluate(MODEL, TRAIN, pairs())


@pytest.mark.parametrize("ks", [[], [0], [20, -1]])
def test_list_lengths_below_one_are_refused(ks: list[int]) -> None:
    with pytest.raises(ValueError, match="list lengths ks of at least 1"):
        evaluate(MODEL, TRAIN, pairs((0, 1)), ks=ks)


def test_spread_is_the_standard_error_of_the_mean_over_users() -> None:
    means, spread = evaluate_with_spread(MODEL, TRAIN, pairs((0, 1), (1, 3), (3, 0)), ks=[1])
    # Hits of 1, 0 and 1: a variance of 1/3, and three users.
    assert spread["hit_rate@1"] == pytest.approx(1 / 3)
    assert spread.keys() == means.keys() - {"coverage@1", "novelty@1", "gini@1"}


def test_one_user_has_no_spread() -> None:
    assert math.isnan(evaluate_with_spread(MODEL, TRAIN, pairs((0, 1)), ks=[1])[1]["ndcg@1"])
