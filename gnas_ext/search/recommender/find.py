"""From a split log to a recommender: search on training and validation, train the chosen one on both, compress it."""

from __future__ import annotations

import hashlib
import math
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gnas_ext.errors import InputError
from gnas_ext.search.engine import evolve
from gnas_ext.search.recommender.build import build
from gnas_ext.search.recommender.classic import classic_recipes, classic_space
from gnas_ext.search.recommender.objective import Goal, Objective
from gnas_ext.search.recommender.shared import shared
from gnas_ext.search.recommender.space import recipes, recommender_space

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from gnas_ext.data.interactions import Interactions, Split
    from gnas_ext.models.base import Model
    from gnas_ext.search.cluster import Cluster
    from gnas_ext.search.recommender.build import Built
    from gnas_ext.search.study import Study
    from gnas_ext.search.trial import Trial
    from gnas_ext.train.loop import Epoch

# A trial may take this share of the minutes, so that even a large log gets to compare a few.
_SHARE_OF_BUDGET = 1 / 6
# Among trials this close to the best NDCG, which noise cannot tell apart, the smallest is chosen.
_CLOSE = 0.995


@dataclass(frozen=True, eq=False)
class Found:
    """What a search found.

    Attributes:
        trial: the trial that was chosen; its genotype names the model.
        fit: the model built anew from training and validation, and the course of that training.
        study: all trials.
    """

    trial: Trial
    fit: Built
    study: Study

    @property
    def model(self) -> Model:
        """The chosen model, trained on training and validation, compressed."""
        return self.fit.model


def find(
    split: Split,
    *,
    graph: bool = True,
    minutes: float | None = None,
    evaluations: int | None = None,
    goals: Sequence[Goal] = ("ndcg", "bytes"),
    k: int = 20,
    epochs: int = 60,
    population: int = 12,
    seed: int = 0,
    journal: str | os.PathLike[str] | None = None,
    resume: bool = False,
    context: Mapping[str, Any] | None = None,
    workers: int = 0,
    ray: str | Cluster | None = None,
    trial_seconds: float = math.inf,
    on_trial: Callable[[Study, Trial], None] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    on_chosen: Callable[[Trial], None] | None = None,
) -> Found:
    """Searches for a recommender and builds the one it chooses from training and validation together.

    Args:
        split: the log, cut; its test part is not looked at.
        graph: search `recommender_space`; False for `classic_space`.
        minutes: of searching, kept to within one trial; the last training comes on top. None for no limit.
        evaluations: trials at most. Minutes, evaluations or both must be given.
        goals: see `Objective`.
        k: length of the lists that are judged.
        epochs: of training a trial at most; early stopping usually ends it sooner.
        population: how many of the best have children; see `evolve`.
        seed: of the search and of all training.
        journal: file to which each trial is appended as it ends.
        resume: goes on where the journal ends. It is refused if the journal's search was for other training or
            validation rows, or for another graph, goals, k, epochs, population, seed or context.
        context: what else must be the same to resume, as JSON.
        workers: processes that train side by side; they map the rows into their memory. As in `evolve`, and with the
            same care: a script must guard its start.
        ray: the cluster on which they train, as in `evolve`; the rows travel by its object store.
        trial_seconds: a trial that takes longer has failed; needs `workers` or `ray`.
        on_trial: called after each trial with the study so far and the trial.
        on_epoch: called after each pass of each training here: with workers, of the last one alone.
        on_chosen: called with the chosen trial before it is trained again.

    Returns:
        The model and how it was found. It repeats exactly for a seed when `evaluations` alone ends the search.

    Raises:
        InputError: the split cannot be trained or judged on, no trial was completed, or the journal is refused.
        ValueError: no budget, or an argument out of range.
    """
    check_split(split)
    seconds = math.inf if minutes is None else minutes * 60 * _SHARE_OF_BUDGET
    options: dict[str, Any] = {"goals": tuple(goals), "k": k, "epochs": epochs, "seconds": seconds, "seed": seed}
    objective = Objective(split, **options, on_epoch=on_epoch)
    space = recommender_space(split.train) if graph else classic_space(split.train)
    terms = {"goals": list(goals), "k": k, "epochs": epochs, "rows": _hash(split.train, split.valid)}
    elsewhere = workers > 0 or ray is not None
    with shared(split, ray is not None, options) if elsewhere else nullcontext(objective) as evaluate:
        study = evolve(
            space,
            evaluate,
            evaluations=evaluations,
            minutes=minutes,
            directions=objective.directions,
            seed=seed,
            population=population,
            initial=recipes(space) if graph else classic_recipes(space),
            journal=journal,
            resume=resume,
            context=terms | dict(context or {}),
            workers=workers,
            ray=ray,
            trial_seconds=trial_seconds,
            on_trial=on_trial,
        )
    chosen = choose(study)
    if on_chosen is not None:
        on_chosen(chosen)
    return Found(chosen, retrain(chosen, split.train_and_valid, seed=seed, on_epoch=on_epoch), study)


def choose(study: Study) -> Trial:
    """The smallest of the trials whose NDCG is within half a percent of the best."""
    best = study.best
    close = [trial for trial in study.complete if trial.values[0] >= _CLOSE * best.values[0]]
    return min(close, key=lambda trial: (trial.attributes["bytes"], -trial.values[0], trial.number))


def retrain(
    trial: Trial,
    train: Interactions,
    *,
    seed: int = 0,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Built:
    """Builds a trial's genotype from other rows, for as many passes as were best on validation, without validation.

    Args:
        trial: a complete trial of an `Objective`.
        train: the touches, such as training and validation together.
        seed: of all draws.
        on_epoch: called after each pass.
    """
    passes = max(1, int(trial.attributes["best_epoch"]))
    return build(trial.genotype, train, epochs=passes, seed=seed, on_epoch=on_epoch)


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
