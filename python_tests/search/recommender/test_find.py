from __future__ import annotations

import math
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from gnas_ext.data import Interactions, n_items, n_users
from gnas_ext.errors import InputError
from gnas_ext.evaluate import evaluate
from gnas_ext.models import fit_popularity
from gnas_ext.search import Stop, Trial
from gnas_ext.search.recommender import (
    Found,
    build,
    classic_space,
    find,
    lightgcn_recipes,
    recommender_space,
    retrain,
)
from gnas_ext.search.recommender.trainings import of_training
from python_tests import logs
from python_tests.search.recommender.conftest import same

if TYPE_CHECKING:
    from pathlib import Path

    from gnas_ext.data import Split
    from gnas_ext.train import Epoch


def searched(split: Split, **options: Any) -> Found:
    """A short search: seven trials of two passes, those of the recipes among them; no finals."""
    chosen: dict[str, Any] = {"evaluations": 7, "epochs": 2, "population": 4, "k": 5, "seeds": 1, "seed": 5}
    return find(split, **(chosen | options))


def identical(one: Found, two: Found) -> bool:
    """The same trials (but for their seconds), the same choice, the same model to the last bit."""
    assert one.study.trials == two.study.trials
    assert one.trial == two.trial
    return same(one.model, two.model)


def with_part(split: Split, part: str, rows: Interactions) -> Split:
    """The split with other rows for training, validation or test."""
    changed: dict[str, Any] = {part: rows}
    return replace(split, **changed)


@pytest.fixture(scope="module", params=["graph", "classic"])
def models(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="module")
def found(split: Split, models: str) -> Found:
    """A short search with seed 5, to compare others with."""
    return searched(split, models=models)


# From end to end.


def test_a_search_ends_in_a_model_of_training_and_validation(found: Found, split: Split) -> None:
    both = split.train_and_valid
    assert found.study.stopped is Stop.EVALUATIONS
    assert [trial.state for trial in found.study.trials] == ["complete"] * 7
    assert found.trial in found.study.trials
    assert (found.model.n_users, found.model.n_items) == (n_users(both), n_items(both))
    assert same(found.model, retrain(found.trial, both, seed=5).model)


def test_what_is_found_beats_popularity() -> None:
    split = logs.split(times=False)
    found = find(split, evaluations=6, population=4, seed=1)
    both = split.train_and_valid
    popular = fit_popularity(both, n_users(both), n_items(both))
    ours, theirs = (evaluate(model, both, split.test)["ndcg@20"] for model in (found.model, popular))
    assert ours > 1.1 * theirs


def test_a_search_of_graph_models_names_no_family_and_one_of_classics_does(
    found: Found, split: Split, models: str
) -> None:
    assert ["family" in trial.genotype for trial in found.study.trials] == [models == "classic"] * 7
    wanted = recommender_space(split.train) if models == "graph" else classic_space(split.train)
    assert found.study.space.names == wanted.names


def test_every_classic_family_is_tried(split: Split) -> None:
    families = {trial.genotype["family"] for trial in searched(split, models="classic").study.trials}
    assert families == set(classic_space(split.train).genes["family"].values)


def test_plain_lightgcn_is_tried_first(split: Split) -> None:
    trials = searched(split).study.trials
    wanted = lightgcn_recipes(recommender_space(split.train))
    assert [trial.genotype.as_dict() for trial in trials[:3]] == wanted


def test_trials_and_passes_are_told(split: Split) -> None:
    told: list[Trial] = []
    passes: list[Epoch] = []
    found = searched(split, on_trial=lambda study, trial: told.append(trial), on_epoch=passes.append)
    assert told == found.study.trials
    # The passes of each training, which trials may share, with a score, then those of the last training without.
    trained = {of_training(trial.genotype): len(trial.attributes["curve"]) for trial in told}
    assert len(passes) == sum(trained.values()) + len(found.fit.curve)
    assert [epoch.score is None for epoch in passes[-len(found.fit.curve) :]] == [True] * len(found.fit.curve)


# It repeats.


def test_the_same_seed_finds_the_same(found: Found, split: Split, models: str) -> None:
    assert identical(found, searched(split, models=models))


def test_a_worker_finds_the_same(found: Found, split: Split, models: str) -> None:
    assert identical(searched(split, models=models, workers=1), found)


@pytest.mark.slow
def test_a_worker_on_a_cluster_finds_the_same(found: Found, split: Split, models: str, ray_address: str) -> None:
    assert identical(searched(split, models=models, workers=1, ray=ray_address), found)


def test_another_seed_searches_elsewhere(found: Found, split: Split, models: str) -> None:
    other = searched(split, models=models, seed=6)
    assert [trial.genotype for trial in found.study.trials] != [trial.genotype for trial in other.study.trials]


def test_a_resumed_search_finds_what_one_in_a_piece_does(
    found: Found, split: Split, models: str, tmp_path: Path
) -> None:
    journal = tmp_path / "journal.log"
    searched(split, models=models, evaluations=3, journal=journal)
    resumed = searched(split, models=models, journal=journal, resume=True)
    assert identical(resumed, found)


