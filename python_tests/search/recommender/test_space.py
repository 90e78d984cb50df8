from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gnas_ext.search import Categorical, Float, LogFloat, SearchSpace
from gnas_ext.search.recommender import lightgcn_recipes, recipes, recommender_space
from gnas_ext.search.recommender.space import fit_recipe, span_days
from python_tests.logs import DAY, touches

if TYPE_CHECKING:
    from gnas_ext.data import Split

TIMED = {"prior_half_life_days", "edge_decay", "edge_half_life_days", "recent_draws", "draw_half_life_days"}


def test_genes_of_time_are_there_where_the_log_has_times() -> None:
    with_times, without = (set(recommender_space(touches(times=times)).names) for times in (True, False))
    assert with_times - without == TIMED
    assert without < with_times


def test_a_single_time_is_none() -> None:
    train = replace(touches(), timestamp=np.full(480, 10**9, np.int64))
    assert not TIMED & set(recommender_space(train).names)


def test_half_lives_reach_to_the_span_of_the_log() -> None:
    train = touches()
    assert train.timestamp is not None
    days = float(train.timestamp[-1] - train.timestamp[0]) / DAY
    space = recommender_space(train)
    for name in sorted(TIMED):
        gene = space.genes[name]
        if isinstance(gene, LogFloat):
            assert gene.values[-1] == pytest.approx(days, rel=0.01)
            assert gene.values[0] == pytest.approx(days / 256, rel=0.01)


def test_the_span_is_that_of_the_times_in_any_order() -> None:
    train = replace(touches(), timestamp=np.random.default_rng(0).permutation(480) * DAY)
    assert span_days(train) == 479


def test_a_log_without_touches_spans_nothing() -> None:
    assert span_days(touches().select(np.arange(0))) is None


def test_a_log_of_seconds_has_half_lives_too() -> None:
    train = replace(touches(), timestamp=np.arange(480) // 479)
    assert recommender_space(train).genes["edge_half_life_days"].values[0] == pytest.approx(1 / DAY / 256, rel=0.01)


def test_recipes_are_of_the_space_as_they_stand(split: Split) -> None:
    space = recommender_space(split.train)
    for recipe in recipes(space):
        assert space.genotype(recipe).as_dict() == recipe


def test_plain_lightgcn_is_that_of_its_paper_at_several_learning_rates(split: Split) -> None:
    found = lightgcn_recipes(recommender_space(split.train))
    assert len({recipe["lr"] for recipe in found}) == len(found) == 3
    for recipe in found:
        paper = {"dim": 64, "hops": 3, "combine": "mean", "loss": "bpr", "prior": False, "bits": 32, "free_users": True}
        assert paper.items() <= recipe.items()
        assert (recipe["user_exponent"], recipe["item_exponent"], recipe["edge_dropout"]) == (0.5, 0.5, 0.0)
        assert not recipe.get("edge_decay")
        assert not recipe.get("recent_draws")


def test_a_search_begins_with_plain_lightgcn(split: Split) -> None:
    space = recommender_space(split.train)
    assert recipes(space)[:3] == lightgcn_recipes(space)
    assert any(recipe["bits"] == 8 for recipe in recipes(space))


def test_a_recipe_is_put_in_terms_of_the_space() -> None:
    space = SearchSpace(
        {
            "a": Categorical(["x", "y"]),
            "b": LogFloat(1, 100, levels=3, when={"a": ["y"]}),
            "c": LogFloat(1, 100, levels=3, when={"a": ["x"]}),
            "d": Float(0, 1, levels=3),
            "e": Categorical([3, 4], when={"b": [10.0]}),
        }
    )
    assert fit_recipe(space, {"a": "y", "d": 0.5, "unknown": 1}) == {"a": "y", "b": 10.0, "d": 0.5, "e": 3}
    assert fit_recipe(space, {"b": 100.0}) == {"a": "x", "c": 10.0, "d": 0.0}
