"""What recommends: model families, the form in which they are shipped, and the classics that they must beat.

Everything here satisfies `Model`. A classic is fitted by a function, `fit_<name>(train, n_users, n_items, *, options)`,
and what it returns is finished: nothing of it changes afterwards.
"""

from gnas_ext.models.base import Model, Ranker
from gnas_ext.models.factors import FactorModel, Table
from gnas_ext.models.graph_filter import GraphFilter, fit_graph_filter
from gnas_ext.models.itemknn import ItemKNN, fit_item_knn
from gnas_ext.models.matrix_factorization import fit_matrix_factorization
from gnas_ext.models.popularity import (
    Popularity,
    decayed_counts,
    fit_decayed_popularity,
    fit_popularity,
    fit_recent_popularity,
)

__all__ = [
    "FactorModel",
    "GraphFilter",
    "ItemKNN",
    "Model",
    "Popularity",
    "Ranker",
    "Table",
    "decayed_counts",
    "fit_decayed_popularity",
    "fit_graph_filter",
    "fit_item_knn",
    "fit_matrix_factorization",
    "fit_popularity",
    "fit_recent_popularity",
]
