"""How does a graph model learn from a log, and when does it stop?"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch

from gnas_ext.models.int8_factors import Int8Factors
from gnas_ext.train.batches import batches
from gnas_ext.train.step import Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from gnas_ext.data.interactions import Interactions
    from gnas_ext.models.factors import FactorModel
    from gnas_ext.models.lightgcn import LightGCN
    from gnas_ext.models.prior import TimePrior
    from gnas_ext.train.options import TrainOptions

Stopped = Literal["epochs", "patience", "seconds"]
# Passes until a net that prunes its graph has done so.
PRUNING = 3


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


def pruning_left(number: int, epochs: int) -> float:
    """How much of the way to the last mask is left in a pass, of `EdgeMask.advance`.

    Edges go in the first passes, `PRUNING` or as many as there are but one: not in a share of them, so that training on
    other rows, for as many passes as were best, prunes as the first one did.
    """
    passes = min(PRUNING, epochs - 1)
    return max(0.0, 1 - (number - 1) / passes) if passes else 0.0


def fit(
    net: LightGCN | Int8Factors,
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
        prior: popularity through time, learned beside the embeddings with one weight; None for none. A softmax over all
            items takes that of the end for all touches.
        validate: scores a finished model, higher is better; None trains for all epochs and keeps the last.
        on_epoch: called after each pass.

    Returns:
        The best model and the course of training. It repeats exactly for equal arguments, whatever the number of
        threads (for batches of at most 32,768 touches, which torch sums in one thread), unless `seconds` cuts it short.
    """
    if len(train) == 0:
        raise ValueError("fit: expected at least one touch to train on, got none")
    generator = torch.Generator().manual_seed(options.seed)
    step = Step(net, train, options, prior, generator, options.epochs * len(train) if options.cosine_lr else 0)
    started = time.monotonic()
    epochs: list[Epoch] = []
    best = -math.inf
    best_epoch, first_whole = 0, 0
    model: FactorModel | None = None
    stopped: Stopped = "epochs"
    for number in range(1, options.epochs + 1):
        if not isinstance(net, Int8Factors):
            net.train()
            net.prune(pruning_left(number, options.epochs))
        steps = batches(train, options, generator)
        losses: list[float] = []
        while len(losses) < len(steps) and (not losses or time.monotonic() - started <= options.seconds):
            losses.append(step(steps[len(losses)]))
        current = step.model()
        score = validate(current) if validate is not None else None
        epochs.append(Epoch(number, sum(losses) / len(losses), score, time.monotonic() - started))
        if on_epoch is not None:
            on_epoch(epochs[-1])
        # The best is one whose edges are those that are left.
        whole = isinstance(net, Int8Factors) or not net.prunes
        first_whole = first_whole or (number if whole else 0)
        if whole and (score is None or score > best):
            best, best_epoch, model = -math.inf if score is None else score, number, current
        elif whole and number - (best_epoch or first_whole - 1) >= options.patience:
            stopped = "patience"
            break
        unfinished = len(losses) < len(steps) or number < options.epochs
        if unfinished and epochs[-1].seconds > options.seconds:
            stopped = "seconds"
            break
    if not isinstance(net, Int8Factors) and net.prunes:
        # Cut short before all edges went that are to go: those of the model that is handed over do.
        net.prune(0.0)
        current = step.model()
        epochs[-1] = replace(epochs[-1], score=validate(current) if validate is not None else None)
    # Without a single score above -inf (all NaN) there is no best: the last one is handed over and says so itself.
    return Fit(model or current, tuple(epochs), best_epoch or number, stopped)
