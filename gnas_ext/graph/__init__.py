"""Graphs: the CSR that every op takes, and how a log becomes one."""

from gnas_ext.graph.bipartite import bipartite, decay
from gnas_ext.graph.csr import CSR
from gnas_ext.graph.normalize import normalize, weighted_degree
from gnas_ext.graph.sample import Neighbors, Sample, sample_neighbors, sample_subgraph

__all__ = [
    "CSR",
    "Neighbors",
    "Sample",
    "bipartite",
    "decay",
    "normalize",
    "sample_neighbors",
    "sample_subgraph",
    "weighted_degree",
]
