"""Was it luck? The best trials of a search are trained and judged again, and chosen among by their means.

Among the best, the order on validation is mostly noise: one run of each says little about which is better. So each is
trained with other seeds, and each of these is judged on another part of the log.
"""

from __future__ import annotations

import logging
import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gnas_ext.search.engine import evolve
from gnas_ext.search.genes import Integer
from gnas_ext.search.journal import OtherSearchError
from gnas_ext.search.space import SearchSpace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from gnas_ext.search.evaluation import Evaluate
    from gnas_ext.search.genotype import Genotype
    from gnas_ext.search.recommender.bounds import Bounds
    from gnas_ext.search.study import Study
    from gnas_ext.search.trial import Trial

# Among models this close to the best NDCG, which noise cannot tell apart, the smallest is chosen.
CLOSE = 0.995
# What is trained again, on another part of the log, may take so much longer.
_MARGIN = 1.15

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finalist:
    """One of the best, and what it was worth with each seed.

    Attributes:
        trial: of the search.
        scores: NDCG, the search's own on validation first; the others, from other parts of the log, in its unit: such
            that the mean of all finalists is the same on each part.
    """

    trial: Trial
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Of the scores."""
        return statistics.fmean(self.scores)

    @property
    def spread(self) -> float:
        """Their standard deviation (of a sample); 0 of one alone."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else 0.0


def qualified(study: Study, count: int, bounds: Bounds | None = None) -> list[Trial]:
    """Who goes to the finals: what would be chosen without any, then the best.

    Args:
        study: all trials.
        count: how many at most.
        bounds: of those that keep to them alone; where none does, it is the one that is nearest.

    Raises:
        InputError: no trial is complete.
    """
    best = study.best
    of = study.complete
    if bounds is not None:
        of = [trial for trial in of if bounds.beyond(trial) <= 1]
        if not of:
            return [min(study.complete, key=lambda trial: (bounds.beyond(trial), trial.number))]
        best = max(of, key=lambda trial: trial.values[0])
    close = CLOSE * best.values[0]
    first = choose([Finalist(trial, trial.values[:1]) for trial in of if trial.values[0] >= close]).trial
    others = sorted(of, key=lambda trial: (-trial.values[0], trial.number))
    return [first, *(trial for trial in others if trial is not first)][:count]


def affordable(trials: Sequence[Trial], rounds: int, seconds: float, side_by_side: int = 1) -> tuple[list[Trial], int]:
    """Which of the trials can be trained again in how many rounds, in the seconds that are left.

    All rounds with as many trials as there is time for, if it is enough for two; else one round; none in 0 rounds if it
    is not enough for that either. The first, which would be chosen without finals, is among them; of the others, one
    that takes too long leaves its place to the next.

    Args:
        trials: those that qualified, in order.
        rounds: that are wanted.
        seconds: that are left; inf for no limit.
        side_by_side: how many are trained at a time.
    """
    for turns in (rounds, 1) if rounds else ():
        again: list[Trial] = []
        for trial in trials:
            if expected_finals([*again, trial], turns, side_by_side) <= seconds:
                again.append(trial)
            elif not again:
                break
        if len(again) > 1:
            return again, turns
    return [], 0


def expected_finals(trials: Sequence[Trial], rounds: int, side_by_side: int = 1) -> float:
    """Seconds that rounds of trials take, if each takes as long as it did and a little more."""
    each = [trial.seconds for trial in trials]
    # However many there are room for, the longest is waited for.
    return _MARGIN * rounds * max(sum(each) / side_by_side, max(each, default=0.0))


def choose(finalists: Sequence[Finalist]) -> Finalist:
    """The smallest of those whose mean NDCG is within half a percent of the best."""
    best = max(finalist.mean for finalist in finalists)
    close = [finalist for finalist in finalists if finalist.mean >= CLOSE * best]
    return min(close, key=lambda one: (one.trial.attributes["bytes"], -one.mean, one.trial.number))


def play(
    trials: Sequence[Trial],
    objectives: Sequence[Evaluate],
    again: Sequence[Trial] | None = None,
    rounds: int | None = None,
    *,
    minutes: float | None,
    journal: Path | None,
    on_run: Callable[[int], None] | None = None,
    **options: Any,
) -> list[Finalist]:
    """Evaluates trials again, once an objective; all of them with the first objective, then with the next.

    A round in which one was not reached, or failed, does not count for any. One part of a log is harder than another,
    so the scores of a round are brought to the mean that the trials had in the search.

    Args:
        trials: all that qualified.
        objectives: each with a seed and a part of the log of its own; values as in the search.
        again: those of the trials that are evaluated again; by default all.
        rounds: with how many of the objectives, the first ones; by default all.
        minutes: that are left; None for no limit. The last run may end after them by half of what it takes.
        journal: file to which each run is appended; one that is there is gone on with, or begun anew where it is of
            other trials or objectives, as when a search went on after its finals.
        on_run: called after each run with how many there were.
        options: of `evolve`: directions, workers, context …

    Returns:
        Those that were evaluated again.
    """
    genotypes = [trial.genotype for trial in trials]
    turns, places = range(len(objectives)), range(len(trials))
    space = SearchSpace({"round": Integer(0, turns[-1]), "finalist": Integer(0, places[-1])})
    again = trials if again is None else again
    chosen = [trials.index(trial) for trial in again]
    wanted = {(turn, place) for turn in turns[:rounds] for place in chosen}

    def expected(pick: Mapping[str, Any]) -> float:
        # A round that is not complete counts for nothing: its last run may be late by half.
        return trials[pick["finalist"]].seconds / 2 if (pick["round"], pick["finalist"]) in wanted else math.inf

    def run() -> Study:
        return evolve(
            space,
            Rerun(objectives, genotypes),
            evaluations=len(turns) * len(places),
            minutes=minutes,
            # All of them, whatever there is time for: so a journal is gone on with when there is time for others.
            initial=[{"round": turn, "finalist": place} for turn in turns for place in places],
            predict=False,
            journal=journal,
            resume=journal is not None,
            expected=expected,
            on_trial=None if on_run is None else lambda study, _: on_run(len(wanted & set(map(_which, study.trials)))),
            **options,
        )

    try:
        runs = run()
    except OtherSearchError:
        assert journal is not None
        _logger.warning("%s: of other finalists or seeds; these finals begin anew", journal)
        journal.unlink()
        runs = run()
    scores = {_which(run): run.values[0] for run in runs.complete}
    level = statistics.fmean(trial.values[0] for trial in again)
    counted: list[list[float]] = []
    for turn in turns:
        if all((turn, place) in scores for place in chosen):
            own = [scores[turn, place] for place in chosen]
            unit = level / statistics.fmean(own) if any(own) else 1.0
            counted.append([score * unit for score in own])
    return [Finalist(trial, (trial.values[0], *(one[nth] for one in counted))) for nth, trial in enumerate(again)]


def _which(run: Trial) -> tuple[Any, Any]:
    """The round and the finalist."""
    return run.genotype["round"], run.genotype["finalist"]


class Rerun:
    """Evaluates a genotype of a list with an objective of another; what workers are sent."""

    def __init__(self, objectives: Sequence[Evaluate], genotypes: Sequence[Genotype]) -> None:
        self._objectives = tuple(objectives)
        self._genotypes = tuple(genotypes)

    def __call__(self, pick: Mapping[str, Any]) -> Any:
        """What the objective of its round says of a finalist."""
        return self._objectives[pick["round"]](self._genotypes[pick["finalist"]])
