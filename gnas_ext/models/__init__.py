"""What recommends: model families, the form in which they are shipped, and the classics that they must beat.

Everything here satisfies `Model`. A classic is fitted by a function, `fit_<name>(train, n_users, n_items, *, options)`,
and what it returns is finished: nothing of it changes afterwards.
"""

from gnas_ext.models.base import HistoryModel, Model, Ranker
from gnas_ext.models.coded import CodedModel, GroupedTable, PackedTable, ProductTable
from gnas_ext.models.ease import ItemWeights, fit_ease
from gnas_ext.models.factors import FactorModel, Table
from gnas_ext.models.graph_filter import GraphFilter, fit_graph_filter
from gnas_ext.models.itemknn import ItemKNN, fit_item_knn
from gnas_ext.models.matrix_factorization import fit_matrix_factorization
from gnas_ext.models.mixture import Mixture
from gnas_ext.models.popularity import (
    Popularity,
    decayed_counts,
    fit_decayed_popularity,
    fit_popularity,
    fit_recent_popularity,
)
from gnas_ext.models.slim import fit_slim
from gnas_ext.models.walk import fit_rp3beta, fit_walk

__all__ = [
    "CodedModel",
    "FactorModel",
    "GraphFilter",
    "GroupedTable",
    "HistoryModel",
    "ItemKNN",
    "ItemWeights",
    "Mixture",
    "Model",
    "PackedTable",
    "Popularity",
    "ProductTable",
    "Ranker",
    "Table",
    "decayed_counts",
    "fit_decayed_popularity",
    "fit_ease",
    "fit_graph_filter",
    "fit_item_knn",
    "fit_matrix_factorization",
    "fit_popularity",
    "fit_recent_popularity",
    "fit_rp3beta",
    "fit_slim",
    "fit_walk",
]
