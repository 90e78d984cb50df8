"""Graph attention (Veličković et al., 2018): which neighbours does each node listen to?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gnas_ext.graph.csr import CSR
from gnas_ext.nn._aggregate import reduce_of
from gnas_ext.nn._attention import attend, attention_weights
from gnas_ext.nn._edges import edges_of
from gnas_ext.nn._linear import glorot_, linear
from gnas_ext.nn._pair import pair_of
from gnas_ext.ops.gat import gat
from gnas_ext.ops.spmm import spmm

if TYPE_CHECKING:
    from gnas_ext.nn._edges import Edges, Flow
    from gnas_ext.nn._pair import Pair


class GATConv(nn.Module):
    """PyG's `GATConv`: out[i] = sum over e = (j, i) of a[e] * W x[j], plus a bias, for each head.

    a[e] is the softmax over the edges that reach i of leaky_relu(att_src . W x[j] + att_dst . W x[i] + att_edge . W_e
    edge_attr[e]).

    Args:
        in_channels: width of x, or a pair for sources and targets, which then have weights of their own; -1 to take
            that of the first input.
        out_channels: width of a head.
        heads: how many.
        concat: heads stand side by side; otherwise they are averaged.
        negative_slope: of the leaky ReLU.
        dropout: share of the attention weights that training leaves out.
        add_self_loops: each node gets an edge to itself, in place of those it has.
        edge_dim: width of edge_attr; None where there is none.
        fill_value: edge_attr of the added loops: a number, a tensor [edge_dim], or "mean", "add" (or "sum"), "max" or
            "min" over the edges that reach the node.
        bias: whether there is one.
        residual: x[i] through a linear layer is added.
        flow: "source_to_target": edge_index[0] sends to edge_index[1]; or "target_to_source".

    Parameters are named as PyG's: `att_src`, `att_dst`, `att_edge` [1, heads, out_channels], `lin.weight` or
    `lin_src.weight` and `lin_dst.weight`, `lin_edge.weight`, `res.weight`, `bias`.

    Without dropout and edge_attr, nothing of edges x width and no weight an edge is ever stored.
    """

    def __init__(
        self,
        in_channels: int | tuple[int, int],
        out_channels: int,
        heads: int = 1,
        concat: bool = True,
        negative_slope: float = 0.2,
        dropout: float = 0.0,
        add_self_loops: bool = True,
        edge_dim: int | None = None,
        fill_value: float | Tensor | str = "mean",
        bias: bool = True,
        residual: bool = False,
        *,
        flow: Flow = "source_to_target",
    ) -> None:
        super().__init__()
        if isinstance(fill_value, str):
            reduce_of("GATConv", fill_value, "fill_value")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.heads = heads
        self.concat = concat
        self.negative_slope = negative_slope
        self.dropout = dropout
        self.add_self_loops = add_self_loops
        self.edge_dim = edge_dim
        self.fill_value = fill_value
        self.residual = residual
        self.flow: Flow = flow
        width = heads * out_channels
        total = width if concat else out_channels
        self.lin: nn.Linear | None = None
        self.lin_src: nn.Linear | None = None
        self.lin_dst: nn.Linear | None = None
        self.lin_edge: nn.Linear | None = None
        self.res: nn.Linear | None = None
        if isinstance(in_channels, int):
            self.lin = linear(in_channels, width, bias=False, glorot=True)
        else:
            self.lin_src = linear(in_channels[0], width, bias=False, glorot=True)
            self.lin_dst = linear(in_channels[1], width, bias=False, glorot=True)
        self.att_src = nn.Parameter(torch.empty(1, heads, out_channels))
        self.att_dst = nn.Parameter(torch.empty(1, heads, out_channels))
        self.att_edge: nn.Parameter | None = None
        if edge_dim is not None:
            self.lin_edge = linear(edge_dim, width, bias=False, glorot=True)
            self.att_edge = nn.Parameter(torch.empty(1, heads, out_channels))
        if residual:
            targets = in_channels if isinstance(in_channels, int) else in_channels[1]
            self.res = linear(targets, total, bias=False, glorot=True)
        self.bias = nn.Parameter(torch.empty(total)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights anew."""
        for layer in self.children():
            layer.reset_parameters()  # type: ignore[operator]
        for part in (self.att_src, self.att_dst, self.att_edge):
            if part is not None:
                glorot_(part)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(
        self,
        x: Tensor | tuple[Tensor, Tensor | None],
        edge_index: Tensor | CSR,
        edge_attr: Tensor | None = None,
        size: tuple[int, int] | None = None,
        return_attention_weights: bool | None = None,
    ) -> Any:
        """One layer.

        Args:
            x: [nodes, in_channels]; or a pair for sources and targets, where None stands for targets without features.
            edge_index: [2, edges], int32 or int64; or a CSR of shape [targets, sources]. Its weights are not used.
            edge_attr: [edges, edge_dim] or, for edge_dim = 1, [edges]; in the order of edge_index or of the CSR's
                entries.
            size: (sources, targets), where x does not say it.
            return_attention_weights: whether the weights are returned too.

        Returns:
            [targets, heads * out_channels], or [targets, out_channels] where heads are averaged. With
            return_attention_weights a pair of it and (edges, weights): the edges after loops were put in, as edge_index
            or CSR as they came, and their weights, [edges, heads].

        Raises:
            ValueError, TypeError: a shape, a dtype or a node that does not fit.
        """
        nodes = pair_of("GATConv", x, size, self.flow)
        if nodes.source.dim() != 2:
            raise ValueError(f"GATConv: expected x of shape [nodes, in_channels], got {list(nodes.source.shape)}")
        source, target = self._projected(nodes)
        edges = edges_of("GATConv", edge_index, nodes.targets, nodes.sources, self.add_self_loops, self.flow)
        a_edge = None if self.lin_edge is None or edge_attr is None else self._edge_scores(edges, edge_attr)
        drops = self.training and self.dropout > 0
        alpha: Tensor | None = None
        if target is None or a_edge is not None or drops or return_attention_weights:
            a_src = (source * self.att_src).sum(-1)
            a_dst = a_src.new_zeros(nodes.targets, self.heads) if target is None else (target * self.att_dst).sum(-1)
            alpha = attention_weights(edges.csr, a_dst, a_src, a_edge, self.negative_slope)
            alpha = functional.dropout(alpha, self.dropout, self.training)
            out = attend(edges.csr, alpha, source)
        else:
            att_dst, att_src = self.att_dst[0].to(source.dtype), self.att_src[0].to(source.dtype)
            out = gat(edges.csr.with_weight(None), target, source, att_dst, att_src, self.negative_slope)
        out = out.flatten(1) if self.concat else out.mean(1)
        if self.res is not None and nodes.target is not None:
            out = out + self.res(nodes.target)
        if self.bias is not None:
            out = out + self.bias
        if alpha is not None and return_attention_weights:
            return out, self._listed(edge_index, edges, alpha)
        return out

    def _projected(self, nodes: Pair) -> tuple[Tensor, Tensor | None]:
        """Both ends' features by head, [nodes, heads, out_channels]."""
        heads = (self.heads, self.out_channels)
        if self.lin is not None:
            source = self.lin(nodes.source).unflatten(-1, heads)
            if nodes.target is nodes.source:
                return source, source
            return source, None if nodes.target is None else self.lin(nodes.target).unflatten(-1, heads)
        assert self.lin_src is not None
        assert self.lin_dst is not None
        source = self.lin_src(nodes.source).unflatten(-1, heads)
        return source, None if nodes.target is None else self.lin_dst(nodes.target).unflatten(-1, heads)

    def _edge_scores(self, edges: Edges, edge_attr: Tensor) -> Tensor:
        """What the features of each entry add to its score, [nnz, heads]."""
        assert self.lin_edge is not None
        attr = edge_attr.unsqueeze(1) if edge_attr.dim() == 1 else edge_attr
        if attr.dim() != 2 or len(attr) != edges.given:
            raise ValueError(f"GATConv: expected edge_attr of shape [{edges.given}, edge_dim], got {list(attr.shape)}")
        # The layers are linear: what they make of a loop's features could be averaged too, but not be the largest.
        attr = edges.in_order(attr, None if edges.own is None else self._loop_features(edges, attr))
        scores: Tensor = (self.lin_edge(attr).unflatten(-1, (self.heads, self.out_channels)) * self.att_edge).sum(-1)
        return scores

    def _loop_features(self, edges: Edges, attr: Tensor) -> Tensor:
        """edge_attr of the added loops, [nodes, edge_dim]."""
        assert edges.own is not None
        nodes = len(edges.own)
        if not isinstance(self.fill_value, str):
            fill = torch.as_tensor(self.fill_value, dtype=attr.dtype, device=attr.device)
            return fill.expand(nodes, attr.shape[1])
        return spmm(edges.arriving(), attr, reduce_of("GATConv", self.fill_value, "fill_value"))[:nodes]

    def _listed(self, graph: Tensor | CSR, edges: Edges, alpha: Tensor) -> tuple[Tensor | CSR, Tensor]:
        if isinstance(graph, CSR):
            return edges.csr, alpha
        listed, place = edges.listed(graph)
        return listed, torch.empty_like(alpha).index_copy(0, place, alpha)

    def __repr__(self) -> str:
        return f"GATConv({self.in_channels}, {self.out_channels}, heads={self.heads})"
