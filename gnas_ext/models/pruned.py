"""Which edges does a net still carry embeddings over, and which nodes are asked again? Masks that training moves.

An edge that is gone costs no time: once the mask stands still, the graph is made anew of what is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor, nn

from gnas_ext.ops import prune

if TYPE_CHECKING:
    from gnas_ext.graph.csr import CSR

Scores = Literal["magnitude", "learned"]


class EdgeMask(nn.Module):
    """Which edges of a graph are alive; the mask is a buffer, learned scores are a parameter.

    Each node, user or item, keeps the same share of its edges, those with the largest scores, and an edge stays while
    one of its ends keeps it. A share of the whole graph, or of users' edges alone, would leave what is popular with
    none: normalised weights are small there. So more than the share is left of all edges.

    Args:
        graph: [users, items], with weights in the order of its entries (`with_weight`).
        keep: share of each node's edges that it keeps in the end, above 0 and up to 1, rounded up.
        scores: "magnitude", the weights as they are; or "learned": they begin there, relative to the row's largest, and
            fall where training moves an edge towards zero: movement pruning (Sanh et al., 2020), straight through.
        generator: of the order of equal scores.
    """

    mask: Tensor

    def __init__(
        self, graph: CSR, keep: float, scores: Scores = "magnitude", generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        if not 0 < keep <= 1:
            raise ValueError(f"EdgeMask: expected keep above 0 and up to 1, got {keep}")
        if scores not in get_args(Scores):
            raise ValueError(f"EdgeMask: expected scores 'magnitude' or 'learned', got {scores!r}")
        if graph.weight is None:
            raise ValueError("EdgeMask: expected a graph with weights")
        self.keep = keep
        self.register_buffer("mask", torch.ones(graph.nnz, dtype=torch.bool))
        self._ends = graph.row_index().long(), graph.indices.long()
        self._first = torch.randperm(graph.nnz, generator=generator)
        size = graph.weight.detach().abs()
        largest = size.new_zeros(graph.rows).scatter_reduce_(0, self._ends[0], size, "amax")
        self.scores = nn.Parameter(size / largest[self._ends[0]].clamp(min=1e-30), requires_grad=scores == "learned")
        self._ranks = None if scores == "learned" else self._ranked(size)

    def forward(self, weight: Tensor) -> Tensor:
        """The weights, [nnz], zero where the edge is gone, with a gradient to learned scores."""
        return weight * prune.straight_through(self.scores, self.mask)

    @torch.no_grad()
    def advance(self, left: float) -> None:
        """Takes edges away.

        Args:
            left: of the way to `keep`, 1 at the beginning and 0 in the end; the cube of it counts, so that edges go
                quickly at first and slowly at last (Zhu and Gupta, 2018).
        """
        share = self.keep + (1 - self.keep) * left**3
        kept = torch.zeros_like(self.mask)
        for rank, degree in self._ranked(self.scores) if self._ranks is None else self._ranks:
            # Doubles that are a hair above a whole number are that number.
            kept |= rank < torch.ceil(share * degree.double() - 1e-9).clamp(min=1)
        self.mask.copy_(kept)

    def _ranked(self, scores: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Of each edge, for its user and for its item: how many of the node's edges come before it, and of how many."""
        by_score = self._first[torch.argsort(scores[self._first], descending=True, stable=True)]
        found = []
        for end in self._ends:
            degree = torch.bincount(end)
            order = by_score[torch.argsort(end[by_score], stable=True)]
            place = torch.empty_like(order)
            place[order] = torch.arange(len(order))
            found.append((place - (degree.cumsum(0) - degree)[end], degree[end]))
        return found


def settled_nodes(graph: CSR, share: float) -> Tensor:
    """The users and items that are touched most, a share of each: they know enough after one hop.

    Args:
        graph: [users, items].
        share: of each side, from 0 to 1, rounded.

    Returns:
        bool, [users + items].
    """
    if not 0 <= share <= 1:
        raise ValueError(f"settled_nodes: expected share from 0 to 1, got {share}")
    sides = graph.degree(), torch.bincount(graph.indices.long(), minlength=graph.cols)
    return torch.cat([prune.keep_largest(side.double(), fraction=share) for side in sides])
