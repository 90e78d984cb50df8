"""How does a genotype become a recommender: trained or solved, and compressed?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from gnas_ext.compress.quantize import quantize_model
from gnas_ext.data.interactions import n_items, n_users
from gnas_ext.errors import InputError
from gnas_ext.graph.bipartite import bipartite, decay
from gnas_ext.models.lightgcn import LightGCN
from gnas_ext.models.prior import time_prior
from gnas_ext.search.recommender.classic import FAMILIES as CLASSICS
from gnas_ext.search.recommender.classic import build_classic, is_classic
from gnas_ext.search.recommender.training_free import FAMILIES as TRAINING_FREE
from gnas_ext.search.recommender.training_free import build_training_free, is_training_free
from gnas_ext.train.loop import TrainOptions, fit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gnas_ext.data.interactions import Interactions
    from gnas_ext.models.base import Model
    from gnas_ext.models.factors import FactorModel
    from gnas_ext.train.loop import Epoch, Fit, Stopped

# Every step carries all embeddings over the whole graph, so a pass over a large log takes large steps.
_SMALLEST_BATCH = 2048
_STEPS_A_PASS = 100


@dataclass(frozen=True, eq=False)
class Built:
    """A model and how it came about.

    Attributes:
        model: as it is shipped: trained and compressed.
        curve: all passes of its training; none where it was solved at once, as classics are.
        best_epoch: number of the pass that `model` is; 0 without passes.
        stopped: why training ended; None without passes.
    """

    model: Model
    curve: tuple[Epoch, ...] = ()
    best_epoch: int = 0
    stopped: Stopped | None = None


def build(
    genotype: Mapping[str, Any],
    train: Interactions,
    *,
    validate: Callable[[Model], float] | None = None,
    epochs: int = 60,
    patience: int = 6,
    seconds: float = math.inf,
    seed: int = 0,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Built:
    """Makes the model that a genotype names, of whatever kind, as it is shipped.

    Args:
        genotype: values of the genes of `recommender_space`, `classic_space` or `training_free_space`.
        train: the touches; nothing else is seen.
        validate: scores a model, to stop by; as in `train.fit`. Not asked for classics, nor are the following.
        epochs: passes at most.
        patience: passes without a better validation before training stops.
        seconds: of training at most; the step at hand is finished.
        seed: of all draws, of classics too.
        on_epoch: called after each pass.

    Raises:
        InputError: the family is none of ours, or, of a training-free one, a gene has no such value.
    """
    if is_classic(genotype):
        return Built(build_classic(genotype, train, seed))
    if is_training_free(genotype):
        return Built(build_training_free(genotype, train, seed))
    if "family" in genotype:
        raise InputError(f"gene 'family': expected one of {[*CLASSICS, *TRAINING_FREE]}, got {genotype['family']!r}")
    fitted = train_genotype(
        genotype,
        train,
        validate=validate,
        epochs=epochs,
        patience=patience,
        seconds=seconds,
        seed=seed,
        on_epoch=on_epoch,
    )
    return Built(compress(genotype, fitted.model), fitted.epochs, fitted.best_epoch, fitted.stopped)


def train_genotype(
    genotype: Mapping[str, Any],
    train: Interactions,
    *,
    validate: Callable[[FactorModel], float] | None = None,
    epochs: int = 60,
    patience: int = 6,
    seconds: float = math.inf,
    seed: int = 0,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Fit:
    """Builds the graph of a log and trains the model that a genotype of `recommender_space` names, uncompressed.

    Args:
        genotype: values of the genes.
        train: the touches; nothing else is seen.
        validate: scores a model; as in `train.fit`.
        epochs: passes at most.
        patience: passes without a better validation before it stops.
        seconds: of training at most; the step at hand is finished.
        seed: of the first embeddings, the dropped edges and the draws.
        on_epoch: called after each pass.
    """
    users, items = n_users(train), n_items(train)
    weight = None
    if genotype.get("edge_decay") and train.timestamp is not None:
        weight = decay(train.timestamp, float(genotype["edge_half_life_days"]))
    graph = bipartite(
        train.user,
        train.item,
        users,
        items,
        weight,
        float(genotype["user_exponent"]),
        float(genotype["item_exponent"]),
    )
    net = LightGCN(
        graph,
        dim=int(genotype["dim"]),
        hops=int(genotype["hops"]),
        combine=genotype["combine"],
        edge_dropout=float(genotype["edge_dropout"]),
        free_users=bool(genotype["free_users"]),
        generator=torch.Generator().manual_seed(seed),
    )
    prior = None
    if genotype["prior"]:
        prior = time_prior(train, items, float(genotype.get("prior_half_life_days", math.inf)))
    options = TrainOptions(
        loss=genotype["loss"],
        lr=float(genotype["lr"]),
        weight_decay=float(genotype["weight_decay"]),
        batch=max(_SMALLEST_BATCH, len(train) // _STEPS_A_PASS),
        negatives=int(genotype.get("negatives", 1)),
        half_life_days=float(genotype["draw_half_life_days"]) if genotype.get("recent_draws") else math.inf,
        epochs=epochs,
        patience=patience,
        seconds=seconds,
        seed=seed + 1,  # not the stream that drew the embeddings
    )
    return fit(net, train, options, prior, validate, on_epoch)


def compress(genotype: Mapping[str, Any], model: FactorModel) -> FactorModel:
    """The trained model as its genotype wants it shipped."""
    return quantize_model(model, int(genotype["bits"]))
