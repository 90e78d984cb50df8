"""LightGCN's layer (He et al., 2020): the sum over neighbours, each over the roots of both degrees, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from gnas_ext.nn._aggregate import aggregate, reduce_of
from gnas_ext.nn._edges import edges_of
from gnas_ext.nn._weights import weights_of
from gnas_ext.nn.norm import normalized

if TYPE_CHECKING:
    from gnas_ext.graph.csr import CSR
    from gnas_ext.nn._edges import Flow


class LGConv(nn.Module):
    """PyG's `LGConv`: out[i] = sum over e = (j, i) of w[e] / sqrt(degree(i) degree(j)) * x[j]. No parameters.

    Args:
        normalize: whether weights are divided by the roots of both degrees.
        aggr: "add" (or "sum"), "mean", "max" or "min" over neighbours.
        flow: "source_to_target": edge_index[0] sends to edge_index[1]; or "target_to_source".
    """

    def __init__(self, normalize: bool = True, *, aggr: str = "add", flow: Flow = "source_to_target") -> None:
        super().__init__()
        self.normalize = normalize
        self.aggr = aggr
        self.flow: Flow = flow
        self._reduce = reduce_of("LGConv", aggr)

    def reset_parameters(self) -> None:
        """Does nothing: there are none."""

    def forward(self, x: Tensor, edge_index: Tensor | CSR, edge_weight: Tensor | None = None) -> Tensor:
        """One layer.

        Args:
            x: [..., nodes, width].
            edge_index: [2, edges], int32 or int64; or a CSR of shape [nodes, nodes], whose weights are the edges'.
            edge_weight: [edges], not with a CSR.

        Returns:
            [..., nodes, width].

        Raises:
            ValueError, TypeError: a shape, a dtype or a node that does not fit.
        """
        nodes = x.shape[-2]
        weight = weights_of("LGConv", edge_index, edge_weight)
        edges = edges_of("LGConv", edge_index, nodes, nodes, flow=self.flow)
        if self.normalize:
            graph = normalized(edges, weight, 1.0, x.dtype)
        else:
            graph = edges.csr.with_weight(None if weight is None else edges.in_order(weight.to(x.dtype)))
        return aggregate(graph, x, self._reduce)

    def __repr__(self) -> str:
        return "LGConv()"
