"""Graphs: the CSR that every op takes, and how a log becomes one."""

from gnas_ext.graph.bipartite import bipartite, decay
from gnas_ext.graph.csr import CSR
from gnas_ext.graph.normalize import normalize, weighted_degree

__all__ = ["CSR", "bipartite", "decay", "normalize", "weighted_degree"]
