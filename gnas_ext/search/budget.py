"""When a search has to stop."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gnas_ext.search.study import Stop

if TYPE_CHECKING:
    from collections.abc import Callable


class Budget:
    """Evaluations of the whole study, and minutes from now on: whichever ends first.

    A trial is started only if it is expected to end before the deadline; so the deadline is overrun only by one that is
    slower than those that are like it.

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

    def left(self) -> float:
        """Seconds of the minutes that the next trial may take; inf where they are not limited."""
        if self._deadline is None:
            return math.inf
        return self._deadline - self._clock() - self._reserve()

    def left_of(self, share: float) -> float:
        """Seconds until a share of the minutes is over; inf where they are not limited."""
        if self._deadline is None:
            return math.inf
        return self._start + share * (self._deadline - self._start) - self._clock()

    def spent(self, trials: int) -> Stop | None:
        """Why there may be no more trials than so many, those that run included, or None."""
        return Stop.EVALUATIONS if self._evaluations is not None and trials >= self._evaluations else None
