"""Which recommenders can be found? The genes of a graph model, of how it is trained, and of how it is compressed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gnas_ext.search.genes import Categorical, Float, Gene, Integer, LogFloat
from gnas_ext.search.recommender.compression import compression_genes
from gnas_ext.search.space import SearchSpace

if TYPE_CHECKING:
    from gnas_ext.data.interactions import Interactions
    from gnas_ext.search.genes import Conditions

# A half-life of the whole log is hardly a decay; one of a 256th of it forgets nearly all.
_SHORTEST_HALF_LIFE = 1 / 256


def recommender_space(train: Interactions) -> SearchSpace:
    """The space for a log: genes about time are there only where the log has times, scaled to the span of its times.

    Genes:
        dim, hops, combine, free_users: the embeddings and their propagation (see `models.LightGCN`).
        user_exponent, item_exponent: normalisation of the graph (see `graph.bipartite`).
        edge_decay, edge_half_life_days: whether and how fast edges fade with age.
        edge_dropout: share of edges left out a step.
        prior, prior_half_life_days: whether popularity is scored beside the embeddings, and how fast it fades.
        loss, negatives, lr, weight_decay: training (see `train.TrainOptions`).
        recent_draws, draw_half_life_days: whether recent touches are shown more often, and how fast that fades.
        columns_kept, codes, bits …: how the embeddings are stored (see `compression_genes`).
    """
    genes: dict[str, Gene] = {
        "dim": Categorical([4, 8, 16, 32, 64], ordered=True),
        "hops": Integer(1, 4),
        "combine": Categorical(["mean", "last", "halving"]),
        "free_users": Categorical([True, False]),
        "user_exponent": Float(0.0, 1.0, levels=5),
        "item_exponent": Float(0.0, 1.0, levels=5),
        "edge_dropout": Float(0.0, 0.8, levels=5),
        "prior": Categorical([True, False]),
        "loss": Categorical(["bpr", "softmax"]),
        "negatives": Categorical([64, 256, 1024], ordered=True, when={"loss": ["softmax"]}),
        "lr": LogFloat(0.0005, 0.032, levels=7),
        "weight_decay": LogFloat(1e-5, 1e-1, levels=5),
        **compression_genes(),
    }
    days = span_days(train)
    if days is not None:
        genes |= {
            "prior_half_life_days": half_life(days, {"prior": [True]}),
            "edge_decay": Categorical([False, True]),
            "edge_half_life_days": half_life(days, {"edge_decay": [True]}),
            "recent_draws": Categorical([False, True]),
            "draw_half_life_days": half_life(days, {"recent_draws": [True]}),
        }
    return SearchSpace(genes)


def lightgcn_recipes(space: SearchSpace) -> list[dict[str, Any]]:
    """Plain LightGCN (He et al., 2020; 64 floats, 3 hops, mean, BPR, uncompressed) at three learning rates."""
    recipe = {
        "dim": 64,
        "hops": 3,
        "combine": "mean",
        "free_users": True,
        "user_exponent": 0.5,
        "item_exponent": 0.5,
        "edge_dropout": 0.0,
        "prior": False,
        "loss": "bpr",
        "weight_decay": 1e-4,
        "bits": 32,
    }
    return [fit_recipe(space, recipe | {"lr": lr}) for lr in (0.001, 0.004, 0.016)]


def recipes(space: SearchSpace) -> list[dict[str, Any]]:
    """Where a search begins: plain LightGCN, and small models beside a popularity that fades quickly or slowly."""
    return lightgcn_recipes(space) + [fit_recipe(space, recipe) for recipe in fading(space)]


def fading(space: SearchSpace) -> list[dict[str, Any]]:
    """Small models beside a popularity that fades quickly, and slowly; beside plain popularity, without times.

    Each in a byte a number, and the first also as a hybrid: pruned to half of its columns, taught what the whole one
    ranked, in codes that rank as it does. On MovieTweetings a quarter of the bytes has the same NDCG@20 then.
    """
    small: dict[str, Any] = {
        "dim": 16,
        "hops": 2,
        "combine": "mean",
        "free_users": True,
        "user_exponent": 0.5,
        "item_exponent": 1.0,
        "edge_dropout": 0.8,
        "prior": True,
        "loss": "softmax",
        "negatives": 256,
        "lr": 0.004,
        "weight_decay": 1e-2,
        "bits": 8,
    }
    hybrid = small | {"columns_kept": 0.5, "columns_taught": True, "codes": "refit", "columns_a_byte": 2}
    memories = space.genes.get("prior_half_life_days")
    if memories is None:
        return [small, hybrid]
    quick, slow = ({"prior_half_life_days": memories.values[place]} for place in (3, 5))
    return [small | quick, hybrid | quick, small | slow]


def fit_recipe(space: SearchSpace, recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe in terms of a space: without genes that it lacks, with a middle value for those it does not name.

    A gene without an order takes its first value.
    """
    fitting: dict[str, Any] = {}
    for name, gene in space.genes.items():
        if any(fitting.get(other) not in values for other, values in gene.when.items()):
            continue
        values = list(gene.values)
        if name in recipe:
            fitting[name] = recipe[name]
        elif isinstance(gene, LogFloat):
            fitting[name] = values[len(values) // 2]
        else:
            fitting[name] = values[0]
    return fitting


def half_life(days: float, when: Conditions) -> LogFloat:
    """A gene of half-lives in days, scaled to the days that a log spans."""
    return LogFloat(float(f"{days * _SHORTEST_HALF_LIFE:.3g}"), float(f"{days:.3g}"), 9, when=when)


def span_days(train: Interactions) -> float | None:
    """Days from the first touch to the last; None where the log has no times, or a single one."""
    if train.timestamp is None or len(train) == 0:
        return None
    days = float(train.timestamp.max() - train.timestamp.min()) / 86_400
    return days if days > 0 else None
