"""What is a genotype worth? Built from training, and measured on validation as it would be shipped."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from gnas_ext.data.interactions import n_users
from gnas_ext.evaluate.compare import measure
from gnas_ext.evaluate.evaluate import evaluate
from gnas_ext.search.recommender.build import build, would_spare
from gnas_ext.search.recommender.trainings import Trainings
from gnas_ext.search.recommender.windows import other_part
from gnas_ext.search.trial import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gnas_ext.data.interactions import Interactions, Split
    from gnas_ext.models.base import Model
    from gnas_ext.search.study import Direction
    from gnas_ext.train.loop import Epoch

Goal = Literal["ndcg", "bytes", "ms"]
DIRECTIONS: Mapping[str, Direction] = {"ndcg": "maximize", "bytes": "minimize", "ms": "minimize"}


class Objective:
    """Evaluates genotypes on the validation part of a split, or on another one; test is never looked at.

    Args:
        split: training and validation.
        goals: what a trial is judged by, in order: "ndcg" (validation NDCG@k), "bytes" (of the compressed model),
            "ms" (milliseconds a user, measured; with it, a study no longer repeats exactly).
        k: length of the lists.
        epochs, patience, seed: as in `build`.
        seconds: of training a trial at most; a trial that it cuts short says so in its attributes.
        timed: whether the attributes have "ms", milliseconds a user, also where these are no goal.
        window: 0 for the validation part; from 1 for other parts of the log, held out likewise (see `other_part`).
        on_epoch: called after each pass of each trial.
    """

    def __init__(
        self,
        split: Split,
        goals: Sequence[Goal] = ("ndcg", "bytes"),
        k: int = 20,
        epochs: int = 60,
        patience: int = 8,
        seconds: float = math.inf,
        seed: int = 0,
        timed: bool = False,
        window: int = 0,
        on_epoch: Callable[[Epoch], None] | None = None,
    ) -> None:
        if not goals or goals[0] != "ndcg" or any(goal not in get_args(Goal) for goal in goals):
            raise ValueError(f"Objective: expected goals 'ndcg', then 'bytes' or 'ms', got {tuple(goals)}")
        self.split = split
        self.goals = tuple(goals)
        self.k = k
        self.epochs = epochs
        self.patience = patience
        self.seconds = seconds
        self.seed = seed
        self.timed = timed
        self.on_epoch = on_epoch
        self._parts = other_part(split, window, seed) if window else (split.train, split.valid)
        self._trainings = Trainings()
        self._samples: dict[float, tuple[Interactions, Interactions]] = {}

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Of the goals, in order."""
        return tuple(DIRECTIONS[goal] for goal in self.goals)

    def __call__(self, genotype: Mapping[str, Any], fidelity: float = 1.0) -> Outcome:
        """Builds and measures; the attributes hold the learning curve and all metrics.

        Args:
            genotype: of any of the spaces.
            fidelity: below 1, sqrt(fidelity) of the users are looked at, and of the passes done: a cheaper, rougher
                answer.
        """
        share = math.sqrt(fidelity)
        train, valid = self._sample(share)

        def ndcg(model: Model) -> float:
            return evaluate(model, train, valid, (self.k,))[f"ndcg@{self.k}"]

        spared = self._trainings.spared
        built = build(
            genotype,
            train,
            validate=ndcg,
            **self._course(genotype, share),
            on_epoch=self.on_epoch,
        )
        timed = self.timed or "ms" in self.goals
        result = measure("trial", built.model, train, valid, (self.k,), timed=timed)
        values = {"ndcg": result.metrics[f"ndcg@{self.k}"], "bytes": result.size_bytes, "ms": result.latency_ms}
        return Outcome(
            tuple(float(values[goal]) for goal in self.goals),
            {
                "metrics": result.metrics,
                "bytes": result.size_bytes,
                "curve": [[epoch.number, epoch.loss, epoch.score] for epoch in built.curve],
                "best_epoch": built.best_epoch,
                "stopped": built.stopped,
            }
            | ({"ms": result.latency_ms} if self.timed else {}),
            self._trainings.spared - spared,
        )

    def would_spare(self, genotype: Mapping[str, Any]) -> float:
        """Seconds of training that a full evaluation would be spared, since an earlier one had the same."""
        return would_spare(genotype, self._parts[0], **self._course(genotype))

    def _course(self, genotype: Mapping[str, Any], share: float = 1.0) -> dict[str, Any]:
        """How `build` trains."""
        epochs = min(self.epochs, int(genotype.get("epochs", self.epochs)))
        return {
            "epochs": max(1, math.ceil(epochs * share)),
            "patience": self.patience,
            "seconds": self.seconds,
            "seed": self.seed,
            "trainings": self._trainings,
        }

    def _sample(self, share: float) -> tuple[Interactions, Interactions]:
        """The touches of a share of the users, the same ones for all genotypes."""
        train, valid = self._parts
        if share == 1:
            return train, valid
        if share not in self._samples:
            users = max(n_users(train), n_users(valid))
            drawn = np.random.default_rng(self.seed).random(users) < share
            parts = (part.select(np.flatnonzero(drawn[part.user])) for part in (train, valid))
            self._samples[share] = next(parts), next(parts)
        return self._samples[share]
