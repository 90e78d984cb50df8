"""Runs the objective on one genotype: whatever it does, a trial comes of it."""

from __future__ import annotations

import math
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, SupportsFloat, TypeAlias

from gnas_ext.search.trial import Outcome, Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gnas_ext.search.genotype import Genotype
    from gnas_ext.search.proposer import Proposal
    from gnas_ext.search.study import Direction

    Evaluate: TypeAlias = Callable[[Genotype], float | Sequence[float] | Outcome]

REASON_LENGTH = 300
HERE = Path(__file__).parent


def run(
    evaluate: Evaluate,
    number: int,
    genotype: Genotype,
    proposal: Proposal,
    directions: Sequence[Direction],
    clock: Callable[[], float],
) -> Trial:
    """The trial of a genotype: complete, or failed with its reason. Only what is no Exception (Ctrl-C) gets out."""
    start = clock()
    outcome: Outcome | None = None
    values: tuple[float, ...] = ()
    try:
        returned = evaluate(genotype)
        outcome = returned if isinstance(returned, Outcome) else Outcome(returned)
        values = _checked(outcome.values, directions)
        reason = ""
    except Exception as error:
        reason = _one_line(error)
    return Trial(
        number=number,
        genotype=genotype,
        state="failed" if reason else "complete",
        values=values,
        reason=reason,
        seconds=clock() - start,
        origin=proposal.origin,
        parents=proposal.parents,
        attributes=outcome.attributes if outcome else {},
    )


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
