"""What deserves a longer look? Successive halving without waiting (Li et al., 2020, ASHA), on several objectives.

Every genotype is first evaluated cheaply, at the lowest fidelity. Of those that were evaluated at one fidelity, the
best third goes on to the next one, as soon as it can be named. New genotypes are bred from the highest fidelity at
which there is a whole population (as in Falkner et al., 2018, BOHB); so cheap figures guide a search only until there
are enough good ones.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gnas_ext.search.cost import expected_seconds
from gnas_ext.search.proposer import Proposal
from gnas_ext.search.selection import standings
from gnas_ext.search.study import Stop, turned

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence, Set

    from gnas_ext.search.proposer import Proposer
    from gnas_ext.search.selection import Losses
    from gnas_ext.search.space import SearchSpace, Tokens
    from gnas_ext.search.study import Direction
    from gnas_ext.search.trial import Trial

# Of so many trials of a fidelity, one goes on to the next.
ONE_OF = 3


class Halving:
    """Learns from trials in order, and proposes new ones, as a `Proposer` does; it has one a fidelity.

    Args:
        fidelities: what share of a full evaluation a trial may be, rising, the last 1.
        space, directions, size: as of a `Proposer`.
        breeder: makes one, for a fidelity.
    """

    def __init__(
        self,
        fidelities: Sequence[float],
        space: SearchSpace,
        directions: Sequence[Direction],
        size: int,
        breeder: Callable[[], Proposer],
    ) -> None:
        self._space = space
        self._size = size
        self._rungs = [_Rung(share, directions) for share in fidelities]
        self._breeders = [breeder() for _ in fidelities]
        self._trials: list[Trial] = []

    def learn(self, trial: Trial) -> None:
        """Takes in a finished trial, of whichever fidelity."""
        self._trials.append(trial)
        tokens = self._space.encode(trial.genotype)
        level = next(place for place, rung in enumerate(self._rungs) if rung.fidelity == trial.fidelity)
        self._rungs[level].add(tokens, trial)
        if level:
            self._rungs[level - 1].promoted.add(tokens)
        for place, breeder in enumerate(self._breeders):
            if place == level:
                breeder.learn(trial)
            else:
                breeder.know(tokens)

    def limit_initial(self, seconds: float) -> None:
        """Of what is left of `initial`, only what is expected to take no longer is proposed; nothing below 0."""
        for breeder in self._breeders:
            breeder.limit_initial(seconds)

    def propose(self, number: int, running: Set[Tokens] = frozenset(), within: float = math.inf) -> Proposal | Stop:
        """What the trial of a number evaluates and how well; what goes on to a higher fidelity comes first.

        If that, or else a new one, would take longer than `within` seconds, nothing does.
        """
        for rung, above in zip(self._rungs[-2::-1], self._rungs[:0:-1], strict=True):
            best = rung.next()
            if best is not None:
                if expected_seconds(self._trials, above.fidelity) > within:
                    return Stop.MINUTES
                rung.promoted.add(best[0])
                return Proposal(best[0], "promotion", (best[1],), above.fidelity)
        if expected_seconds(self._trials, self._rungs[0].fidelity) > within:
            return Stop.MINUTES
        fresh = number - sum(len(rung.promoted) for rung in self._rungs)
        proposal = self._breeder().propose(fresh, running)
        return proposal._replace(fidelity=self._rungs[0].fidelity) if isinstance(proposal, Proposal) else proposal

    def _breeder(self) -> Proposer:
        for rung, breeder in zip(reversed(self._rungs), reversed(self._breeders), strict=True):
            if len(rung) >= self._size:
                return breeder
        return self._breeders[0]


class _Rung:
    """The trials of one fidelity.

    Attributes:
        promoted: what has gone on to the next, or is about to.
    """

    def __init__(self, fidelity: float, directions: Sequence[Direction]) -> None:
        self.fidelity = fidelity
        self.promoted: set[Tokens] = set()
        self._directions = directions
        self._failed = 0
        self._members: list[tuple[Tokens, int]] = []
        self._losses: list[Losses] = []

    def __len__(self) -> int:
        """How many complete trials it has."""
        return len(self._members)

    def add(self, tokens: Tokens, trial: Trial) -> None:
        if trial.state == "complete":
            self._members.append((tokens, trial.number))
            self._losses.append(turned(trial.values, self._directions))
        else:
            self._failed += 1

    def next(self) -> tuple[Tokens, int] | None:
        """Of the share that goes on, the best that has not: its tokens and its trial's number; None if all have."""
        room = (len(self._members) + self._failed) // ONE_OF
        if len(self.promoted) >= room:
            return None
        standing = standings(self._losses)
        order = sorted(range(len(standing)), key=lambda place: (standing[place], place))
        return next(
            (self._members[place] for place in order[:room] if self._members[place][0] not in self.promoted), None
        )
