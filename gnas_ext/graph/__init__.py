"""Graphs: the CSR that every op takes, and how a log becomes one."""

from gnas_ext.graph.csr import CSR

__all__ = ["CSR"]
