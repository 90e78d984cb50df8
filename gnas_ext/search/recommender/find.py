"""From a split log to a recommender: search on training and validation, train the chosen one on both, compress it."""

from __future__ import annotations

import hashlib
import math
import os
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnas_ext.errors import InputError
from gnas_ext.search.earlier import best_of_earlier
from gnas_ext.search.engine import evolve
from gnas_ext.search.halving import ONE_OF
from gnas_ext.search.recommender.bounds import Bounds
from gnas_ext.search.recommender.build import retrain
from gnas_ext.search.recommender.choices import space_and_recipes
from gnas_ext.search.recommender.compression import with_recipe
from gnas_ext.search.recommender.finals import Finalist, affordable, choose, expected_finals, play, qualified
from gnas_ext.search.recommender.limited import Limited, limit
from gnas_ext.search.recommender.objective import DIRECTIONS, Goal, Objective
from gnas_ext.search.recommender.shared import shared
from gnas_ext.search.recommender.whole import plain
from gnas_ext.search.study import Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gnas_ext.compress.adapt import Limits
    from gnas_ext.compress.recipe import Recipe
    from gnas_ext.data.interactions import Interactions, Split
    from gnas_ext.models.base import Model
    from gnas_ext.search.cluster import Cluster
    from gnas_ext.search.recommender.build import Built
    from gnas_ext.search.recommender.choices import Models
    from gnas_ext.search.recommender.shared import SharedObjective
    from gnas_ext.search.study import Study
    from gnas_ext.search.trial import Trial
    from gnas_ext.train.loop import Epoch

# A trial may take this share of the minutes, so that even a large log gets to compare a few.
_SHARE_OF_BUDGET = 1 / 6
# With workers a trial that takes this share has failed, whatever it is at.
_SHARE_OF_ANY = 1 / 3
# At most this share of the minutes is kept for the finals.
_SHARE_OF_FINALS = 1 / 5
# And this one goes to recipes: what is bred from the first of them is worth more than the last.
_SHARE_OF_RECIPES = 1 / 2
# Those of all families are many and made for different logs; on a large log the last of them take minutes each.
_SHARE_OF_ALL_RECIPES = 1 / 4
# Of the children, this share is after NDCG alone, by which one is chosen in the end; the rest spread along the front.
_SHARE_OF_NDCG = 1 / 2
# Seeds of one search are this far apart, so that those of searches with seeds 0, 1, 2 … do not meet.
_SEEDS_APART = 1_000_003


@dataclass(frozen=True, eq=False)
class Found:
    """What a search found.

    Attributes:
        trial: the trial that was chosen; its genotype names the model.
        fit: the model built anew from training and validation, and the course of that training.
        study: all trials.
        finalists: what it was chosen from, with the scores of each by seed.
        limited: what limits made of the choice; None without limits.
    """

    trial: Trial
    fit: Built
    study: Study
    finalists: tuple[Finalist, ...]
    limited: Limited | None = None

    @property
    def model(self) -> Model:
        """The chosen model, trained on training and validation, compressed."""
        return self.fit.model

    @property
    def genotype(self) -> dict[str, Any]:
        """Of the chosen model, in the terms of the space of its family; `build` makes it again."""
        return _genotype(self.trial, self.limited)


