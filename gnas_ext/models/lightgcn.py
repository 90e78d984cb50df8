"""What does a node look like once its neighbours have been asked? LightGCN (He et al., 2020) and its neighbours.

An embedding a user and an item, carried over the graph for some hops without weights or activations in between, and
combined. Here the normalisation exponents, the combination and the decay of old edges are free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor, nn

from gnas_ext.ops.spmm import spmm

if TYPE_CHECKING:
    from gnas_ext.graph.csr import CSR

Combine = Literal["mean", "last", "halving"]


class LightGCN(nn.Module):
    """Embeddings of users and items, propagated over the graph of who touched what.

    Args:
        graph: [n_users, n_items], normalised weights (`graph.bipartite`).
        dim: floats a node.
        hops: how often neighbours are asked; 0 is matrix factorisation.
        combine: "mean" over all hops, the "last" hop alone, or "halving", where each hop counts half of the one before.
        edge_dropout: share of the edges left out in each training step; the others count more to make up for it.
        free_users: users have embeddings of their own; without, they start at zero and are what they touched.
        generator: draws the first embeddings and the dropped edges.
    """

    def __init__(
        self,
        graph: CSR,
        dim: int,
        hops: int,
        combine: Combine = "mean",
        edge_dropout: float = 0.0,
        free_users: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if combine not in get_args(Combine):
            raise ValueError(f"LightGCN: expected combine in {', '.join(get_args(Combine))}, got {combine!r}")
        if dim < 1 or hops < 0:
            raise ValueError(f"LightGCN: expected dim of 1 or more and hops of 0 or more, got {dim} and {hops}")
        if not 0 <= edge_dropout < 1:
            raise ValueError(f"LightGCN: expected edge_dropout of 0 or more and below 1, got {edge_dropout}")
        if graph.weight is None:
            raise ValueError("LightGCN: expected a graph with normalised weights, as graph.bipartite makes it")
        self.graph = graph
        self.hops = hops
        self.combine = combine
        self.edge_dropout = edge_dropout
        self.generator = generator
        users = torch.randn(graph.rows, dim, generator=generator) * 0.1
        self.user = nn.Parameter(users if free_users else torch.zeros_like(users), requires_grad=free_users)
        self.item = nn.Parameter(torch.randn(graph.cols, dim, generator=generator) * 0.1)

    def forward(self) -> tuple[Tensor, Tensor]:
        """The embeddings that score: users [n_users, dim] and items [n_items, dim], float32."""
        graph = self._thinned() if self.training and self.edge_dropout > 0 else self.graph
        back = graph.t()
        users: list[Tensor] = [self.user]
        items: list[Tensor] = [self.item]
        for _ in range(self.hops):
            user, item = spmm(graph, items[-1]), spmm(back, users[-1])
            users.append(user)
            items.append(item)
        return self._combined(users), self._combined(items)

    def _combined(self, layers: list[Tensor]) -> Tensor:
        if self.combine == "last":
            return layers[-1]
        share = [0.5**hop if self.combine == "halving" else 1.0 for hop in range(len(layers))]
        out = layers[0] * (share[0] / sum(share))
        for layer, part in zip(layers[1:], share[1:], strict=True):
            out = out + layer * (part / sum(share))
        return out

    def _thinned(self) -> CSR:
        assert self.graph.weight is not None
        kept = torch.rand(self.graph.nnz, generator=self.generator) >= self.edge_dropout
        return self.graph.with_weight(self.graph.weight * kept / (1 - self.edge_dropout))
