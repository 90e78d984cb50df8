"""Which recommenders can be found at all? Every family in one space, so that a search compares them on one log."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gnas_ext.data.interactions import n_items
from gnas_ext.search.genes import Categorical, Gene
from gnas_ext.search.recommender.classic import classic_space
from gnas_ext.search.recommender.embeddings import LIGHTGCN, MULTINOMIAL, SOFTMAX, TAUGHT, embedding_space
from gnas_ext.search.recommender.sequence import is_sequence
from gnas_ext.search.recommender.space import fading, fit_recipe
from gnas_ext.search.recommender.trained import usual_batch
from gnas_ext.search.recommender.training_free import (
    CHEBYCF,
    EASE,
    GF_CF,
    RP3BETA,
    SLIM,
    TURBO_CF_LINEAR,
    training_free_space,
)
from gnas_ext.search.space import SearchSpace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gnas_ext.data.interactions import Interactions

_ITEM_KNN: Mapping[str, Any] = {"family": "item_knn", "classic.neighbours": 100, "shrinkage": 10}
_FACTORS: Mapping[str, Any] = {"family": "matrix_factorization", "classic.dim": 64, "bits": 8}
# The same tables as TAUGHT's, and a teacher that is better on Gowalla's validation part.
_BY_SLIM: Mapping[str, Any] = {**TAUGHT, "teacher": "slim"}
# What the recipes of `recommender_space` leave to the training loop, beside the size of a batch.
_TRAINED: Mapping[str, Any] = {"family": "graph_embeddings", "lr": 0.005, "epochs": 80}


def whole_space(train: Interactions) -> SearchSpace:
    """The spaces of trained embeddings, of what is solved, and of classics, as one.

    Genes:
        family: which of them; the rest is as in `embedding_space`, `training_free_space` and `classic_space`. A name
            that means another thing in an earlier one of these has the later one's before it, as in "classic.dim".
    """
    parts = {
        "trained": embedding_space(train),
        "training_free": training_free_space(n_items(train)),
        "classic": classic_space(train),
    }
    families = [family for part in parts.values() for family in part.genes["family"].values]
    genes: dict[str, Gene] = {"family": Categorical(families)}
    for label, part in parts.items():
        _add(genes, label, part)
    return SearchSpace(genes, is_sequence)


def whole_recipes(space: SearchSpace, train: Interactions) -> list[dict[str, Any]]:
    """Where a search begins: what is strong and soon done comes first, for a large log may see no more."""
    batches = [value for value in space.genes["batch"].values if isinstance(value, int)]
    batch = min(batches, key=lambda value: abs(math.log(value / usual_batch(len(train)))))
    small = [{**recipe, **_TRAINED, "batch": batch} for recipe in fading(space)]
    solved = (GF_CF, TURBO_CF_LINEAR, _ITEM_KNN)
    if "prior_half_life_days" in space.genes:
        recipes = (CHEBYCF, *small, MULTINOMIAL, RP3BETA, SLIM, TAUGHT, _BY_SLIM, *solved, SOFTMAX)
    else:
        # What small models learn beside is then a popularity that does not fade.
        recipes = (CHEBYCF, RP3BETA, SLIM, MULTINOMIAL, TAUGHT, _BY_SLIM, *solved, SOFTMAX, *small)
    recipes = (*recipes, EASE, _FACTORS, LIGHTGCN)
    families = space.genes["family"].values
    return [fit_recipe(space, dict(recipe)) for recipe in recipes if recipe["family"] in families]


def plain(genotype: Mapping[str, Any]) -> dict[str, Any]:
    """A genotype of the whole space as one of the space of its family, which is what builds it."""
    return {name.rpartition(".")[2]: value for name, value in genotype.items()}


def _add(genes: dict[str, Gene], label: str, part: SearchSpace) -> None:
    """Adds the genes of a part, alive only for its families; a gene that is there already is shared."""
    names: dict[str, str] = {"family": "family"}
    for name, gene in part.genes.items():
        if name == "family":
            continue
        when = {names[other]: values for other, values in gene.when.items()} or {"family": part.genes["family"].values}
        known = genes.get(name)
        if known is not None and known == replace(gene, when=when):
            # It hangs on genes that are shared themselves.
            names[name] = name
        elif (
            known is not None
            and replace(known, when={}) == replace(gene, when={})
            and {*known.when, *when} == {"family"}
        ):
            names[name] = name
            genes[name] = replace(known, when={"family": [*known.when["family"], *when["family"]]})
        else:
            names[name] = name if known is None else f"{label}.{name}"
            genes[names[name]] = replace(gene, when=when)
