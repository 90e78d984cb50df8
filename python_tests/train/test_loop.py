from __future__ import annotations

import math
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gnas_ext.train import TrainOptions, fit
from gnas_ext.train.loop import pruning_left
from gnas_ext.train.step import Step
from python_tests.train.conftest import equal, losses, make_net, scripted, trained

if TYPE_CHECKING:
    import torch

    from gnas_ext.data import Interactions
    from gnas_ext.models import FactorModel
    from gnas_ext.train import Epoch

# When it stops.


def test_it_stops_when_validation_gets_no_better(train: Interactions) -> None:
    result = trained(train, epochs=20, patience=3, validate=scripted(0.1, 0.3, 0.2, 0.3, 0.25, 0.9))
    assert (result.stopped, len(result.epochs), result.best_epoch) == ("patience", 5, 2)
    assert [epoch.score for epoch in result.epochs] == [0.1, 0.3, 0.2, 0.3, 0.25]


def test_the_model_is_that_of_the_best_pass(train: Interactions, recipe: dict[str, Any]) -> None:
    result = trained(train, **recipe, epochs=5, validate=scripted(0.1, 0.3, 0.2, 0.2, 0.2))
    assert equal(result.model, trained(train, **recipe, epochs=2).model)


PRUNED: dict[str, Any] = {"net": {"edges_kept": 0.3, "edge_scores": "learned"}}


def test_the_best_pass_is_one_in_which_the_edges_have_gone(train: Interactions) -> None:
    result = trained(train, **PRUNED, epochs=20, patience=2, validate=scripted(0.9, 0.8, 0.7, 0.2, 0.3, 0.1, 0.1))
    assert (result.stopped, len(result.epochs), result.best_epoch) == ("patience", 7, 5)
    # As many passes as were best give the same model, whatever the number of passes would have been at most.
    assert equal(result.model, trained(train, **PRUNED, epochs=5).model)


@pytest.mark.parametrize(
    ("epochs", "expected"), [(1, [0]), (2, [1, 0]), (3, [1, 0.5, 0]), (9, [1, 2 / 3, 1 / 3, 0, 0])]
)
def test_edges_go_in_the_first_passes(epochs: int, expected: list[float]) -> None:
    assert [pruning_left(number + 1, epochs) for number in range(len(expected))] == pytest.approx(expected)


def test_better_in_time_goes_on_to_the_last_pass(train: Interactions) -> None:
    result = trained(train, epochs=4, patience=2, validate=scripted(0.1, 0.0, 0.2, 0.1))
    assert (result.stopped, len(result.epochs), result.best_epoch) == ("epochs", 4, 3)


def test_without_validation_the_last_pass_is_kept(train: Interactions) -> None:
    result = trained(train, epochs=9, patience=1)
    assert (result.stopped, len(result.epochs), result.best_epoch) == ("epochs", 9, 9)
    assert all(epoch.score is None for epoch in result.epochs)


def test_validation_is_looked_at_and_nothing_more(train: Interactions, recipe: dict[str, Any]) -> None:
    """Scores decide which pass is kept, not what is learned."""
    seen = trained(train, **recipe, epochs=5, validate=scripted(0.5, 0.4, 0.3, 0.2, 0.6))
    unseen = trained(train, **recipe, epochs=5)
    assert losses(seen) == losses(unseen)
    assert equal(seen.model, unseen.model)


def test_validation_gets_the_model_as_it_would_be_served(train: Interactions) -> None:
    given: list[FactorModel] = []

    def validate(model: FactorModel) -> float:
        given.append(model)
        return float(len(given))

    result = trained(train, net={"edge_dropout": 0.5}, validate=validate)
    assert [equal(result.model, model) for model in given] == [False, False, True]


def test_scores_that_are_not_numbers_end_it_with_the_last_model(train: Interactions) -> None:
    result = trained(train, epochs=9, patience=2, validate=lambda model: math.nan)
    assert (result.stopped, len(result.epochs), result.best_epoch) == ("patience", 2, 2)
    assert equal(result.model, trained(train, epochs=2).model)


def test_out_of_time_it_finishes_the_step_at_hand(train: Interactions) -> None:
    result = trained(train, epochs=9, seconds=0.0)
    assert (result.stopped, len(result.epochs)) == ("seconds", 1)
    assert not equal(result.model, trained(train, epochs=1).model)  # a pass has several steps


def test_time_is_wall_time(train: Interactions, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count()
    monkeypatch.setattr("gnas_ext.train.loop.time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
    # One step a pass: the clock is looked at when it starts and at the end of each pass.
    result = trained(train, epochs=9, seconds=3.5, batch=len(train))
    assert (result.stopped, len(result.epochs)) == ("seconds", 4)
    assert [epoch.seconds for epoch in result.epochs] == [1.0, 2.0, 3.0, 4.0]


def test_a_pass_is_cut_between_two_steps(train: Interactions, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks, steps = count(), 0
    monkeypatch.setattr("gnas_ext.train.loop.time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
    step = Step.__call__

    def counted(self: Step, rows: torch.Tensor) -> float:
        nonlocal steps
        steps += 1
        return step(self, rows)

    monkeypatch.setattr(Step, "__call__", counted)
    # Eight steps a pass: the clock is looked at before each but the first, and at the end.
    result = trained(train, epochs=2, seconds=10.5)
    assert (result.stopped, len(result.epochs), steps) == ("seconds", 2, 8 + 3)


def test_the_last_pass_is_not_out_of_time(train: Interactions) -> None:
    assert trained(train, epochs=1, seconds=0.0, batch=len(train)).stopped == "epochs"


def test_each_pass_is_told(train: Interactions) -> None:
    told: list[Epoch] = []
    result = trained(train, on_epoch=told.append)
    assert tuple(told) == result.epochs
    assert [epoch.number for epoch in told] == [1, 2, 3]
    assert [epoch.seconds for epoch in told] == sorted(epoch.seconds for epoch in told)


def test_an_empty_log_is_refused(train: Interactions) -> None:
    with pytest.raises(ValueError, match="expected at least one touch"):
        fit(make_net(train), train.select(np.arange(0)), TrainOptions())
