from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gnas_ext.data import Interactions
from gnas_ext.evaluate import evaluate
from gnas_ext.search.recommender import Objective, build, classic_space, recipes, recommender_space
from python_tests import logs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gnas_ext.data import Split
    from gnas_ext.models import Model
    from gnas_ext.search.genotype import Genotype
    from gnas_ext.train import Epoch


@pytest.fixture
def split() -> Split:
    return logs.split()


@pytest.fixture
def genotype(split: Split) -> Genotype:
    """A small graph model with a prior."""
    space = recommender_space(split.train)
    return space.genotype(recipes(space)[-1])


def classic(split: Split, **genes: Any) -> Genotype:
    return classic_space(split.train).genotype(genes)


def losses(objective: Objective, genotype: Genotype) -> list[float]:
    return [point[1] for point in objective(genotype).attributes["curve"]]


def test_a_trial_is_worth_what_the_shipped_model_scores_on_validation(split: Split, genotype: Genotype) -> None:
    def ndcg(model: Model) -> float:
        return evaluate(model, split.train, split.valid, (5,))["ndcg@5"]

    outcome = Objective(split, k=5, epochs=4, patience=2, seed=7)(genotype)
    model = build(genotype, split.train, validate=ndcg, epochs=4, patience=2, seed=7).model
    wanted = evaluate(model, split.train, split.valid, (5,))
    assert outcome.values == (wanted["ndcg@5"], model.size_bytes())
    assert outcome.attributes["metrics"] == wanted
    assert outcome.attributes["bytes"] == model.size_bytes()


def test_a_classic_is_worth_what_it_scores_on_validation(split: Split) -> None:
    genotype = classic(split, family="item_knn", neighbours=20, shrinkage=3)
    model = build(genotype, split.train).model
    outcome = Objective(split, k=5)(genotype)
    assert outcome.values == (evaluate(model, split.train, split.valid, (5,))["ndcg@5"], model.size_bytes())
    assert (outcome.attributes["curve"], outcome.attributes["best_epoch"]) == ([], 0)
    assert outcome.attributes["stopped"] is None


def test_the_best_pass_is_the_best_on_validation(split: Split, genotype: Genotype) -> None:
    attributes = Objective(split, epochs=6, patience=9)(genotype).attributes
    scores = [score for _, _, score in attributes["curve"]]
    assert [number for number, _, _ in attributes["curve"]] == [1, 2, 3, 4, 5, 6]
    assert attributes["best_epoch"] == 1 + int(np.argmax(scores))
    assert attributes["stopped"] == "epochs"


def test_patience_ends_a_trial(split: Split, genotype: Genotype) -> None:
    attributes = Objective(split, epochs=60, patience=1)(genotype).attributes
    assert attributes["stopped"] == "patience"
    assert len(attributes["curve"]) == attributes["best_epoch"] + 1


def test_seconds_end_a_trial(split: Split, genotype: Genotype) -> None:
    attributes = Objective(split, epochs=60, seconds=0.0)(genotype).attributes
    assert attributes["stopped"] == "seconds"
    assert len(attributes["curve"]) == 1


def test_nothing_of_validation_is_learned(split: Split, genotype: Genotype) -> None:
    """Other rows in validation, the same losses in every pass."""
    valid = split.valid
    other = replace(split, valid=Interactions(valid.user, ((valid.item + 5) % 20).astype(np.int32), valid.timestamp))
    one, two = (Objective(part, epochs=4, patience=9) for part in (split, other))
    assert losses(one, genotype) == losses(two, genotype)
    assert one(genotype).values[0] != two(genotype).values[0]  # type: ignore[index]


def test_the_test_part_is_not_looked_at(split: Split, genotype: Genotype) -> None:
    without = replace(split, test=split.test.select(np.arange(0)))
    one, two = (Objective(part, epochs=2)(genotype) for part in (split, without))
    assert (one.values, one.attributes) == (two.values, two.attributes)


def test_attributes_can_be_kept_as_json(split: Split, genotype: Genotype) -> None:
    attributes = Objective(split, epochs=2)(genotype).attributes
    assert json.loads(json.dumps(attributes)) == attributes


@pytest.mark.parametrize(
    ("goals", "directions"),
    [
        (["ndcg"], ("maximize",)),
        (["ndcg", "bytes"], ("maximize", "minimize")),
        (["ndcg", "bytes", "ms"], ("maximize", "minimize", "minimize")),
        (["ndcg", "ms"], ("maximize", "minimize")),
    ],
)
def test_there_is_a_value_a_goal(split: Split, goals: list[Any], directions: Sequence[str]) -> None:
    objective = Objective(split, goals)
    values = objective(classic(split, family="popularity")).values
    assert objective.directions == directions
    assert isinstance(values, tuple)
    assert len(values) == len(goals)
    if "ms" in goals:
        assert 0 < values[goals.index("ms")] < 1000


@pytest.mark.parametrize("goals", [[], ["bytes"], ["bytes", "ndcg"], ["ndcg", "joules"]])
def test_other_goals_are_refused(split: Split, goals: list[Any]) -> None:
    with pytest.raises(ValueError, match="expected goals 'ndcg', then 'bytes' or 'ms'"):
        Objective(split, goals)


def test_each_pass_is_told(split: Split, genotype: Genotype) -> None:
    told: list[Epoch] = []
    outcome = Objective(split, epochs=3, on_epoch=told.append)(genotype)
    assert [[epoch.number, epoch.loss, epoch.score] for epoch in told] == outcome.attributes["curve"]
