from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gnas_ext.search import Genotype, Outcome
from gnas_ext.search.evaluation import Result, run
from gnas_ext.search.executor import Job

if TYPE_CHECKING:
    from collections.abc import Callable

    from gnas_ext.search import Direction


def result_of(evaluate: Callable[[Genotype], Any], *directions: Direction) -> Result:
    ticks = iter([10.0, 12.5])
    return run(evaluate, Job(0, Genotype({"x": 1})), directions or ("maximize",), lambda: next(ticks))


@pytest.mark.parametrize(
    "returned", [0.5, np.float32(0.5), np.array(0.5), [0.5], (0.5,), Outcome(0.5), Outcome([0.5])], ids=repr
)
def test_a_number_may_come_in_many_forms(returned: object) -> None:
    result = result_of(lambda g: returned)
    assert (result.values, result.reason) == ((0.5,), "")
    assert type(result.values[0]) is float


def test_a_result_carries_how_long_it_took_and_what_was_said_besides() -> None:
    result = result_of(lambda g: Outcome((1, 2), {"bytes": 3}), "maximize", "minimize")
    assert (result.seconds, result.values, result.attributes) == (2.5, (1.0, 2.0), {"bytes": 3})


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
    result = result_of(lambda g: returned)
    assert result.values == ()
    assert re.search(reason, result.reason)
    assert result.attributes == (returned.attributes if isinstance(returned, Outcome) else {})


def test_an_exception_fails_the_trial_and_says_what_and_where_in_one_line() -> None:
    def evaluate(genotype: Genotype) -> float:
        raise RuntimeError("out of\n  memory " + "!" * 1000)

    result = result_of(evaluate)
    assert result.values == ()
    assert result.reason.startswith("RuntimeError: out of memory !!!")
    line = evaluate.__code__.co_firstlineno + 1
    assert result.reason.endswith(f"… (test_evaluation.py:{line})")
    assert len(result.reason) < 400
    assert "\n" not in result.reason


def test_an_exception_without_words_still_has_a_reason() -> None:
    def evaluate(genotype: Genotype) -> float:
        raise MemoryError

    assert result_of(evaluate).reason.startswith("MemoryError (test_evaluation.py:")


def test_ctrl_c_is_not_a_failed_trial() -> None:
    def evaluate(genotype: Genotype) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        result_of(evaluate)
