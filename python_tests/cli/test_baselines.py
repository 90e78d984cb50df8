"""Is the rival given its chance?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnas_ext.cli import baselines
from gnas_ext.search import Study
from gnas_ext.search.recommender import Objective, classic_space, lightgcn_recipes, recommender_space
from python_tests import logs

if TYPE_CHECKING:
    import pytest

SPLIT = logs.split(times=False)
NONE = Study(classic_space(SPLIT.train), ("maximize", "minimize"), [])


def test_lightgcn_has_the_best_of_its_learning_rates_where_a_search_tried_none() -> None:
    space = recommender_space(SPLIT.train)
    objective = Objective(SPLIT, epochs=3, seed=2)
    wanted = {recipe["lr"]: objective(space.genotype(recipe)).values[0] for recipe in lightgcn_recipes(space)}  # type: ignore[index]
    assert len(set(wanted.values())) == 3
    found = baselines.best_plain_lightgcn(SPLIT, NONE, 2, 3)
    assert found.values[0] == wanted[found.genotype["lr"]] == max(wanted.values())


def test_a_long_training_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "_SECONDS", 0.0)
    found = baselines.best_plain_lightgcn(SPLIT, NONE, 2, 1)
    assert found.genotype.as_dict() == lightgcn_recipes(recommender_space(SPLIT.train))[0]
