from __future__ import annotations

import gc
from typing import Any

import pytest
import torch

from gnas_ext.compress import solve_rows, teach
from gnas_ext.evaluate import evaluate
from gnas_ext.models import FactorModel, Mixture
from gnas_ext.search.recommender import build, embedding_recipes, embedding_space
from gnas_ext.search.recommender import taught as module
from gnas_ext.search.recommender.space import fit_recipe
from gnas_ext.search.recommender.taught import TEACHERS, taught
from gnas_ext.search.recommender.training_free import SLIM, build_training_free
from python_tests import logs
from python_tests.search.recommender.conftest import same

SPLIT = logs.split(times=False)
SPACE = embedding_space(SPLIT.train)


def genotype(**genes: Any) -> dict[str, Any]:
    recipe = fit_recipe(SPACE, dict(embedding_recipes(SPACE)[2]))
    return recipe | {"dim": 8, "epochs": 5, "bits": 32, "teacher": "none"} | genes


@pytest.mark.parametrize("name", TEACHERS)
def test_a_student_is_solved_for_the_lists_of_its_mixture(name: str) -> None:
    alone = build(genotype(), SPLIT.train, seed=3).model
    found = build(genotype(teacher=name, teacher_weight=0.5), SPLIT.train, seed=3).model
    assert isinstance(alone, FactorModel)
    assert isinstance(found, FactorModel)
    teacher = Mixture((alone, build_training_free(TEACHERS[name], SPLIT.train, 3)), (1.0, 0.5))
    wanted = solve_rows(alone, teach(teacher, SPLIT.train, seed=3), ridge=1.0, top=0.0)
    torch.testing.assert_close(found.user.rows, wanted.user.rows)
    torch.testing.assert_close(found.item.rows, wanted.item.rows)
    assert found.size_bytes() == alone.size_bytes()


def test_a_filter_that_is_better_makes_a_better_student() -> None:
    ndcg = {}
    for name in ("none", "gf_cf"):
        model = build(genotype(teacher=name, teacher_weight=2.0, dim=4), SPLIT.train, seed=1).model
        ndcg[name] = evaluate(model, SPLIT.train, SPLIT.valid, (5,))["ndcg@5"]
    assert ndcg["gf_cf"] > ndcg["none"]


def test_a_teacher_is_made_once_a_log_and_goes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def noted(*given: Any) -> Any:
        made.append(given[0]["family"])
        return build_training_free(*given)

    monkeypatch.setattr(module, "build_training_free", noted)
    log = logs.touches(times=False)
    first, second = (
        build(genotype(teacher="gf_cf", teacher_weight=weight), log, epochs=1).model for weight in (0.5, 1.0)
    )
    assert made == ["graph_filter"]
    assert not same(first, second)
    known = len(module._MADE)
    del log
    gc.collect()
    assert len(module._MADE) == known - 1


def test_genotypes_of_before_have_no_teacher() -> None:
    old = {name: value for name, value in genotype().items() if name != "teacher"}
    model = build(old, SPLIT.train, seed=3).model
    assert same(model, build(genotype(), SPLIT.train, seed=3).model)
    assert isinstance(model, FactorModel)
    assert taught(old, model, SPLIT.train) is model


def test_a_teacher_that_would_take_too_long_is_not_waited_for() -> None:
    log = logs.touches(times=False)
    with pytest.raises(TimeoutError, match="would take"):
        build(genotype(teacher="slim", teacher_weight=0.5), log, epochs=1, seconds=0.0)
    with pytest.raises(TimeoutError, match="would take"):
        build(SLIM, log, seconds=0.0)
