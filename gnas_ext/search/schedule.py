"""What is there time for, and on what is it spent? Where minutes are not limited: for everything, and nobody counts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gnas_ext.search.cost import Cost

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from gnas_ext.search.features import Features
    from gnas_ext.search.genotype import Genotype
    from gnas_ext.search.space import SearchSpace, Tokens
    from gnas_ext.search.trial import Trial

# From so many on, trials tell what takes how long.
TELLING = 3


class Schedule:
    """Learns from trials in order what takes how long.

    Args:
        space: of the genotypes.
        features: of its token sequences.
        expected: seconds that a genotype is expected to take, where that is known.
        spared: seconds of these that it would be spared now.
        first_share: how many of the children are to be ranked by the first objective alone; while minutes count, how
            much of their time is spent on such.

    Attributes:
        within: seconds that the next trial may be expected to take.
        initial_within: likewise, if it is one of those to begin with; below 0, there are to be no more of these.
    """

    def __init__(
        self,
        space: SearchSpace,
        features: Features,
        expected: Callable[[Genotype], float] | None,
        spared: Callable[[Genotype], float] | None,
        first_share: float,
    ) -> None:
        self.within = self.initial_within = math.inf
        self._space = space
        self._cost = Cost(features, None if expected is None else lambda tokens: expected(space.decode(tokens)))
        self._spared = spared
        self._first_share = first_share
        # Seconds of children that were ranked by the first objective alone, and of others; of which of the two kinds
        # those are that were taken and not learned from yet, and what they were spared.
        self._spent = {True: 0.0, False: 0.0}
        self._kinds: dict[Tokens, tuple[bool, float]] = {}

    @property
    def over(self) -> bool:
        """Whether there is no time even for what is quickest."""
        return self._cost.shortest > self.within

    def learn(self, tokens: Tokens, trial: Trial) -> None:
        """Takes in a finished trial, and what it took."""
        self._cost.learn(tokens, trial)
        # Of earlier runs nobody knows the kinds; the time of this one is shared.
        if tokens in self._kinds:
            first, spared = self._kinds.pop(tokens)
            self._spent[first] += trial.seconds - (spared if trial.state == "complete" else 0.0)

    def fits(self, tokens: Tokens) -> bool:
        """Whether a genotype is expected to take no longer than it may."""
        return self._is_in_time(tokens, self.within)

    def begins_with(self, tokens: Tokens) -> bool:
        """Whether there is time for one of those to begin with, as far as a few trials tell what takes how long."""
        if self.initial_within < 0:
            return False
        return self._cost.known < TELLING or self._is_in_time(tokens, self.initial_within)

    def is_half_done(self, tokens: Tokens) -> bool:
        """Whether most of what a genotype takes was done for earlier ones; never where there is no hurry."""
        spared = self._spares(tokens)
        return spared > 0 and spared > self._cost.expected(tokens) / 2

    def first_alone(self, rng: random.Random) -> bool:
        """Whether the next child is to be ranked by the first objective alone.

        Along the front, genotypes may take very different times; so while minutes count, it is time that is shared.
        """
        if not self._first_share:
            return False
        drawn = rng.random() < self._first_share
        spent = sum(self._spent.values())
        return drawn if self.within == math.inf or not spent else self._spent[True] <= self._first_share * spent

    def take(self, tokens: Tokens, first: bool) -> None:
        """A child is to be evaluated that was ranked by the first objective alone, or was not."""
        if self._first_share:
            self._kinds[tokens] = first, self._spares(tokens)

    def _is_in_time(self, tokens: Tokens, seconds: float) -> bool:
        if self._cost.longest <= seconds:
            return True
        expected = self._cost.expected(tokens)
        return expected <= seconds or max(0.0, expected - self._spares(tokens)) <= seconds

    def _spares(self, tokens: Tokens) -> float:
        """Seconds of what a genotype takes that were spent already; 0 where there is no hurry."""
        if self._spared is None or self.within == math.inf:
            return 0.0
        return self._spared(self._space.decode(tokens))
