from __future__ import annotations

import pytest

from gnas_ext.search import Genotype, Stop, Trial
from gnas_ext.search.budget import Budget, expected_seconds


def trials(*seconds: float, failed: tuple[float, ...] = ()) -> list[Trial]:
    complete = [Trial(n, Genotype({"x": n}), "complete", (0.0,), seconds=s) for n, s in enumerate(seconds)]
    return complete + [Trial(n, Genotype({"y": n}), "failed", reason="r", seconds=s) for n, s in enumerate(failed)]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_evaluations_count_all_trials() -> None:
    budget = Budget(3, None, Clock())
    assert budget.spent(trials(1, failed=(1,))) is None
    assert budget.spent(trials(1, 1, failed=(1,))) is Stop.EVALUATIONS


def test_no_trial_is_started_that_would_end_after_the_deadline() -> None:
    clock = Clock()
    budget = Budget(None, 1.0, clock)
    done = trials(10, 10, 10)
    clock.now = 150
    assert budget.spent(done) is None
    clock.now = 150.1
    assert budget.spent(done) is Stop.MINUTES


def test_what_is_reserved_is_left() -> None:
    clock, reserved = Clock(), [0.0]
    budget = Budget(None, 1.0, clock, lambda: reserved[0])
    clock.now = 140
    assert budget.spent(trials(10)) is None
    reserved[0] = 10.5
    assert budget.spent(trials(10)) is Stop.MINUTES


def test_a_share_of_the_minutes_is_gone() -> None:
    clock = Clock()
    budget = Budget(None, 1.0, clock)
    assert budget.gone() == 0
    clock.now = 145
    assert budget.gone() == 0.75
    assert Budget(5, None, clock).gone() == 0


def test_the_first_trial_starts_whatever_it_may_take() -> None:
    assert Budget(None, 0.001, Clock()).spent([]) is None


def test_the_slower_ones_of_late_are_what_is_expected() -> None:
    assert expected_seconds(trials(*range(100))) == 97
    assert expected_seconds(trials(1, 5, 2)) == 5
    assert expected_seconds(trials(*[100.0] * 10, *[1.0] * 20)) == 1


def test_failed_trials_count_only_where_there_is_nothing_else() -> None:
    assert expected_seconds(trials(10, failed=(0.1,) * 30)) == 10
    assert expected_seconds(trials(failed=(0.1, 0.2))) == 0.2


@pytest.mark.parametrize(
    ("evaluations", "minutes", "message"),
    [(None, None, "expected a budget"), (0, None, "evaluations >= 1, got 0"), (None, 0.0, "minutes > 0, got 0")],
)
def test_a_budget_that_makes_no_sense_is_refused(evaluations: int | None, minutes: float | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Budget(evaluations, minutes, Clock())
