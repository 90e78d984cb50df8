"""What a search has found so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, TypeAlias

from gnas_ext.errors import InputError
from gnas_ext.search.selection import hypervolume, pareto_front
from gnas_ext.search.volume import scale_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gnas_ext.search.selection import Losses
    from gnas_ext.search.space import SearchSpace
    from gnas_ext.search.trial import Trial

Direction: TypeAlias = Literal["maximize", "minimize"]


class Stop(StrEnum):
    """Why a search ended, as a line for people."""

    EVALUATIONS = "all evaluations of the budget are done"
    MINUTES = "no further trial fits into the minutes of the budget"
    EXHAUSTED = "every genotype of the space has been evaluated"
    NOTHING_NEW = "no genotype that is both new and valid was found"
    INTERRUPTED = "interrupted"


@dataclass
class Study:
    """All trials of a search and the best of them.

    Attributes:
        space: what was searched.
        directions: "maximize" or "minimize", one an objective.
        trials: finished trials in order, failed ones too.
        stopped: why the search ended; None while it runs.
    """

    space: SearchSpace
    directions: tuple[Direction, ...]
    trials: list[Trial] = field(default_factory=list)
    stopped: Stop | None = None

    @property
    def evaluations(self) -> int:
        """How many trials there are, failed ones too."""
        return len(self.trials)

    @property
    def complete(self) -> list[Trial]:
        """The trials that did not fail, and were evaluated in full, in order."""
        return [trial for trial in self.trials if trial.state == "complete" and trial.fidelity == 1]

    @property
    def front(self) -> list[Trial]:
        """The trials that no other one beats; with one objective, all that share its best value.

        In order of the first objective, best first, then of the others, then of their numbers.
        """
        complete = self.complete
        places = pareto_front([self.losses(trial) for trial in complete])
        return sorted((complete[place] for place in places), key=self.losses)

    @property
    def best(self) -> Trial:
        """The trial with the best first objective: the first of `front`. The earlier of two with equal values.

        Raises:
            InputError: no trial is complete, or none was evaluated in full.
        """
        complete = self.complete
        if not complete:
            if any(trial.state == "complete" for trial in self.trials):
                raise InputError(
                    f"none of {len(self.trials)} trials was evaluated in full; allow more (--minutes, --evaluations), "
                    "or leave out --halving, fidelities="
                )
            last = f"; the last one failed: {self.trials[-1].reason}" if self.trials else ""
            raise InputError(f"no trial of {len(self.trials)} is complete{last}")
        return min(complete, key=self.losses)

    def losses(self, trial: Trial) -> Losses:
        """The values of a complete trial, turned so that smaller is better."""
        return turned(trial.values, self.directions)

    def hypervolume(self, reference: Sequence[float]) -> float:
        """The volume between the front and a reference, one number an objective, that is worse than all of interest."""
        if len(reference) != len(self.directions):
            raise ValueError(
                f"hypervolume: expected a reference of {len(self.directions)} numbers, got {len(reference)}"
            )
        return hypervolume([self.losses(trial) for trial in self.front], turned(reference, self.directions))

    @property
    def relative_hypervolume(self) -> float | None:
        """The volume that the front dominates, without a reference from outside; it never falls as trials come.

        1 is the box that the first eight complete trials span (see `search.volume`); None before there are so many.
        """
        complete = [self.losses(trial) for trial in self.complete]
        scale = scale_of(complete)
        if scale is None:
            return None
        return scale.volume([scale.scaled(complete[place]) for place in pareto_front(complete)])


def turned(values: Sequence[float], directions: Sequence[Direction]) -> Losses:
    """Values turned so that smaller is better; a second turn gives them back."""
    return tuple(-x if way == "maximize" else x for x, way in zip(values, directions, strict=True))
