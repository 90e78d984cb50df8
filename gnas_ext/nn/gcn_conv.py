"""GCN (Kipf and Welling, 2017): a linear layer, then the sum over neighbours, each over the roots of both degrees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gnas_ext.nn._aggregate import aggregate, reduce_of
from gnas_ext.nn._edges import edges_of
from gnas_ext.nn._linear import linear
from gnas_ext.nn._weights import weights_of
from gnas_ext.nn.norm import normalized

if TYPE_CHECKING:
    from gnas_ext.graph.csr import CSR
    from gnas_ext.nn._edges import Flow


class GCNConv(nn.Module):
    """PyG's `GCNConv`: out[i] = sum over e = (j, i) of w[e] / sqrt(degree(i) degree(j)) * W x[j], plus a bias.

    Args:
        in_channels: width of x; -1 to take that of the first input.
        out_channels: width of the output.
        improved: added loops weigh 2 rather than 1; like PyG's, only where edge weights are given.
        cached: the first graph is normalised once and used for every call, whatever edge_index is passed then.
        add_self_loops: each node gets an edge to itself unless it has one; by default where `normalize` is on.
        normalize: whether weights are divided by the roots of both degrees.
        bias: whether there is one.
        aggr: "add" (or "sum"), "mean", "max" or "min" over neighbours.
        flow: "source_to_target": edge_index[0] sends to edge_index[1]; or "target_to_source".

    Parameters are named as PyG's: `lin.weight` [out_channels, in_channels] and `bias` [out_channels].
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        improved: bool = False,
        cached: bool = False,
        add_self_loops: bool | None = None,
        normalize: bool = True,
        bias: bool = True,
        *,
        aggr: str = "add",
        flow: Flow = "source_to_target",
    ) -> None:
        super().__init__()
        add_self_loops = normalize if add_self_loops is None else add_self_loops
        if add_self_loops and not normalize:
            raise ValueError("GCNConv: add_self_loops needs normalize=True, as in PyG")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.improved = improved
        self.cached = cached
        self.add_self_loops = add_self_loops
        self.normalize = normalize
        self.aggr = aggr
        self.flow: Flow = flow
        self._reduce = reduce_of("GCNConv", aggr)
        self._cached: CSR | None = None
        self.lin = linear(in_channels, out_channels, bias=False, glorot=True)
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None

    def reset_parameters(self) -> None:
        """Draws the weights anew and forgets a cached graph."""
        self.lin.reset_parameters()
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        self._cached = None

    def forward(self, x: Tensor, edge_index: Tensor | CSR, edge_weight: Tensor | None = None) -> Tensor:
        """One layer.

        Args:
            x: [..., nodes, in_channels].
            edge_index: [2, edges], int32 or int64; or a CSR of shape [nodes, nodes], whose weights are the edges'.
            edge_weight: [edges], not with a CSR.

        Returns:
            [..., nodes, out_channels].

        Raises:
            ValueError, TypeError: a shape, a dtype or a node that does not fit.
        """
        if not isinstance(x, Tensor):
            raise ValueError("GCNConv: expected one x for all nodes, got a pair; SAGEConv takes pairs, as in PyG")
        # The order that moves fewer numbers along edges; the same width, and x itself needs no gradient through them.
        first = self._reduce in ("sum", "mean") and 0 < self.in_channels <= self.out_channels
        if not first:
            x = self.lin(x)
        out = aggregate(self._graph(x, edge_index, edge_weight), x, self._reduce)
        if first:
            out = self.lin(out)
        return out if self.bias is None else out + self.bias

    def _graph(self, x: Tensor, edge_index: Tensor | CSR, edge_weight: Tensor | None) -> CSR:
        if self._cached is not None:
            return self._cached
        nodes = x.shape[-2]
        weight = weights_of("GCNConv", edge_index, edge_weight)
        edges = edges_of("GCNConv", edge_index, nodes, nodes, self.add_self_loops, self.flow)
        if self.normalize:
            graph = normalized(edges, weight, 2.0 if self.improved else 1.0, x.dtype)
        else:
            graph = edges.csr.with_weight(None if weight is None else edges.in_order(weight.to(x.dtype)))
        if self.cached and self.normalize:
            self._cached = graph
        return graph

    def __repr__(self) -> str:
        return f"GCNConv({self.in_channels}, {self.out_channels})"
