"""Which recommenders need no training? Graph filters, walks, and linear models of the items."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from gnas_ext.data.interactions import n_items, n_users
from gnas_ext.errors import InputError
from gnas_ext.models.ease import MAX_ITEMS, fit_ease, refuse_if_large
from gnas_ext.models.graph_filter import fit_graph_filter
from gnas_ext.models.response import monomial, personalized_pagerank, plateau
from gnas_ext.models.slim import fit_slim
from gnas_ext.models.walk import fit_rp3beta, fit_walk
from gnas_ext.search.genes import Categorical, Float, Gene, Integer, LogFloat
from gnas_ext.search.space import SearchSpace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gnas_ext.data.interactions import Interactions
    from gnas_ext.models.base import Model
    from gnas_ext.models.graph_filter import Response
    from gnas_ext.search.genes import Conditions
    from gnas_ext.search.genotype import Genotype

FAMILIES = ("graph_filter", "rp3beta", "walk", "slim", "ease")
_LOW: Conditions = {"rank": [64, 128, 256, 512]}

# Published points, on the grid of the space; Turbo-CF's are those of its README for Gowalla and Yelp2018. RP3beta's are
# good ones on Gowalla's validation part, for none are published with its figures.
GF_CF: Mapping[str, Any] = {
    "family": "graph_filter",
    "response": "monomial",
    "square": 0.0,
    "cube": 0.0,
    "user_exponent": 0.5,
    "item_exponent": 0.5,
    "exponent": 0.0,
    "rank": 256,
    "low_weight": 0.3,
    "low_exponent": 0.5,
}
CHEBYCF: Mapping[str, Any] = {
    "family": "graph_filter",
    "response": "chebyshev",
    "order": 8,
    "flatness": 1.5,
    "user_exponent": 0.5,
    "item_exponent": 0.5,
    "exponent": 0.4,
    "rank": 512,
    "low_weight": 0.2,
    "low_exponent": 0.4,
}
TURBO_CF_LINEAR: Mapping[str, Any] = {
    "family": "walk",
    "source": 0.4,
    "user": 1.2,
    "target": 0.4,
    "power": 0.7,
    "keep_self": True,
    "neighbours": 1000,
}
TURBO_CF_SECOND: Mapping[str, Any] = {
    "family": "graph_filter",
    "response": "monomial",
    "square": -0.5,
    "cube": 0.0,
    "user_exponent": 0.6,
    "item_exponent": 0.4,
    "exponent": 0.0,
    "rank": 0,
}
RP3BETA: Mapping[str, Any] = {"family": "rp3beta", "alpha": 0.8, "beta": 0.3, "normalize": True, "neighbours": 100}
SLIM: Mapping[str, Any] = {"family": "slim", "neighbours": 100, "l1": 0.0, "l2": 100.0, "positive": False}
EASE: Mapping[str, Any] = {"family": "ease", "l2": 100.0}
# What genotypes meant that were made before these genes.
_BEFORE: Mapping[str, Any] = {"normalize": False}


def training_free_space(items: int) -> SearchSpace:
    """The space of what is solved, not trained; EASE^R is there only where its table fits (`models.fit_ease`).

    Args:
        items: of the catalogue.

    Genes:
        family: "graph_filter", "rp3beta", "walk", "slim" or "ease" (see `models`).
        response: of a graph_filter: "monomial" lambda + square lambda^2 + cube lambda^3, "chebyshev" with order and
            flatness, or "pagerank" with hops and restart (see `models.response`).
        user_exponent, item_exponent, exponent, rank, low_weight, low_exponent: see `models.fit_graph_filter`.
        alpha, beta, normalize: of rp3beta. source, user, target, power, keep_self: of a walk.
        neighbours: of both, and of slim. l1, positive: of slim. l2: of slim and ease.
    """
    families = [name for name in FAMILIES if name != "ease" or items <= MAX_ITEMS]
    graph = {"family": ["graph_filter"]}
    walk = {"family": ["walk"]}
    pruned = {"family": ["rp3beta", "walk", "slim"]}

    def share(when: Conditions) -> Float:
        return Float(0.0, 1.0, levels=11, when=when)

    genes: dict[str, Gene] = {
        "family": Categorical(families),
        "response": Categorical(["monomial", "chebyshev", "pagerank"], when=graph),
        "square": Float(-1.0, 1.0, levels=9, when={"response": ["monomial"]}),
        "cube": Float(-0.5, 0.5, levels=9, when={"response": ["monomial"]}),
        "order": Integer(1, 16, when={"response": ["chebyshev"]}),
        "flatness": Categorical([0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 15.0], True, when={"response": ["chebyshev"]}),
        "hops": Integer(1, 8, when={"response": ["pagerank"]}),
        "restart": Float(0.1, 0.9, levels=9, when={"response": ["pagerank"]}),
        "user_exponent": share(graph),
        "item_exponent": share(graph),
        "exponent": share(graph),
        "rank": Categorical([0, *_LOW["rank"]], ordered=True, when=graph),
        "low_weight": Float(0.1, 1.0, levels=10, when=_LOW),
        "low_exponent": share(_LOW),
        "alpha": Float(0.2, 2.0, levels=19, when={"family": ["rp3beta"]}),
        "beta": share({"family": ["rp3beta"]}),
        "normalize": Categorical([False, True], when={"family": ["rp3beta"]}),
        "source": Float(0.0, 1.4, levels=15, when=walk),
        "user": Float(0.0, 1.4, levels=15, when=walk),
        "target": Float(0.0, 1.4, levels=15, when=walk),
        "power": Categorical([0.5, 0.7, 1.0, 1.4, 2.0], ordered=True, when=walk),
        "keep_self": Categorical([False, True], when=walk),
        "neighbours": Categorical([20, 50, 100, 200, 500, 1000], ordered=True, when=pruned),
        "l1": Categorical([0.0, 0.1, 0.3, 1.0, 3.0], ordered=True, when={"family": ["slim"]}),
        "positive": Categorical([False, True], when={"family": ["slim"]}),
        "l2": LogFloat(1.0, 10_000.0, levels=9, when={"family": families[families.index("slim") :]}),
    }
    return SearchSpace(genes)


def training_free_recipes(space: SearchSpace) -> list[dict[str, Any]]:
    """Where a search begins: the published points that the space has."""
    recipes = (GF_CF, CHEBYCF, TURBO_CF_LINEAR, TURBO_CF_SECOND, RP3BETA, SLIM, EASE)
    return [dict(recipe) for recipe in recipes if recipe["family"] in space.genes["family"].values]


def is_training_free(genotype: Mapping[str, Any]) -> bool:
    """Whether a genotype is one of `training_free_space`."""
    return genotype.get("family") in FAMILIES


def build_training_free(
    genotype: Mapping[str, Any], train: Interactions, seed: int = 0, seconds: float = math.inf
) -> Model:
    """The model that a genotype of `training_free_space` names.

    Args:
        genotype: values of the genes.
        train: the touches; nothing else is seen.
        seed: of the block that a filter's vectors are found from; the others draw nothing.
        seconds: that SLIM may take, the only one of these that can take hours where the others take a minute.

    Raises:
        InputError: a gene is unknown, missing or has no such value, or EASE^R is asked for too many items; the message
            names the gene.
        TimeoutError: SLIM would take longer.
    """
    users, items = n_users(train), n_items(train)
    if genotype.get("family") == "ease":
        try:
            refuse_if_large(items)
        except InputError as error:
            raise InputError(f"gene 'family': {error}") from None
    found = training_free_space(items).genotype({**_BEFORE, **genotype})
    options: dict[str, Any] = {name: value for name, value in found.items() if name != "family"}
    match found["family"]:
        case "graph_filter":
            return fit_graph_filter(train, users, items, **_filter_options(found), seed=seed)
        case "rp3beta":
            return fit_rp3beta(train, users, items, **options)
        case "walk":
            return fit_walk(train, users, items, **options)
        case "slim":
            return fit_slim(train, users, items, **options, seconds=seconds)
    return fit_ease(train, users, items, **options)


def _filter_options(genotype: Genotype) -> dict[str, Any]:
    named = ("user_exponent", "item_exponent", "exponent", "rank", "low_weight", "low_exponent")
    return {"response": _response(genotype), **{name: genotype[name] for name in named if name in genotype}}


def _response(genotype: Mapping[str, Any]) -> Response:
    match genotype["response"]:
        case "monomial":
            return partial(monomial, [0.0, 1.0, genotype["square"], genotype["cube"]])
        case "chebyshev":
            return partial(plateau, genotype["order"], genotype["flatness"])
    return partial(personalized_pagerank, genotype["hops"], genotype["restart"])
