"""Who touched what, as one square graph in which users and items are nodes alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gnas_ext.graph.csr import CSR, Structure

if TYPE_CHECKING:
    from torch import Tensor


class JointGraph:
    """A = [[0, B], [B^T, 0]] of a graph B of users and items; users are the first nodes.

    Args:
        graph: B, [n_users, n_items], with weights; columns of a row in any order.

    Attributes:
        nodes: users and items.
        structure: A without weights, int32 or int64 as B.
        csr: A with B's weights. It is symmetric, and known to be: its transpose is itself and costs no sort. For
            products alone: a part of it is not symmetric (`settled`).
    """

    def __init__(self, graph: CSR) -> None:
        # In the order of its entries, which a transpose does not store its weights in.
        graph = graph.with_weight(graph.weight)
        back = graph.t()
        self.nodes = graph.rows + graph.cols
        indptr = torch.cat([graph.indptr, back.indptr[1:] + graph.nnz])
        indices = torch.cat([graph.indices + graph.rows, back.indices])
        # Where each entry's weight stands among B's.
        own = torch.arange(graph.nnz)
        self._place = torch.cat([own, own if back.edge is None else back.edge.long()])
        self.structure = CSR(indptr, indices, None, (self.nodes, self.nodes))
        same = Structure(indptr, indices, None)
        self._symmetric = CSR._unchecked(same, None, (self.nodes, self.nodes), {"transpose": same})
        assert graph.weight is not None
        self.csr = self.with_weight(graph.weight)

    def with_weight(self, weight: Tensor) -> CSR:
        """The graph with other weights of B's entries, [nnz], both ways alike."""
        return self._symmetric.with_weight(weight[self._place])

    def settled(self, asks: Tensor) -> SettledGraph:
        """A graph in which only some nodes ask their neighbours; the others stay as they are.

        Args:
            asks: bool, [nodes].
        """
        rows = asks.nonzero()[:, 0]
        few = self.structure.select_rows(rows)
        place = few.row_index().long()
        entry = (self.structure.indptr[rows] - few.indptr[:-1])[place] + torch.arange(few.nnz)
        stays = (~asks).nonzero()[:, 0]
        # One more weight behind those of B: of a node to itself.
        own = torch.full_like(stays, self.csr.nnz // 2)
        row = torch.cat([rows[place], stays])
        order = torch.argsort(row, stable=True)
        counts = torch.bincount(row, minlength=self.nodes)
        indptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)]).to(few.indptr.dtype)
        indices = torch.cat([few.indices, stays.to(few.indices.dtype)])[order]
        structure = CSR(indptr, indices, None, (self.nodes, self.nodes))
        return SettledGraph(structure, torch.cat([self._place[entry], own])[order])


class SettledGraph:
    """Rows of a joint graph for some nodes, a loop of weight 1 for the others.

    Args:
        structure: [nodes, nodes], without weights.
        place: where each entry's weight stands among B's; behind them for a loop.
    """

    def __init__(self, structure: CSR, place: Tensor) -> None:
        self._structure, self._place = structure, place

    def with_weight(self, weight: Tensor) -> CSR:
        """The graph with weights of B's entries, [nnz]."""
        return self._structure.with_weight(torch.cat([weight, weight.new_ones(1)])[self._place])
