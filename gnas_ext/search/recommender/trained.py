"""How does a genotype become a trained model: its graph, its net, its training?"""

from __future__ import annotations

import math
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import torch

from gnas_ext.data.interactions import n_items, n_users
from gnas_ext.graph.bipartite import bipartite, decay
from gnas_ext.graph.csr import CSR
from gnas_ext.graph.normalize import normalize
from gnas_ext.models.int8_factors import Int8Factors
from gnas_ext.models.itemknn import fit_item_knn
from gnas_ext.models.lightgcn import LightGCN
from gnas_ext.models.prior import time_prior
from gnas_ext.models.spectral import spectral_start
from gnas_ext.train.loop import fit
from gnas_ext.train.options import TrainOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gnas_ext.data.interactions import Interactions
    from gnas_ext.models.factors import FactorModel
    from gnas_ext.train.loop import Epoch, Fit

# Every step carries all embeddings over the whole graph, so a pass over a large log takes large steps.
_SMALLEST_BATCH = 2048
_STEPS_A_PASS = 100
# Genes that are options of the net, and of the training, by the same name.
_NET = (
    "combine",
    "free_users",
    "restart",
    "loop",
    "residual",
    "attention",
    "transform",
    "transform_bits",
    "item_share",
    "edge_dropout",
    "edges_kept",
    "edge_scores",
    "settled_share",
)
_TRAINING = {field.name for field in fields(TrainOptions)} - {"epochs", "half_life_days"}


def usual_batch(touches: int) -> int:
    """How many touches a step takes, of a log that has so many."""
    return max(_SMALLEST_BATCH, touches // _STEPS_A_PASS)


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
    """Builds the graph of a log and trains the model that a genotype names, uncompressed.

    Args:
        genotype: values of the genes of `recommender_space` or `embedding_space`.
        train: the touches; nothing else is seen.
        validate: scores a model; as in `train.fit`.
        epochs: passes at most; a genotype may name fewer.
        patience: passes without a better validation before it stops.
        seconds: of training at most; the step at hand is finished.
        seed: of the first embeddings, the dropped edges and the draws.
        on_epoch: called after each pass.
    """
    prior = None
    if genotype.get("prior"):
        prior = time_prior(train, n_items(train), float(genotype.get("prior_half_life_days", math.inf)))
    chosen = {name: value for name, value in genotype.items() if name in _TRAINING}
    options = TrainOptions(
        **{"batch": usual_batch(len(train)), "negatives": 1} | chosen,
        half_life_days=float(genotype["draw_half_life_days"]) if genotype.get("recent_draws") else math.inf,
        epochs=min(epochs, int(genotype.get("epochs", epochs))),
        patience=patience,
        seconds=seconds,
        seed=seed + 1,  # not the stream that drew the embeddings
    )
    return fit(_net(genotype, train, seed), train, options, prior, validate, on_epoch)


def _net(genotype: Mapping[str, Any], train: Interactions, seed: int) -> LightGCN | Int8Factors:
    users, items = n_users(train), n_items(train)
    weight = None
    if genotype.get("edge_decay") and train.timestamp is not None:
        weight = decay(train.timestamp, float(genotype["edge_half_life_days"]))
    exponents = float(genotype["user_exponent"]), float(genotype["item_exponent"])
    graph = bipartite(train.user, train.item, users, items, weight, *exponents)
    dim = int(genotype["dim"])
    generator = torch.Generator().manual_seed(seed)
    chosen = {name: genotype[name] for name in _NET if name in genotype}
    if genotype.get("start") == "spectral":
        chosen["start"] = spectral_start(graph, dim, generator)
    if genotype.get("optimizer") == "int8_adagrad":
        return Int8Factors(graph, dim, generator, chosen.get("start"))
    if genotype.get("item_neighbours"):
        chosen["item_graph"] = _item_graph(train, users, items, int(genotype["item_neighbours"]))
    return LightGCN(graph, dim, int(genotype["hops"]), generator=generator, **chosen)


def _item_graph(train: Interactions, users: int, items: int, neighbours: int) -> CSR:
    """Each item's nearest others by cosine, weights of a row adding up to 1, [items, items]."""
    similar = fit_item_knn(train, users, items, neighbours=neighbours, shrinkage=0.0).similarity
    return normalize(CSR.from_scipy(similar), 1.0, 0.0)
