from __future__ import annotations

import math

import pytest

from gnas_ext.search import Stop
from gnas_ext.search.budget import Budget


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_evaluations_count_all_trials() -> None:
    budget = Budget(3, None, Clock())
    assert budget.spent(2) is None
    assert budget.spent(3) is Stop.EVALUATIONS
    assert budget.left() == math.inf
    assert Budget(None, 1.0, Clock()).spent(1_000) is None


def test_what_is_reserved_is_left() -> None:
    clock, reserved = Clock(), [0.0]
    budget = Budget(None, 1.0, clock, lambda: reserved[0])
    clock.now = 140
    assert budget.left() == 20
    reserved[0] = 10.5
    assert budget.left() == 9.5


def test_a_share_of_the_minutes_is_left() -> None:
    clock = Clock()
    budget = Budget(None, 1.0, clock)
    assert budget.left_of(0.5) == 30
    clock.now = 145
    assert budget.left_of(0.5) == -15
    assert budget.left_of(1.0) == 15
    assert Budget(5, None, clock).left_of(0.0) == math.inf


@pytest.mark.parametrize(
    ("evaluations", "minutes", "message"),
    [(None, None, "expected a budget"), (0, None, "evaluations >= 1, got 0"), (None, 0.0, "minutes > 0, got 0")],
)
def test_a_budget_that_makes_no_sense_is_refused(evaluations: int | None, minutes: float | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Budget(evaluations, minutes, Clock())
