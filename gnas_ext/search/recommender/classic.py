"""Which recommenders can be found where no graph is wanted? Popularity, neighbours of items, and factors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gnas_ext.data.interactions import n_items, n_users
from gnas_ext.models.factors import FactorModel
from gnas_ext.models.itemknn import fit_item_knn
from gnas_ext.models.matrix_factorization import fit_matrix_factorization
from gnas_ext.models.popularity import fit_decayed_popularity, fit_popularity
from gnas_ext.search.genes import Categorical, Gene, LogFloat
from gnas_ext.search.recommender.compression import compress, further_genes
from gnas_ext.search.recommender.sequence import is_sequence
from gnas_ext.search.recommender.space import fit_recipe, half_life, span_days
from gnas_ext.search.space import SearchSpace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gnas_ext.data.interactions import Interactions
    from gnas_ext.models.base import Model

FAMILIES = ("popularity", "decayed_popularity", "item_knn", "matrix_factorization")


def classic_space(train: Interactions) -> SearchSpace:
    """The space of classics for a log; decayed popularity is there only where the log has times.

    Genes:
        family: "popularity", "decayed_popularity", "item_knn" or "matrix_factorization" (see `models`).
        neighbours, shrinkage: of item_knn.
        dim, unseen_weight, regularization: of matrix_factorization.
        columns_kept, codes, bits …: how its factors are stored (see `further_genes`).
        half_life_days: of decayed_popularity.
    """
    days = span_days(train)
    factors = {"family": ["matrix_factorization"]}
    genes: dict[str, Gene] = {
        "family": Categorical([name for name in FAMILIES if name != "decayed_popularity" or days is not None]),
        "neighbours": Categorical([10, 20, 50, 100, 200], ordered=True, when={"family": ["item_knn"]}),
        "shrinkage": Categorical([0, 3, 10, 30, 100], ordered=True, when={"family": ["item_knn"]}),
        "dim": Categorical([4, 8, 16, 32, 64, 128], ordered=True, when=factors),
        "unseen_weight": LogFloat(1e-4, 1.0, levels=9, when=factors),
        "regularization": LogFloat(0.1, 100.0, levels=7, when=factors),
        **further_genes(factors),
    }
    if days is not None:
        genes["half_life_days"] = half_life(days, {"family": ["decayed_popularity"]})
    return SearchSpace(genes, is_sequence)


def classic_recipes(space: SearchSpace) -> list[dict[str, Any]]:
    """Where a search begins: each family once, with middling values."""
    middling = {"neighbours": 100, "shrinkage": 10, "dim": 64, "bits": 8}
    return [fit_recipe(space, {"family": family, **middling}) for family in space.genes["family"].values]


def is_classic(genotype: Mapping[str, Any]) -> bool:
    """Whether a genotype is one of `classic_space`."""
    return genotype.get("family") in FAMILIES


def build_classic(genotype: Mapping[str, Any], train: Interactions, seed: int = 0) -> Model:
    """The model that a genotype of `classic_space` names, compressed; as of `fit_classic`."""
    model = fit_classic(genotype, train, seed)
    return compress(genotype, model, train, seed) if isinstance(model, FactorModel) else model


def fit_classic(genotype: Mapping[str, Any], train: Interactions, seed: int = 0) -> Model:
    """The model that a genotype of `classic_space` names, as it was found.

    Args:
        genotype: values of the genes.
        train: the touches; nothing else is seen.
        seed: of the first factors of a matrix factorisation; the others draw nothing.
    """
    users, items = n_users(train), n_items(train)
    match genotype["family"]:
        case "popularity":
            return fit_popularity(train, users, items)
        case "decayed_popularity":
            return fit_decayed_popularity(train, users, items, half_life_days=float(genotype["half_life_days"]))
        case "item_knn":
            return fit_item_knn(
                train,
                users,
                items,
                neighbours=int(genotype["neighbours"]),
                shrinkage=float(genotype["shrinkage"]),
            )
        case "matrix_factorization":
            return fit_matrix_factorization(
                train,
                users,
                items,
                dim=int(genotype["dim"]),
                unseen_weight=float(genotype["unseen_weight"]),
                regularization=float(genotype["regularization"]),
                seed=seed,
            )
    raise ValueError(f"fit_classic: expected a family of {', '.join(FAMILIES)}, got {genotype['family']!r}")
