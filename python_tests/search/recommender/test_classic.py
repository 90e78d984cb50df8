from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
import torch

from gnas_ext.compress import quantize_model
from gnas_ext.models import (
    FactorModel,
    fit_decayed_popularity,
    fit_item_knn,
    fit_matrix_factorization,
    fit_popularity,
)
from gnas_ext.search import LogFloat
from gnas_ext.search.recommender import build_classic, classic_recipes, classic_space, recipes, recommender_space
from gnas_ext.search.recommender.classic import is_classic
from python_tests.logs import touches
from python_tests.search.recommender.conftest import same

if TYPE_CHECKING:
    from gnas_ext.data import Split

USERS, ITEMS = 40, 30
FACTORS = {"family": "matrix_factorization", "dim": 8, "unseen_weight": 0.1, "regularization": 1.0, "bits": 32}


def test_popularity_fades_only_where_the_log_has_times() -> None:
    with_times, without = (classic_space(touches(times=times)) for times in (True, False))
    assert list(without.genes["family"].values) == ["popularity", "item_knn", "matrix_factorization"]
    assert set(with_times.genes["family"].values) - set(without.genes["family"].values) == {"decayed_popularity"}
    assert set(with_times.names) - set(without.names) == {"half_life_days"}


def test_half_lives_are_those_of_the_graph_models() -> None:
    graph, classic = recommender_space(touches()), classic_space(touches())
    assert isinstance(classic.genes["half_life_days"], LogFloat)
    assert classic.genes["half_life_days"].values == graph.genes["prior_half_life_days"].values


def test_recipes_are_of_the_space_and_one_a_family(split: Split) -> None:
    space = classic_space(split.train)
    found = classic_recipes(space)
    assert [recipe["family"] for recipe in found] == list(space.genes["family"].values)
    for recipe in found:
        assert space.genotype(recipe).as_dict() == recipe


def test_every_genotype_can_be_built(split: Split) -> None:
    space = classic_space(split.train)
    rng = random.Random(0)
    for _ in range(25):
        model = build_classic(space.sample(rng), split.train)
        assert (model.n_users, model.n_items) == (split.train.user.max() + 1, split.train.item.max() + 1)


def test_popularity_is_that_of_the_models() -> None:
    assert same(build_classic({"family": "popularity"}, touches()), fit_popularity(touches(), USERS, ITEMS))


def test_decayed_popularity_is_that_of_the_models() -> None:
    got = build_classic({"family": "decayed_popularity", "half_life_days": 9.0}, touches())
    assert same(got, fit_decayed_popularity(touches(), USERS, ITEMS, half_life_days=9.0))


def test_item_knn_is_that_of_the_models() -> None:
    got = build_classic({"family": "item_knn", "neighbours": 7, "shrinkage": 3}, touches())
    assert same(got, fit_item_knn(touches(), USERS, ITEMS, neighbours=7, shrinkage=3))


@pytest.mark.parametrize("bits", [8, 32])
def test_factors_are_those_of_the_models_compressed(bits: int) -> None:
    got = build_classic(FACTORS | {"bits": bits}, touches(), seed=5)
    trained = fit_matrix_factorization(touches(), USERS, ITEMS, dim=8, unseen_weight=0.1, regularization=1.0, seed=5)
    assert same(got, quantize_model(trained, bits))
    assert isinstance(got, FactorModel)
    assert got.item.rows.dtype == (torch.int8 if bits == 8 else torch.float32)


def test_the_seed_is_that_of_the_factors() -> None:
    assert same(build_classic(FACTORS, touches(), seed=1), build_classic(FACTORS, touches(), seed=1))
    assert not same(build_classic(FACTORS, touches(), seed=1), build_classic(FACTORS, touches(), seed=2))


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a family of popularity, .*, got 'forest'"):
        build_classic({"family": "forest"}, touches())


@pytest.mark.parametrize("times", [True, False])
def test_classics_are_told_from_graph_models(times: bool) -> None:
    train = touches(times=times)
    classics: list[dict[str, Any]] = classic_recipes(classic_space(train))
    graphs = recipes(recommender_space(train))
    assert [is_classic(recipe) for recipe in classics + graphs] == [True] * len(classics) + [False] * len(graphs)