def test_a_finished_search_is_resumed_without_a_trial(split: Split, models: str, tmp_path: Path) -> None:
    journal = tmp_path / "journal.log"
    first = searched(split, models=models, journal=journal)
    told: list[Trial] = []
    again = searched(
        split, models=models, journal=journal, resume=True, on_trial=lambda study, trial: told.append(trial)
    )
    assert identical(first, again)
    assert not told


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"k": 6}, "'k'"),
        ({"epochs": 3}, "'epochs'"),
        ({"goals": ("ndcg", "ms")}, "'goals'"),
        ({"context": {"data": "other"}}, "'data'"),
        ({"seed": 1}, "seed"),
        ({"models": "classic"}, "gene"),
    ],
)
def test_a_journal_of_another_search_is_not_resumed(tmp_path: Path, change: dict[str, Any], names: str) -> None:
    first: dict[str, Any] = {"evaluations": 1, "journal": tmp_path / "journal.log", "context": {"data": "this"}}
    searched(logs.split(), **first)
    with pytest.raises(InputError, match=names):
        searched(logs.split(), **(first | {"evaluations": 2, "resume": True} | change))


@pytest.mark.parametrize("part", ["train", "valid"])
def test_a_journal_of_other_rows_is_not_resumed(tmp_path: Path, part: str) -> None:
    split, journal = logs.split(), tmp_path / "journal.log"
    searched(split, models="classic", evaluations=1, journal=journal)
    rows: Interactions = getattr(split, part)
    other = with_part(split, part, replace(rows, item=rows.item[::-1].copy()))
    with pytest.raises(InputError, match="'rows'"):
        searched(other, models="classic", evaluations=2, journal=journal, resume=True)


# The test part.


def test_a_journal_is_resumed_whatever_the_test_part(found: Found, split: Split, models: str, tmp_path: Path) -> None:
    journal = tmp_path / "journal.log"
    searched(split, models=models, evaluations=3, journal=journal)
    other = with_part(split, "test", split.valid)
    assert identical(searched(other, models=models, journal=journal, resume=True), found)


@pytest.mark.parametrize("change", ["permuted", "replaced", "empty"])
def test_the_test_part_does_not_matter(found: Found, split: Split, models: str, change: str) -> None:
    rng, test = np.random.default_rng(0), split.test
    others = {
        "permuted": test.select(rng.permutation(len(test))),
        "replaced": Interactions(
            rng.integers(0, 90, 70).astype(np.int32),
            rng.integers(0, 90, 70).astype(np.int32),
            None if test.timestamp is None else rng.integers(0, 9**9, 70),
        ),
        "empty": test.select(np.arange(0)),
    }
    other = replace(split, test=others[change])
    assert identical(searched(other, models=models), found)


# The choice.


def test_the_chosen_model_is_trained_for_the_passes_that_were_best(split: Split) -> None:
    trial = searched(split, evaluations=1, epochs=5).trial
    again = Trial(0, trial.genotype, "complete", trial.values, attributes={"best_epoch": 3})
    fitted = retrain(again, split.train, seed=2)
    assert [epoch.score for epoch in fitted.curve] == [None] * 3
    assert same(fitted.model, build(trial.genotype, split.train, epochs=3, seed=2).model)


# What is refused.


@pytest.mark.parametrize(
    ("part", "message"),
    [("train", "the training part is empty: nothing to learn from"), ("valid", "the validation part is empty")],
)
def test_an_empty_part_is_refused(split: Split, part: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        searched(with_part(split, part, split.test.select(np.arange(0))))


def test_a_validation_of_strangers_is_told_as_the_reason(split: Split, models: str) -> None:
    strangers = replace(split.valid, user=(split.valid.user + 1000).astype(np.int32))
    with pytest.raises(InputError, match=r"no trial of 3 is complete.*nobody to evaluate"):
        searched(replace(split, valid=strangers), models=models, evaluations=3)


def test_a_search_without_budget_is_refused(split: Split) -> None:
    with pytest.raises(ValueError, match="expected a budget"):
        find(split)


def test_a_trial_may_take_a_sixth_of_the_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []

    def remembered(*arguments: Any, **options: Any) -> Any:
        given.append(options["seconds"])
        return build(*arguments, **options)

    monkeypatch.setattr("gnas_ext.search.recommender.objective.build", remembered)
    searched(logs.split(), evaluations=1, minutes=30.0)
    searched(logs.split(), evaluations=1)
    assert given == [300.0, math.inf]


def test_threads_do_not_change_what_is_found() -> None:
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(searched(logs.split()))
        assert identical(*found)
    finally:
        torch.set_num_threads(before)


def test_a_worker_may_take_a_third_of_the_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def stub(*_: Any, trial_seconds: float, **__: Any) -> None:
        asked.append(trial_seconds)
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["gnas_ext.search.recommender.find"], "evolve", stub)
    for more in ({"workers": 1}, {"workers": 1, "trial_seconds": 7.0}, {}):
        with pytest.raises(KeyboardInterrupt):
            searched(logs.split(), minutes=3, **more)
    assert asked == [60.0, 7.0, math.inf]
