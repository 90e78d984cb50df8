"""What is a genotype worth? Built from training, and measured on validation as it would be shipped."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, get_args

from gnas_ext.evaluate.compare import measure
from gnas_ext.evaluate.evaluate import evaluate
from gnas_ext.search.recommender.build import build
from gnas_ext.search.trial import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gnas_ext.data.interactions import Split
    from gnas_ext.models.base import Model
    from gnas_ext.search.study import Direction
    from gnas_ext.train.loop import Epoch

Goal = Literal["ndcg", "bytes", "ms"]
DIRECTIONS: Mapping[str, Direction] = {"ndcg": "maximize", "bytes": "minimize", "ms": "minimize"}


class Objective:
    """Evaluates genotypes on the validation part of a split; test is never looked at.

    Args:
        split: training and validation.
        goals: what a trial is judged by, in order: "ndcg" (validation NDCG@k), "bytes" (of the compressed model),
            "ms" (milliseconds a user, measured; with it, a study no longer repeats exactly).
        k: length of the lists.
        epochs, patience, seed: as in `build`.
        seconds: of training a trial at most; a trial that it cuts short says so in its attributes.
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
        self.on_epoch = on_epoch

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Of the goals, in order."""
        return tuple(DIRECTIONS[goal] for goal in self.goals)

    def __call__(self, genotype: Mapping[str, Any]) -> Outcome:
        """Builds and measures; the attributes hold the learning curve and all metrics."""
        built = build(
            genotype,
            self.split.train,
            validate=self._ndcg,
            epochs=self.epochs,
            patience=self.patience,
            seconds=self.seconds,
            seed=self.seed,
            on_epoch=self.on_epoch,
        )
        result = measure("trial", built.model, self.split.train, self.split.valid, (self.k,))
        values = {"ndcg": result.metrics[f"ndcg@{self.k}"], "bytes": result.size_bytes, "ms": result.latency_ms}
        return Outcome(
            tuple(float(values[goal]) for goal in self.goals),
            {
                "metrics": result.metrics,
                "bytes": result.size_bytes,
                "curve": [[epoch.number, epoch.loss, epoch.score] for epoch in built.curve],
                "best_epoch": built.best_epoch,
                "stopped": built.stopped,
            },
        )

    def _ndcg(self, model: Model) -> float:
        return evaluate(model, self.split.train, self.split.valid, (self.k,))[f"ndcg@{self.k}"]
