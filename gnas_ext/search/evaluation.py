"""Runs the objective on one genotype: whatever it does, a result comes of it."""

from __future__ import annotations

import math
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsFloat, TypeAlias

from gnas_ext.search.trial import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gnas_ext.search.executor import Job
    from gnas_ext.search.study import Direction

    # Takes a Genotype and, if `evolve` is told of fidelities, one of these.
    Evaluate: TypeAlias = Callable[..., float | Sequence[float] | Outcome]

REASON_LENGTH = 300
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Result:
    """What came of an evaluation.

    Attributes:
        seconds: how long it took, and what it was spared.
        values: one finite number an objective; empty if it failed.
        reason: why it failed, in one line; empty if it did not.
        attributes: what it said besides.
    """

    seconds: float
    values: tuple[float, ...] = ()
    reason: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)


def run(evaluate: Evaluate, job: Job, directions: Sequence[Direction], clock: Callable[[], float]) -> Result:
    """The result of a job, failed or not. Only what is no Exception (Ctrl-C) gets out."""
    start = clock()
    outcome: Outcome | None = None
    values: tuple[float, ...] = ()
    try:
        returned = evaluate(job.genotype) if job.fidelity is None else evaluate(job.genotype, job.fidelity)
        outcome = returned if isinstance(returned, Outcome) else Outcome(returned)
        values = _checked(outcome.values, directions)
        reason = ""
    except Exception as error:
        reason = _one_line(error)
    seconds = clock() - start
    if outcome is None:
        return Result(seconds, values, reason)
    return Result(seconds + outcome.spared, values, reason, outcome.attributes)


def _checked(returned: object, directions: Sequence[Direction]) -> tuple[float, ...]:
    values = returned if isinstance(returned, (tuple, list)) else (returned,)
    for value in values:
        if not isinstance(value, SupportsFloat):
            raise TypeError(f"evaluate returned {type(value).__name__} where a number was expected")
    numbers = tuple(float(value) for value in values)
    if len(numbers) != len(directions):
        raise ValueError(
            f"evaluate returned {len(numbers)} values; expected {len(directions)} ({', '.join(directions)})"
        )
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"evaluate returned {', '.join(map(str, numbers))}; expected finite numbers")
    return numbers


def _one_line(error: Exception) -> str:
    """What went wrong and where, in one line: the place is what one looks for first in a list of failures."""
    message = " ".join(str(error).split())
    what = f"{type(error).__name__}: {message}" if message else type(error).__name__
    if len(what) > REASON_LENGTH:
        what = what[: REASON_LENGTH - 1] + "…"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).parent != HERE]
    return f"{what} ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else what
