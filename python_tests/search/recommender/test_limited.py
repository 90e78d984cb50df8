from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

import pytest

from gnas_ext.compress import Adapted, Limits, Recipe
from gnas_ext.compress.adapt import Tried
from gnas_ext.compress.steps import Bits
from gnas_ext.evaluate import evaluate
from gnas_ext.search import Genotype, Study, Trial
from gnas_ext.search.recommender import Limited, build, classic_space, find
from gnas_ext.search.recommender.bounds import Bounds
from gnas_ext.search.recommender.finals import qualified
from python_tests import logs
from python_tests.search.recommender.conftest import same

if TYPE_CHECKING:
    from gnas_ext.search.recommender import Found

SPLIT = logs.split(times=True)
BEST = Trial(7, Genotype({"a": 1}), "complete", (0.5,))
TRIED = Tried(Recipe((Bits(8),)), cast("Any", None), 0.4, 9, 0.1, True)
# Nine trials of two passes, no finals.
SEARCH: dict[str, Any] = {"evaluations": 9, "epochs": 2, "population": 4, "k": 5, "seeds": 1, "seed": 5}


def study_of(*results: tuple[float, int, float]) -> Study:
    """Trials with an NDCG, bytes and milliseconds."""
    trials = [
        Trial(number, Genotype({"a": number}), "complete", (ndcg, size), attributes={"bytes": size, "ms": ms})
        for number, (ndcg, size, ms) in enumerate(results)
    ]
    return Study(classic_space(logs.touches()), ("maximize", "minimize"), trials)


@pytest.mark.parametrize(
    ("limits", "wanted"),
    [
        (None, [0, 1]),
        (Limits(), [0, 1]),
        (Limits(bytes=100), [2, 1]),  # within half a percent of the best that keeps to them, the smallest
        (Limits(latency_ms=0.1), [2, 3]),
        (Limits(bytes=10, latency_ms=0.1), [3]),
        (Limits(bytes=4), [3]),  # out of reach of all: the nearest
        (Limits(bytes=4, latency_ms=0.005), [3]),
    ],
)
def test_those_that_keep_to_the_limits_qualify(limits: Limits | None, wanted: list[int]) -> None:
    bounds = None if limits is None or not limits.given else Bounds(limits)
    study = study_of((0.3, 900, 0.5), (0.2, 90, 0.3), (0.1995, 50, 0.1), (0.1, 5, 0.01))
    assert [one.number for one in qualified(study, 2, bounds)] == wanted


@pytest.fixture(scope="module")
def free() -> Found:
    """Without limits."""
    return find(SPLIT, **SEARCH)


def sizes(found: Found) -> list[int]:
    return sorted(trial.attributes["bytes"] for trial in found.study.complete)


def test_limits_that_the_best_keeps_to_change_nothing(free: Found) -> None:
    found = find(SPLIT, limits=Limits(bytes=10 * sizes(free)[-1]), **SEARCH)
    assert found.limited is not None
    assert found.limited.lines() == [f"{found.limited.limits}: kept"]
    assert found.trial == free.trial
    assert same(found.model, free.model)
    assert free.limited is None


def test_what_is_found_keeps_to_a_limit_and_is_made_again_from_its_genotype(free: Found) -> None:
    best = max(free.study.complete, key=lambda trial: trial.values[0])
    limits = Limits(bytes=int(best.attributes["bytes"] * 0.9))
    found = find(SPLIT, limits=limits, **SEARCH)
    assert found.study.trials == free.study.trials
    assert found.limited is not None
    assert found.limited.kept
    assert found.model.size_bytes() <= limits.bytes
    passes = max(1, found.trial.attributes["best_epoch"])
    again = build(found.genotype, SPLIT.train_and_valid, epochs=passes, seed=SEARCH["seed"])
    assert same(again.model, found.model)


def test_what_grows_with_the_touches_must_be_smaller_than_tables() -> None:
    bounds = Bounds(Limits(bytes=1000), rows=0.99, touches=0.9)
    tables, history = (
        Trial(0, Genotype(genes), "complete", (0.1,), attributes={"bytes": 950})
        for genes in ({"classic.codes": "none"}, {"neighbours": 5})
    )
    assert bounds.beyond(tables) < 1 < bounds.beyond(history)
    found = Bounds.of(Limits(bytes=1000), SPLIT)
    assert found is not None
    assert 0.8 < found.touches < found.rows <= 1