def find(
    split: Split,
    *,
    models: Models = "graph",
    minutes: float | None = None,
    evaluations: int | None = None,
    goals: Sequence[Goal] = ("ndcg", "bytes"),
    k: int = 20,
    epochs: int = 60,
    population: int = 12,
    finalists: int = 5,
    seeds: int = 3,
    fidelities: Sequence[float] = (),
    limits: Limits | None = None,
    warm_start: Study | str | os.PathLike[str] | None = None,
    seed: int = 0,
    journal: str | os.PathLike[str] | None = None,
    resume: bool = False,
    context: Mapping[str, Any] | None = None,
    workers: int = 0,
    ray: str | Cluster | None = None,
    trial_seconds: float | None = None,
    on_trial: Callable[[Study, Trial], None] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    on_rerun: Callable[[int, int], None] | None = None,
    on_recipe: Callable[[Recipe], None] | None = None,
    on_chosen: Callable[[Trial], None] | None = None,
) -> Found:
    """Searches for a recommender and builds the one it chooses from training and validation together.

    Args:
        split: the log, cut; its test part is not looked at.
        models: what is searched among; see `space_and_recipes`.
        minutes: of searching, finals included, kept to within one trial; on top come the last training, and with limits
            that the best does not keep to the recipes that make it smaller. None for no limit.
        evaluations: trials at most; the finals come on top. Minutes, evaluations or both must be given.
        goals: see `Objective`.
        k: length of the lists that are judged.
        epochs: of training a trial at most; early stopping usually ends it sooner.
        population: how many of the best have children; see `evolve`.
        finalists: how many of the best are trained again to choose among them by their means (see `finals`); fewer,
            or none, where a fifth of the minutes is too short for so many.
        seeds: with how many seeds those are trained, the search's own included; 1 for no finals. Each other seed is
            judged on another part of the log (see `other_part`).
        fidelities: for successive halving (see `evolve`): a trial of fidelity f trains on the touches of sqrt(f) of the
            users, for sqrt(f) of the passes.
        limits: bytes and milliseconds a user that the model may cost at most: the choice is among trials that keep to
            them; where a better one does not, recipes of `compress.adapt` are tried on it. Where nothing keeps to
            them, the nearest is chosen, and `found.limited` says so.
        warm_start: an earlier study, or its journal, whose best genotypes are tried first, before the recipes. What of
            both is not expected to be done in half of the minutes (of all families a quarter) is left out.
        seed: of the search and of all training.
        journal: file to which each trial is appended as it ends; those of the finals to one beside it, whose name ends
            in ".finals".
        resume: goes on where the journal ends; finals of other finalists begin anew. It is refused if the journal's
            search was for other training or validation rows, or for another graph, goals, k, epochs, population, seed
            or context.
        context: what else must be the same to resume, as JSON.
        workers: processes that train side by side; they map the rows into their memory. As in `evolve`, and with the
            same care: a script must guard its start.
        ray: the cluster on which they train, as in `evolve`; the rows travel by its object store.
        trial_seconds: a trial that takes longer has failed; needs `workers` or `ray`, and with these is a third of the
            minutes if not said: most of what is solved at once cannot be cut short, and on a large log takes very long.
        on_trial: called after each trial with the study so far and the trial.
        on_epoch: called after each pass of each training here: with workers, of the last one alone.
        on_rerun: called after each training of the finals with how many of them are done, and how many there are.
        on_recipe: called before each recipe that is tried to keep to limits.
        on_chosen: called with the chosen trial before it is trained again.

    Returns:
        The model and how it was found. It repeats exactly for a seed when `evaluations` alone ends the search.

    Raises:
        InputError: the split cannot be trained or judged on, no trial was completed (in full, with fidelities), there
            are too few evaluations for that, or the journal is refused.
        ValueError: no budget, or an argument out of range.
    """
    check_split(split)
    if finalists < 1 or seeds < 1:
        raise ValueError(f"find: expected finalists and seeds of 1 or more, got {finalists} and {seeds}")
    fewest = sum(ONE_OF**place for place in range(len(fidelities)))
    if evaluations is not None and evaluations < fewest:
        raise InputError(
            f"{evaluations} evaluations: with {len(fidelities)} fidelities the first full one is number {fewest} at "
            "the earliest; allow more (--evaluations, evaluations=), or leave out --halving, fidelities="
        )
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    bounds = Bounds.of(limits, split)
    space, recipes = space_and_recipes(models, split.train)
    earlier = [] if warm_start is None else best_of_earlier(warm_start, space, population)
    options: dict[str, Any] = {
        "goals": tuple(goals),
        "k": k,
        "epochs": epochs,
        "seconds": math.inf if minutes is None else minutes * 60 * _SHARE_OF_BUDGET,
    }
    terms = {"goals": list(goals), "k": k, "epochs": epochs, "rows": _hash(split.train, split.valid)}
    if limits is not None and math.isfinite(limits.latency_ms):
        options["timed"] = terms["timed, for limits of milliseconds (--max-ms)"] = True
    away = workers > 0 or ray is not None
    side_by_side = max(1, workers)
    longest = trial_seconds if trial_seconds is not None else math.inf
    if trial_seconds is None and away and minutes is not None:
        longest = 60 * minutes * _SHARE_OF_ANY

    def for_finals(study: Study) -> float:
        """Seconds of the minutes that finals of what is best so far need, as far as they are kept for them."""
        if finalists < 2 or not study.complete:
            return 0.0
        share = 60 * _SHARE_OF_FINALS * (minutes or 0.0)
        again, rounds = affordable(qualified(study, finalists, bounds), seeds - 1, share, side_by_side)
        return expected_finals(again, rounds, side_by_side)

    with shared(split, ray is not None, options | {"seed": seed}) if away else nullcontext() as sent:

        def objective(number: int) -> Objective | SharedObjective:
            """With a seed and a part of the log to judge by of its own: 0 for the search's."""
            own = seed + number * _SEEDS_APART
            if sent:
                return sent.seeded(own, number)
            return Objective(split, **options, seed=own, window=number, on_epoch=on_epoch)

        where: dict[str, Any] = {
            "directions": [DIRECTIONS[goal] for goal in goals],
            "workers": workers,
            "ray": ray,
            "trial_seconds": longest,
        }
        first = objective(0)
        study = evolve(
            space,
            first,
            evaluations=evaluations,
            minutes=minutes,
            seed=seed,
            population=population,
            initial=[*earlier, *recipes],
            initial_share=_SHARE_OF_ALL_RECIPES if models == "all" else _SHARE_OF_RECIPES,
            first_share=_SHARE_OF_NDCG if len(goals) > 1 else 0.0,
            fidelities=fidelities,
            journal=journal,
            resume=resume,
            context=terms | dict(context or {}),
            reserve=for_finals,
            spared=first.would_spare if isinstance(first, Objective) and not fidelities else None,
            on_trial=on_trial,
            **where,
        )
        best = qualified(study, finalists, bounds)
        judged = [Finalist(trial, trial.values[:1]) for trial in best]
        # Who interrupts the search wants what there is, not the finals.
        stopped = study.stopped is Stop.INTERRUPTED
        left = math.inf if deadline is None else deadline - time.monotonic()
        again, rounds = affordable(best, seeds - 1, left, side_by_side)
        if again and not stopped:
            count = len(again) * rounds
            judged = play(
                best,
                [objective(number) for number in range(1, seeds)],
                again,
                rounds,
                minutes=None if deadline is None else left / 60,
                journal=None if journal is None else _finals_journal(journal, resume),
                on_run=None if on_rerun is None else lambda done: on_rerun(done, count),
                context=terms
                | {"judged by": "other parts", "finalists": [trial.genotype.as_dict() for trial in best], "seed": seed},
                **where,
            )
    winner = choose(judged)
    limited = None
    if bounds is not None:
        limited = Limited(bounds.limits, study.best, bounds.beyond(winner.trial) <= 1)
        # Who interrupts wants what there is, here too.
        if not stopped:
            with suppress(KeyboardInterrupt):
                limited = limit(
                    study,
                    winner,
                    split,
                    bounds,
                    k=k,
                    seed=seed,
                    seconds=options["seconds"],
                    on_epoch=on_epoch,
                    on_recipe=on_recipe,
                )
    chosen = limited.best if limited is not None and limited.recipe is not None else winner.trial
    if on_chosen is not None:
        on_chosen(chosen)
    fit = retrain(chosen, split.train_and_valid, _genotype(chosen, limited), seed=seed, on_epoch=on_epoch)
    if limited is not None:
        limited = replace(limited, size_bytes=fit.model.size_bytes())
    return Found(chosen, fit, study, tuple(judged), limited)


def _genotype(trial: Trial, limited: Limited | None) -> dict[str, Any]:
    """What is built in the end: the trial's, or that with a recipe."""
    genotype = plain(trial.genotype)
    return genotype if limited is None or limited.recipe is None else with_recipe(genotype, limited.recipe)


def _finals_journal(journal: str | os.PathLike[str], resume: bool) -> Path:
    """Where the finals are kept; emptied unless they go on with the search that they belong to."""
    path = Path(f"{os.fspath(journal)}.finals")
    if not resume:
        path.unlink(missing_ok=True)
    return path


def check_split(split: Split) -> None:
    """InputError unless there is something to train on and to choose by."""
    if len(split.train) == 0:
        raise InputError("the training part is empty: nothing to learn from; hold out less, or give a larger log")
    if len(split.valid) == 0:
        raise InputError("the validation part is empty: a search needs it to choose by; hold out a larger share")


def _hash(*parts: Interactions) -> str:
    """Says whether two searches saw the same rows."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        for column in (part.user, part.item, part.timestamp):
            digest.update(b"none" if column is None else column.astype("<i8").tobytes())
    return digest.hexdigest()
