"""What does a node look like once its neighbours have been asked? LightGCN (He et al., 2020) and its neighbours.

An embedding a user and an item, carried over the graph for some hops and combined. LightGCN has no weights and no
activations in between, so all hops are one call of `ops.propagate`; here normalisation, combination, loops, residuals,
the decay of old edges, attention, transforms and a graph of items are free, and cost a call a hop where they must.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from gnas_ext.models import hops as hop_shares
from gnas_ext.models.joint import JointGraph
from gnas_ext.models.products import a_row, dot_products
from gnas_ext.models.pruned import EdgeMask, Scores, settled_nodes
from gnas_ext.models.quantised_map import quantised_products
from gnas_ext.ops.gat import gat
from gnas_ext.ops.propagate import propagate
from gnas_ext.ops.spmm import spmm

if TYPE_CHECKING:
    from gnas_ext.graph.csr import CSR
    from gnas_ext.models.hops import Combine

Transform = Literal["none", "linear", "relu"]
# What a leaky relu multiplies numbers below zero by.
_SLOPE = 0.2


class LightGCN(nn.Module):
    """Embeddings of users and items, propagated over the graph of who touched what.

    Args:
        graph: [n_users, n_items], normalised weights (`graph.bipartite`).
        dim: floats a node.
        hops: how often neighbours are asked; 0 is matrix factorisation.
        combine: of the layers: "mean"; the "last" alone; "halving", where each hop counts half of the one before;
            "pagerank" (`models.hops`); "learned", a weight a layer; "concat", side by side, dim * (hops + 1) wide.
        edge_dropout: share of the edges left out in each training step; the others count more to make up for it.
        free_users: users have embeddings of their own; without, they start at zero and are what they touched.
        generator: draws the first embeddings, the dropped edges and the noise.
        restart: of "pagerank".
        loop: how much a node itself counts in a hop, beside 1 for its neighbours together.
        residual: how much the first embeddings count in each layer.
        attention: neighbours are weighed by what they are (`ops.gat`), not by their degrees.
        transform: what becomes of each hop: "none"; a "linear" map, which begins as it is; that and a leaky "relu".
        transform_bits: of the map and of what goes into it, 8 or 4, as training sees them (`quantised_products`); 32
            leaves both in float32.
        item_graph: [n_items, n_items], weights that sum to 1 a row, if there are any: items like each other; or None.
        item_share: how much an item is what its neighbours there are, where it has some.
        start: [n_users + n_items, dim]: the first embeddings; None draws them.
        edges_kept: share of its edges that each node keeps in the end (`EdgeMask`, which training moves by `prune`);
            below 1 not with attention.
        edge_scores: of the mask.
        settled_share: of the users and of the items, those touched most, that ask their neighbours in the first hop
            alone and stay as they are then; not with attention.
    """

    asks: Tensor

    def __init__(
        self,
        graph: CSR,
        dim: int,
        hops: int,
        combine: Combine = "mean",
        edge_dropout: float = 0.0,
        free_users: bool = True,
        generator: torch.Generator | None = None,
        *,
        restart: float = 0.2,
        loop: float = 0.0,
        residual: float = 0.0,
        attention: bool = False,
        transform: Transform = "none",
        transform_bits: int = 32,
        item_graph: CSR | None = None,
        item_share: float = 0.5,
        start: Tensor | None = None,
        edges_kept: float = 1.0,
        edge_scores: Scores = "magnitude",
        settled_share: float = 0.0,
    ) -> None:
        super().__init__()
        hop_shares.check(combine, hops, restart, loop, residual)
        if dim < 1:
            raise ValueError(f"LightGCN: expected dim of 1 or more, got {dim}")
        for name, share in (("edge_dropout", edge_dropout), ("item_share", item_share)):
            if not 0 <= share < 1:
                raise ValueError(f"LightGCN: expected {name} of 0 or more and below 1, got {share}")
        if not 0 < edges_kept <= 1:
            raise ValueError(f"LightGCN: expected edges_kept above 0 and up to 1, got {edges_kept}")
        if not 0 <= settled_share <= 1:
            raise ValueError(f"LightGCN: expected settled_share from 0 to 1, got {settled_share}")
        if transform not in get_args(Transform):
            raise ValueError(f"LightGCN: expected transform in {', '.join(get_args(Transform))}, got {transform!r}")
        if transform_bits not in (32, 8, 4):
            raise ValueError(f"LightGCN: expected transform_bits of 32, 8 or 4, got {transform_bits}")
        if transform_bits < 32 and transform == "none":
            raise ValueError(
                f"LightGCN: expected transform_bits of 32 with transform 'none', which has no map, got {transform_bits}"
            )
        if graph.weight is None:
            raise ValueError("LightGCN: expected a graph with normalised weights, as graph.bipartite makes it")
        if item_graph is not None and item_graph.shape != (graph.cols, graph.cols):
            raise ValueError(
                f"LightGCN: expected item_graph of shape [{graph.cols}, {graph.cols}], got {list(item_graph.shape)}"
            )
        if not free_users and hops == 0:
            raise ValueError("LightGCN: expected hops of 1 or more without free_users: users would be zero for ever")
        if attention and (edge_dropout or edges_kept < 1 or settled_share):
            raise ValueError(
                "LightGCN: expected edge_dropout of 0, edges_kept of 1 and settled_share of 0 with attention, which "
                "weighs all edges"
            )
        # Weights in the order of the entries, which a transpose does not store them in.
        graph = graph.with_weight(graph.weight)
        self.graph = graph
        self.hops = hops
        self.combine = combine
        self.edge_dropout = edge_dropout
        self.generator = generator
        self.loop = loop
        self.residual = residual
        self.item_graph = item_graph
        self.item_share = item_share
        self.transform_bits = transform_bits
        self.activation = transform == "relu"
        if start is None:
            users = torch.randn(graph.rows, dim, generator=generator) * 0.1
            start = torch.cat([users, torch.randn(graph.cols, dim, generator=generator) * 0.1])
        if start.shape != (graph.rows + graph.cols, dim):
            raise ValueError(
                f"LightGCN: expected start of shape [{graph.rows + graph.cols}, {dim}], got {list(start.shape)}"
            )
        users, items = torch.split(start, list(graph.shape))
        self.user = nn.Parameter(users.clone() if free_users else torch.zeros_like(users), requires_grad=free_users)
        self.item = nn.Parameter(items.clone())
        self.shares = nn.Parameter(
            torch.tensor(hop_shares.shares(combine, hops, restart)), requires_grad=combine == "learned"
        )
        self.maps = None
        if transform != "none":
            self.maps = nn.Parameter(torch.eye(dim).repeat(hops, 1, 1))
        self.attention = None
        if attention:
            self.attention = nn.Parameter(torch.randn(hops, 2, dim, generator=generator) * 0.1)
        self.edges = EdgeMask(graph, edges_kept, edge_scores, generator) if edges_kept < 1 else None
        # Nodes that ask again after the first hop.
        self.register_buffer("asks", ~settled_nodes(graph, settled_share if hops > 1 else 0.0))
        self._carry(graph)
        self._polynomials = hop_shares.layers(hops, loop, residual)

    def forward(self) -> tuple[Tensor, Tensor]:
        """The embeddings that score: users [n_users, width] and items [n_items, width], float32."""
        users, items = torch.split(self.nodes(), list(self.graph.shape))
        return users, items

    def nodes(self) -> Tensor:
        """The embeddings that score, users first, [n_users + n_items, width], float32."""
        if not self._is_linear or self.combine == "concat" or (self._later is not None and self.residual):
            return self.combined(self.layers())
        found = self.table()
        if not self.hops:
            return self._near_items(found)
        now, later = self._graphs()
        if later is now:
            return self._near_items(propagate(now, found, self.shares @ self._polynomials))
        # The first hop, and a polynomial of the graph of those who ask again.
        near = (spmm(now, found) + self.loop * found) / (1 + self.loop)
        further = self.shares[1:] @ hop_shares.layers(self.hops - 1, self.loop)
        return self._near_items(found * a_row(self.shares[0], len(found)) + propagate(later, near, further))

    def table(self) -> Tensor:
        """The first embeddings, users first, [n_users + n_items, dim]."""
        return torch.cat([self.user, self.item])

    def layers(self, noise: float = 0.0) -> list[Tensor]:
        """The first embeddings and each hop's, [n_users + n_items, dim] each.

        Args:
            noise: length of a random vector that is added to each node in each hop, in the node's own orthant (SimGCL,
                Yu et al., 2022); to settled nodes in the first hop alone.
        """
        csr, later = (self._joint.structure,) * 2 if self.attention is not None else self._graphs()
        found = [self.table()]
        for hop in range(self.hops):
            now = found[-1]
            if self.attention is None:
                near = spmm(later if hop else csr, now)
            else:
                near = gat(csr, now, now, self.attention[hop, 0], self.attention[hop, 1])
            if self.loop:
                near = (near + self.loop * now) / (1 + self.loop)
            if self.maps is not None:
                near = self._mapped(near, self.maps[hop].T)
            if self.residual:
                near = (1 - self.residual) * near + self.residual * found[0]
            if noise:
                drawn = torch.rand(near.shape, generator=self.generator)
                near = near + near.detach().sign() * functional.normalize(drawn) * noise
            found.append(torch.where(self.asks[:, None], near, now) if hop and self._later is not None else near)
        return found

    def prune(self, left: float) -> None:
        """Takes edges away where some are to go; once for all of them the graph is made anew, and hops take less time.

        Args:
            left: of the way, from 1 to 0 (`EdgeMask.advance`). After 0 nothing changes any more.
        """
        if self.edges is None or not self.prunes:
            return
        self.edges.advance(left)
        if left == 0:
            self.edges.scores.requires_grad_(False)
            self._carry(self.graph.masked(self.edges.mask))

    @property
    def prunes(self) -> bool:
        """Whether edges are still to go."""
        return self.edges is not None and self._left is self.graph

    def combined(self, layers: list[Tensor]) -> Tensor:
        """What scores, of some layers."""
        if self.combine == "concat":
            return self._near_items(torch.cat(layers, 1))
        found = layers[0] * a_row(self.shares[0], len(layers[0]))
        for layer, share in zip(layers[1:], self.shares[1:], strict=True):
            found = found + layer * a_row(share, len(layer))
        return self._near_items(found)

    @property
    def _is_linear(self) -> bool:
        return self.attention is None and self.maps is None

    def _mapped(self, near: Tensor, outputs: Tensor) -> Tensor:
        if self.transform_bits < 32:
            return quantised_products(near, outputs, self.transform_bits, _SLOPE if self.activation else 1.0)
        near = dot_products(near, outputs)
        return functional.leaky_relu(near, _SLOPE) if self.activation else near

    def _near_items(self, nodes: Tensor) -> Tensor:
        if self.item_graph is None:
            return nodes
        users, items = torch.split(nodes, list(self.graph.shape))
        share = self.item_share * (self.item_graph.degree() > 0)[:, None]
        return torch.cat([users, (1 - share) * items + share * spmm(self.item_graph, items)])

    def _carry(self, graph: CSR) -> None:
        """Embeddings go over these edges from now on."""
        assert graph.weight is not None
        self._left = graph
        self._joint = JointGraph(graph)
        self._later = None if bool(self.asks.all()) else self._joint.settled(self.asks)
        self._fixed = self._joint.csr, self._joint.csr
        if self._later is not None:
            self._fixed = self._joint.csr, self._later.with_weight(graph.weight)

    def _graphs(self) -> tuple[CSR, CSR]:
        """What the first hop goes over in this step, and what the later ones do."""
        dropping = self.training and self.edge_dropout > 0
        weight = self._left.weight
        if weight is None or not (self.prunes or dropping):
            return self._fixed
        if self.edges is not None and self.prunes:
            weight = self.edges(weight)
        if dropping:
            kept = torch.rand(len(weight), generator=self.generator) >= self.edge_dropout
            weight = weight * kept / (1 - self.edge_dropout)
        now = self._joint.with_weight(weight)
        return now, now if self._later is None else self._later.with_weight(weight)
