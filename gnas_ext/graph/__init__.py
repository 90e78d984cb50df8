"""Graphs: the CSR that every op takes, and how a log becomes one."""

from gnas_ext.graph.bipartite import bipartite, decay
from gnas_ext.graph.csr import CSR
from gnas_ext.graph.normalize import normalize, weighted_degree
from gnas_ext.graph.order import Reordered
from gnas_ext.graph.product import spspmm_topk
from gnas_ext.graph.sample import Neighbors, Sample, sample_neighbors, sample_subgraph
from gnas_ext.graph.select import Fold, fold_rows
from gnas_ext.graph.subgraph import Core, Subgraph, coalesce, induced_subgraph, k_core

__all__ = [
    "CSR",
    "Core",
    "Fold",
    "Neighbors",
    "Reordered",
    "Sample",
    "Subgraph",
    "bipartite",
    "coalesce",
    "decay",
    "fold_rows",
    "induced_subgraph",
    "k_core",
    "normalize",
    "sample_neighbors",
    "sample_subgraph",
    "spspmm_topk",
    "weighted_degree",
]