@pytest.mark.parametrize("models", ["graph", "all"])
def test_below_the_smallest_trial_a_recipe_makes_the_best_smaller(models: str) -> None:
    options = SEARCH | {"models": models}
    free = find(SPLIT, **options)
    tables = [trial.attributes["bytes"] for trial in free.study.complete if "codes" in str(trial.genotype)]
    limits = Limits(bytes=int(min([*tables, sizes(free)[0]]) * 0.95))
    found = find(SPLIT, limits=limits, **options)
    assert found.limited is not None
    assert found.limited.adapted is not None
    assert found.limited.kept
    assert found.model.size_bytes() <= limits.bytes
    assert isinstance(found.genotype["recipe"], str)
    assert found.limited.lines()[1].startswith(f"trial {found.trial.number} made smaller: ")
    # What was measured is what the genotype builds from the same rows.
    passes = max(1, found.trial.attributes["best_epoch"])
    again = build(found.genotype, SPLIT.train, epochs=passes, seed=SEARCH["seed"]).model
    (taken,) = [one for one in found.limited.adapted.tried if str(one.recipe) == found.genotype["recipe"]]
    assert evaluate(again, SPLIT.train, SPLIT.valid, (5,))["ndcg@5"] == taken.ndcg


def test_what_no_model_keeps_to_is_said_and_the_nearest_is_found() -> None:
    found = find(SPLIT, limits=Limits(bytes=3), **SEARCH)
    assert found.limited is not None
    assert not found.limited.kept
    assert found.limited.lines()[0] == "at most 3 B: out of reach, this is the nearest"
    assert found.limited.lines()[1].startswith(f"trial {found.trial.number} made smaller: out of reach of 1 recipes")
    assert str(found.genotype["recipe"]).startswith("columns keep=1 > ")  # the smallest there is
    assert found.model.size_bytes() <= sizes(found)[0]


def test_every_limit_is_kept_that_the_smallest_recipe_keeps_to(free: Found) -> None:
    smallest = find(SPLIT, limits=Limits(bytes=3), **SEARCH).model.size_bytes()
    found = find(SPLIT, limits=Limits(bytes=smallest), **SEARCH)
    assert smallest < sizes(free)[0]
    assert found.limited is not None
    assert found.limited.kept


def test_an_interrupted_search_is_not_kept_waiting() -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    found = find(SPLIT, limits=Limits(bytes=700), on_recipe=interrupt, **SEARCH)
    assert found.limited is not None
    assert found.limited.adapted is None
    assert not found.limited.kept


@pytest.mark.parametrize(
    ("limited", "told"),
    [
        (Limited(Limits(10), BEST, True, size_bytes=9), ["at most 10 B: kept"]),
        (
            Limited(Limits(10), BEST, True, size_bytes=11),
            ["at most 10 B: kept by training alone; with validation the model takes 11 B"],
        ),
        (
            Limited(Limits(10), BEST, True, Adapted(None, (), 0.5), size_bytes=9),
            ["at most 10 B: kept", "trial 7 made smaller is not within them"],
        ),
        (
            Limited(Limits(10), BEST, True, Adapted(TRIED, (TRIED,), 0.5), size_bytes=9),
            ["at most 10 B: kept", "trial 7 made smaller is no better than what was chosen"],
        ),
        (
            Limited(Limits(10), BEST, True, Adapted(TRIED, (TRIED,), 0.5), TRIED.recipe, 9),
            [
                "at most 10 B: kept",
                "trial 7 made smaller: 9 B and 0.100 ms a user at NDCG@20 0.4000 on validation, -20.00% of 0.5000",
            ],
        ),
    ],
)
def test_what_is_told_is_what_was_done(limited: Limited, told: list[str]) -> None:
    assert limited.lines() == told


def test_a_limit_of_milliseconds_has_every_trial_timed() -> None:
    found = find(SPLIT, limits=Limits(latency_ms=1000.0), **SEARCH)
    assert all(trial.attributes["ms"] > 0 for trial in found.study.complete)
    assert found.limited is not None
    assert found.limited.kept


def test_a_best_that_would_take_too_long_to_build_again_is_let_go(free: Found, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_long(*given: Any, **options: Any) -> Any:
        raise TimeoutError("fit_slim: this would take 900 s")

    monkeypatch.setattr(sys.modules["gnas_ext.search.recommender.limited"], "build", too_long)
    smallest = min(trial.values[1] for trial in free.study.complete)
    found = find(SPLIT, limits=Limits(bytes=int(smallest) - 1), **SEARCH)
    assert found.limited is not None
    assert found.limited.recipe is None
    assert not found.limited.fits
