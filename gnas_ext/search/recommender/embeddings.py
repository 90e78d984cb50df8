"""Which recommenders can be trained? LightGCN and its neighbours as one space: graph, propagation, loss, negatives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gnas_ext.errors import InputError
from gnas_ext.search.genes import Categorical, Float, Gene, Integer, LogFloat
from gnas_ext.search.recommender.compression import PLAIN, further_genes
from gnas_ext.search.recommender.sequence import is_sequence
from gnas_ext.search.recommender.space import fit_recipe, recommender_space
from gnas_ext.search.recommender.taught import UNTAUGHT, teacher_genes
from gnas_ext.search.space import SearchSpace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gnas_ext.data.interactions import Interactions

FAMILIES = ("graph_embeddings",)

# What genotypes meant that were made before these genes.
UNTOUCHED: Mapping[str, Any] = {"edges_kept": 1.0, "settled_share": 0.0, "transform_bits": 32}

_PLAIN: Mapping[str, Any] = {
    "family": "graph_embeddings",
    "dim": 64,
    "start": "normal",
    "hops": 3,
    "combine": "mean",
    "free_users": True,
    "user_exponent": 0.5,
    "item_exponent": 0.5,
    "loop": 0.0,
    "residual": 0.0,
    "attention": False,
    "transform": "none",
    "edge_dropout": 0.0,
    **UNTOUCHED,
    "item_neighbours": 0,
    "prior": False,
    "bits": 32,
}
# He et al., 2020, LightGCN. Its hundreds of passes are cut short by `epochs` of `build`, 60 unless told otherwise.
LIGHTGCN: Mapping[str, Any] = {
    **_PLAIN,
    "loss": "bpr",
    "similarity": "dot",
    "negatives_from": "uniform",
    "avoid_known": True,
    "contrast": "none",
    "batch": 2048,
    "lr": 0.001,
    "cosine_lr": False,
    "weight_decay": 1e-4,
    "epochs": 640,
}
# LightGCN with the sampled softmax of cosines (Wu et al., 2022, On the effectiveness of sampled softmax loss for item
# recommendation), begun at the singular vectors.
SOFTMAX: Mapping[str, Any] = {
    **_PLAIN,
    "start": "spectral",
    "loss": "softmax",
    "similarity": "cosine",
    "temperature": 0.15,
    "negatives": 1024,
    "negatives_from": "uniform",
    "avoid_known": False,
    "corrected": False,
    "contrast": "none",
    "batch": 8192,
    "lr": 0.005,
    "cosine_lr": True,
    "weight_decay": 0.0,
    "epochs": 12,
}
# LightGCN with a softmax of cosines over all items (Liang et al., 2018), beside log popularity.
MULTINOMIAL: Mapping[str, Any] = {
    **_PLAIN,
    "start": "spectral",
    "prior": True,
    "loss": "multinomial",
    "similarity": "cosine",
    "temperature": 0.12,
    "contrast": "none",
    "batch": 16_384,
    "lr": 0.04,
    "cosine_lr": True,
    "weight_decay": 0.0,
    "epochs": 8,
}
# The same, then solved for the lists of its mixture with a filter.
TAUGHT: Mapping[str, Any] = {**MULTINOMIAL, "teacher": "chebycf", "teacher_weight": 0.5}


def embedding_space(train: Interactions) -> SearchSpace:
    """The space of trained graph embeddings for a log.

    Genes beside those of `recommender_space`, whose values it widens:
        family: "graph_embeddings".
        start: first embeddings are drawn ("normal") or singular vectors of the graph ("spectral").
        restart, loop, residual, attention, transform: of the propagation (see `models.LightGCN`).
        transform_bits: of the maps and of what goes into them, while they learn.
        edges_kept, edge_scores, settled_share: of it, what is pruned: edges, and hops of the nodes touched most.
        item_neighbours, item_share: nearest items by cosine in a graph of items, 0 for none, and its share.
        similarity, temperature, negatives_from, avoid_known, corrected, margin, negative_weight, uniformity, contrast
        and its three, optimizer, batch, cosine_lr: of the training (see `train.TrainOptions`).
        epochs: passes at most.
        teacher, teacher_weight: a filter, or SLIM, that teaches what was trained (see `teacher_genes`).

    Genes are dead where they would contradict others: without hops, or with the last alone or layers side by side, no
    layer can be contrasted with the sum; with hops or a graph of items every row has a gradient, so that only "adam" is
    left of the optimizers; users must be free where they would stay zero; the last two losses know no prior.
    """
    base = dict(recommender_space(train).genes)
    propagated = {"hops": [1, 2, 3, 4]}
    summed = {"combine": ["mean", "halving", "pagerank", "learned"]}
    drawing = {"loss": ["bpr", "softmax", "cosine_contrastive"]}
    shared = {"loss": ["softmax", "cosine_contrastive"]}
    contrasted = {"contrast": ["views", "layers"]}
    genes: dict[str, Gene] = {
        "family": Categorical(list(FAMILIES)),
        "dim": Categorical([4, 8, 16, 32, 64, 128, 256], ordered=True),
        "start": Categorical(["normal", "spectral"]),
        "hops": Integer(0, 4),
        "combine": Categorical(["mean", "last", "halving", "pagerank", "learned", "concat"], when=propagated),
        "restart": Categorical([0.05, 0.1, 0.2, 0.4], True, when={"combine": ["pagerank"]}),
        # Else one side is zero for ever: users without hops, and one of the two in any last layer.
        "free_users": Categorical(
            [True, False], when={"combine": ["mean", "halving", "pagerank", "learned", "concat"]}
        ),
        "user_exponent": Float(0.0, 1.0, levels=11),
        "item_exponent": Float(0.0, 1.0, levels=11),
        "loop": Categorical([0.0, 0.1, 0.3, 1.0], True, when=propagated),
        "residual": Categorical([0.0, 0.1, 0.2, 0.5], True, when=propagated),
        "attention": Categorical([False, True], when=propagated),
        "transform": Categorical(["none", "linear", "relu"], when=propagated),
        "transform_bits": Categorical([32, 8, 4], ordered=True, when={"transform": ["linear", "relu"]}),
        "edge_dropout": Float(0.0, 0.8, levels=9, when={"attention": [False]}),
        "edges_kept": Categorical([1.0, 0.75, 0.5, 0.25], ordered=True, when={"attention": [False]}),
        "edge_scores": Categorical(["magnitude", "learned"], when={"edges_kept": [0.75, 0.5, 0.25]}),
        "settled_share": Categorical([0.0, 0.1, 0.25, 0.5], True, when={"attention": [False], "hops": [2, 3, 4]}),
        "item_neighbours": Categorical([0, 10, 20, 50], ordered=True),
        "item_share": Categorical([0.1, 0.3, 0.5, 0.7], True, when={"item_neighbours": [10, 20, 50]}),
        "loss": Categorical(["bpr", "softmax", "multinomial", "cosine_contrastive", "alignment_uniformity"]),
        "similarity": Categorical(["dot", "cosine"], when={"loss": ["bpr", "softmax", "multinomial"]}),
        "prior": Categorical([True, False], when={"loss": ["bpr", "softmax", "multinomial"]}),
        "temperature": Categorical(
            [0.05, 0.06, 0.07, 0.08, 0.1, 0.12, 0.15, 0.2, 0.3, 0.5, 1.0], True, when={"similarity": ["cosine"]}
        ),
        "negatives": Categorical([64, 256, 512, 1024, 2048, 4096], ordered=True, when=shared),
        "negatives_from": Categorical(["uniform", "popularity", "mixed", "batch"], when=drawing),
        "avoid_known": Categorical([False, True], when=drawing),
        "corrected": Categorical([False, True], when={"loss": ["softmax"]}),
        "margin": Categorical([0.0, 0.2, 0.4, 0.6, 0.8, 0.9], True, when={"loss": ["cosine_contrastive"]}),
        "negative_weight": LogFloat(1.0, 1000.0, levels=7, when={"loss": ["cosine_contrastive"]}),
        "uniformity": Categorical([0.2, 0.5, 1.0, 2.0, 5.0], True, when={"loss": ["alignment_uniformity"]}),
        "contrast": Categorical(["none", "views", "layers"], when=summed),
        "contrast_weight": Categorical([0.05, 0.1, 0.2, 0.5, 1.0], True, when=contrasted),
        "contrast_noise": Categorical([0.05, 0.1, 0.2, 0.4], True, when=contrasted),
        "contrast_temperature": Categorical([0.1, 0.15, 0.2, 0.3], True, when=contrasted),
        "optimizer": Categorical(
            ["adam", "lazy_adam", "rowwise_adagrad", "int8_adagrad"], when={"hops": [0], "item_neighbours": [0]}
        ),
        "batch": Categorical([512, 1024, 2048, 4096, 8192, 16_384, 32_768], ordered=True),
        "lr": Categorical([0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.08], ordered=True),
        "cosine_lr": Categorical([False, True]),
        "weight_decay": Categorical([0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1], ordered=True),
        "epochs": Categorical([5, 8, 12, 16, 20, 30, 40, 80, 160, 320, 640], ordered=True),
        **teacher_genes(),
        **further_genes(),
    }
    if "recent_draws" in base:
        genes["recent_draws"] = Categorical([False, True], when={"loss": [*drawing["loss"], "alignment_uniformity"]})
    return SearchSpace(genes | {name: gene for name, gene in base.items() if name not in genes}, is_sequence)


def embedding_recipes(space: SearchSpace) -> list[dict[str, Any]]:
    """Where a search begins: LightGCN as published, with losses that need fewer passes, and taught by a filter."""
    return [fit_recipe(space, dict(recipe)) for recipe in (LIGHTGCN, SOFTMAX, MULTINOMIAL, TAUGHT)]


def live_genes(genotype: Mapping[str, Any], train: Interactions) -> dict[str, Any]:
    """The genes of an embedding that matter, checked.

    Half-lives may be any number of days: the levels of their genes are those of the log that was searched, and what is
    trained in the end has more of it. Genes of compression that are missing leave the model as it is.

    Raises:
        InputError: a gene is unknown, missing or has no such value; the message names it.
    """
    space = embedding_space(train)
    genotype = {**PLAIN, **UNTAUGHT, **UNTOUCHED, **genotype}
    days = {name: genotype[name] for name in space.genes if name.endswith("half_life_days") and name in genotype}
    for name, value in days.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
            raise InputError(f"gene {name!r}: expected days above 0, got {value!r}")
    found = space.genotype({**genotype, **{name: space.genes[name].values[0] for name in days}})
    return {**found, **{name: value for name, value in days.items() if name in found}}


def is_embedding(genotype: Mapping[str, Any]) -> bool:
    """Whether a genotype is one of `embedding_space`."""
    return genotype.get("family") in FAMILIES
