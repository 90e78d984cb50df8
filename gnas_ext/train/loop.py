"""How does a graph model learn from a log, and when does it stop?"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from gnas_ext.graph.bipartite import decay
from gnas_ext.models.factors import FactorModel, Table
from gnas_ext.train.losses import bpr, sampled_softmax
from gnas_ext.train.products import dot_products

if TYPE_CHECKING:
    from collections.abc import Callable

    from gnas_ext.data.interactions import Interactions
    from gnas_ext.models.lightgcn import LightGCN
    from gnas_ext.models.prior import TimePrior

Loss = Literal["bpr", "softmax"]
Stopped = Literal["epochs", "patience", "seconds"]


@dataclass(frozen=True)
class TrainOptions:
    """How a model is trained.

    Attributes:
        loss: "bpr" or "softmax" (sampled).
        lr: learning rate of Adam.
        weight_decay: L2 penalty on the embeddings that a batch uses, per row.
        batch: touches a step.
        negatives: items drawn a step for the softmax; bpr draws one a touch.
        half_life_days: touches are drawn more rarely the older they are, half as often after this; inf for evenly.
        epochs: passes over the log at most.
        patience: passes without a better validation before it stops.
        seconds: wall time at most; the step at hand is finished. The result then depends on the machine.
        seed: draws and shuffles.
    """

    loss: Loss = "bpr"
    lr: float = 1e-3
    weight_decay: float = 1e-4
    batch: int = 2048
    negatives: int = 256
    half_life_days: float = math.inf
    epochs: int = 60
    patience: int = 6
    seconds: float = math.inf
    seed: int = 0

    def __post_init__(self) -> None:
        if self.loss not in get_args(Loss):
            raise ValueError(f"TrainOptions: expected loss {' or '.join(map(repr, get_args(Loss)))}, got {self.loss!r}")
        for name in ("batch", "negatives", "epochs", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"TrainOptions: expected {name} of 1 or more, got {getattr(self, name)}")
        if not (self.lr > 0 and self.weight_decay >= 0 and self.half_life_days > 0):
            raise ValueError(
                "TrainOptions: expected lr above 0, weight_decay of 0 or more and half_life_days above 0, "
                f"got {self.lr}, {self.weight_decay} and {self.half_life_days}"
            )


@dataclass(frozen=True)
class Epoch:
    """One pass: its number from 1, the mean loss, the validation score (None where there was none), seconds so far."""

    number: int
    loss: float
    score: float | None
    seconds: float


@dataclass(frozen=True, eq=False)
class Fit:
    """What training gave.

    Attributes:
        model: the best pass by validation, or the last one without validation.
        epochs: all passes.
        best_epoch: number of the pass that `model` is.
        stopped: "epochs", "patience" or "seconds".
    """

    model: FactorModel
    epochs: tuple[Epoch, ...]
    best_epoch: int
    stopped: Stopped


def fit(
    net: LightGCN,
    train: Interactions,
    options: TrainOptions,
    prior: TimePrior | None = None,
    validate: Callable[[FactorModel], float] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Fit:
    """Trains in place and returns the embeddings that score best.

    Args:
        net: what is trained; its graph must be made of `train` alone.
        train: the touches.
        options: see there.
        prior: popularity through time, learned beside the embeddings with one weight; None for none.
        validate: scores a finished model, higher is better; None trains for all epochs and keeps the last.
        on_epoch: called after each pass.

    Returns:
        The best model and the course of training. It repeats exactly for equal arguments, whatever the number of
        threads (for batches of at most 32,768 touches, which torch sums in one thread), unless `seconds` cuts it short.
    """
    if len(train) == 0:
        raise ValueError("fit: expected at least one touch to train on, got none")
    generator = torch.Generator().manual_seed(options.seed)
    step = _Step(net, train, options, prior, generator)
    started = time.monotonic()
    epochs: list[Epoch] = []
    best = -math.inf
    best_epoch = 0
    model: FactorModel | None = None
    stopped: Stopped = "epochs"
    for number in range(1, options.epochs + 1):
        net.train()
        batches = _batches(train, options, generator)
        losses: list[float] = []
        while len(losses) < len(batches) and (not losses or time.monotonic() - started <= options.seconds):
            losses.append(step(batches[len(losses)]))
        current = step.model()
        score = validate(current) if validate is not None else None
        epochs.append(Epoch(number, sum(losses) / len(losses), score, time.monotonic() - started))
        if on_epoch is not None:
            on_epoch(epochs[-1])
        if score is None or score > best:
            best, best_epoch, model = -math.inf if score is None else score, number, current
        elif number - best_epoch >= options.patience:
            stopped = "patience"
            break
        unfinished = len(losses) < len(batches) or number < options.epochs
        if unfinished and epochs[-1].seconds > options.seconds:
            stopped = "seconds"
            break
    # Without a single score above -inf (all NaN) there is no best: the last one is handed over and says so itself.
    return Fit(model or current, tuple(epochs), best_epoch or number, stopped)


class _Step:
    """One gradient step on some rows of the log; returns its loss."""

    def __init__(
        self,
        net: LightGCN,
        train: Interactions,
        options: TrainOptions,
        prior: TimePrior | None,
        generator: torch.Generator,
    ) -> None:
        self.net = net
        self.user = torch.from_numpy(train.user).long()
        self.item = torch.from_numpy(train.item).long()
        self.options = options
        self.prior = prior
        self.generator = generator
        self.prior_weight = torch.nn.Parameter(torch.tensor(1.0))
        groups = [{"params": [p for p in net.parameters() if p.requires_grad], "lr": options.lr}]
        if prior is not None:
            groups.append({"params": [self.prior_weight], "lr": max(options.lr, 0.01)})
        self.optimizer = torch.optim.Adam(groups)

    def __call__(self, rows: Tensor) -> float:
        users, items = self.net()
        touching = functional.embedding(self.user[rows], users)
        touched = self.item[rows]
        positive = (touching * functional.embedding(touched, items)).sum(1) + self._prior(rows, touched)
        if self.options.loss == "bpr":
            drawn = torch.randint(len(items), touched.shape, generator=self.generator)
            negative = (touching * functional.embedding(drawn, items)).sum(1) + self._prior(rows, drawn)
            loss = bpr(positive, negative)
        else:
            drawn = torch.randint(len(items), (min(self.options.negatives, len(items)),), generator=self.generator)
            negative = dot_products(touching, functional.embedding(drawn, items)) + self._prior(rows, drawn[None])
            loss = sampled_softmax(positive, negative, drawn[None] == touched[:, None], len(items))
        if self.options.weight_decay > 0:
            used = functional.embedding(self.user[rows], self.net.user), functional.embedding(touched, self.net.item)
            loss = loss + self.options.weight_decay * sum(part.square().sum(1).sum() for part in used) / len(rows)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.optimizer.step()
        return float(loss.detach())

    def _prior(self, rows: Tensor, items: Tensor) -> Tensor | float:
        """Weighted log popularity of `items` ([batch], or [1, drawn] for all rows) at the rows' moments."""
        if self.prior is None:
            return 0.0
        moment = self.prior.moment[rows]
        if items.dim() == 2:
            # One weight a row: its gradient is summed row by row, then over rows, and not in one part a thread.
            return self.prior_weight.expand(len(rows), 1) * self.prior.table[:, items[0]][moment]
        return self.prior_weight * self.prior.table[moment, items]

    @torch.no_grad()
    def model(self) -> FactorModel:
        """The model as it would be served now."""
        self.net.eval()
        users, items = self.net()
        prior = None if self.prior is None else self.prior_weight.detach() * self.prior.now
        return FactorModel(Table(users.clone()), Table(items.clone()), prior)


def _batches(train: Interactions, options: TrainOptions, generator: torch.Generator) -> tuple[Tensor, ...]:
    """The rows of each step of a pass: all rows shuffled, or as many drawn with recent ones more often."""
    if math.isinf(options.half_life_days) or train.timestamp is None:
        rows = torch.randperm(len(train), generator=generator)
    else:
        share = torch.from_numpy(decay(train.timestamp, options.half_life_days)).double().cumsum(0)
        # Searching the cumulated shares draws with replacement at any length; multinomial stops at 2^24.
        rows = torch.searchsorted(share, torch.rand(len(train), dtype=torch.float64, generator=generator) * share[-1])
        rows = rows.clamp_(max=len(train) - 1)
    return torch.split(rows, options.batch)
