"""When a search has to stop."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gnas_ext.search.study import Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gnas_ext.search.trial import Trial

RECENT = 20
QUANTILE = 0.9


class Budget:
    """Evaluations of the whole study, and minutes from now on: whichever ends first.

    A trial is started only if a trial as long as the slower ones of late would end before the deadline; so the deadline
    is overrun only by a trial that is slower than those.

    Args:
        evaluations: trials in all, those of earlier runs included; None for no such limit.
        minutes: from now; None for no such limit.
        clock: seconds that never go back.
        reserve: seconds of the minutes that are to be left, asked before each trial.
    """

    def __init__(
        self,
        evaluations: int | None,
        minutes: float | None,
        clock: Callable[[], float],
        reserve: Callable[[], float] = float,
    ) -> None:
        if evaluations is None and minutes is None:
            raise ValueError("evolve: expected a budget: evaluations=, minutes= or both")
        if evaluations is not None and evaluations < 1:
            raise ValueError(f"evolve: expected evaluations >= 1, got {evaluations}")
        if minutes is not None and not minutes > 0:
            raise ValueError(f"evolve: expected minutes > 0, got {minutes}")
        self._evaluations = evaluations
        self._start = clock()
        self._deadline = None if minutes is None else self._start + 60 * minutes
        self._clock = clock
        self._reserve = reserve

    def gone(self) -> float:
        """The share of the minutes that is over; 0 where they are not limited."""
        if self._deadline is None:
            return 0.0
        return (self._clock() - self._start) / (self._deadline - self._start)

    def spent(self, trials: Sequence[Trial], running: int = 0) -> Stop | None:
        """Why no further trial, however short, may start beside those that run, or None."""
        if self._evaluations is not None and len(trials) + running >= self._evaluations:
            return Stop.EVALUATIONS
        return self.too_short(trials, min((trial.fidelity for trial in trials), default=1.0))

    def too_short(self, trials: Sequence[Trial], fidelity: float) -> Stop | None:
        """Says so if the time that is left is too short for a trial of a fidelity."""
        if self._deadline is None:
            return None
        needed = expected_seconds(trials, fidelity) + self._reserve()
        return Stop.MINUTES if self._clock() + needed > self._deadline else None


def expected_seconds(trials: Sequence[Trial], fidelity: float = 1.0) -> float:
    """How long the next trial takes: the .9 quantile of the last 20 complete (or failed) ones; 0 at first.

    Of a fidelity that was never tried, as much longer than one of the highest that was, as it is higher.
    """
    known = max((trial.fidelity for trial in trials if trial.fidelity <= fidelity), default=fidelity)
    alike = [trial for trial in trials if trial.fidelity == known]
    complete = [trial.seconds for trial in alike if trial.state == "complete"]
    recent = sorted((complete or [trial.seconds for trial in alike])[-RECENT:])
    return recent[math.ceil(QUANTILE * len(recent)) - 1] * fidelity / known if recent else 0.0
