from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gnas_ext.search import Genotype, Outcome, Trial
from gnas_ext.search.evaluation import run
from gnas_ext.search.proposer import Proposal

if TYPE_CHECKING:
    from collections.abc import Callable

    from gnas_ext.search import Direction


def trial_of(evaluate: Callable[[Genotype], Any], *directions: Direction) -> Trial:
    ticks = iter([10.0, 12.5])
    proposal = Proposal((1,), "crossover", (3, 4))
    return run(evaluate, 7, Genotype({"x": 1}), proposal, directions or ("maximize",), lambda: next(ticks))


@pytest.mark.parametrize(
    "returned", [0.5, np.float32(0.5), np.array(0.5), [0.5], (0.5,), Outcome(0.5), Outcome([0.5])], ids=repr
)
def test_a_number_may_come_in_many_forms(returned: object) -> None:
    trial = trial_of(lambda g: returned)
    assert (trial.state, trial.values, trial.reason) == ("complete", (0.5,), "")
    assert type(trial.values[0]) is float


def test_a_trial_carries_where_it_comes_from_how_long_it_took_and_what_was_said_besides() -> None:
    trial = trial_of(lambda g: Outcome((1, 2), {"bytes": 3}), "maximize", "minimize")
    assert (trial.number, trial.origin, trial.parents, trial.seconds) == (7, "crossover", (3, 4), 2.5)
    assert (trial.values, trial.attributes) == ((1.0, 2.0), {"bytes": 3})


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        (math.nan, "evaluate returned nan; expected finite numbers"),
        (-math.inf, "evaluate returned -inf; expected finite numbers"),
        ((0.5, 1.0), r"evaluate returned 2 values; expected 1 \(maximize\)"),
        ("0.5", "evaluate returned str where a number was expected"),
        (None, "evaluate returned NoneType where a number was expected"),
        (Outcome((0.5, math.nan), {"kept": 1}), "evaluate returned 2 values"),
    ],
)
def test_what_is_no_fitness_fails_the_trial(returned: object, reason: str) -> None:
    trial = trial_of(lambda g: returned)
    assert (trial.state, trial.values) == ("failed", ())
    assert re.search(reason, trial.reason)
    assert trial.attributes == (returned.attributes if isinstance(returned, Outcome) else {})


def test_an_exception_fails_the_trial_and_says_what_and_where_in_one_line() -> None:
    def evaluate(genotype: Genotype) -> float:
        raise RuntimeError("out of\n  memory " + "!" * 1000)

    trial = trial_of(evaluate)
    assert trial.state == "failed"
    assert trial.reason.startswith("RuntimeError: out of memory !!!")
    line = evaluate.__code__.co_firstlineno + 1
    assert trial.reason.endswith(f"… (test_evaluation.py:{line})")
    assert len(trial.reason) < 400
    assert "\n" not in trial.reason


def test_an_exception_without_words_still_has_a_reason() -> None:
    def evaluate(genotype: Genotype) -> float:
        raise MemoryError

    assert trial_of(evaluate).reason.startswith("MemoryError (test_evaluation.py:")


def test_ctrl_c_is_not_a_failed_trial() -> None:
    def evaluate(genotype: Genotype) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trial_of(evaluate)
