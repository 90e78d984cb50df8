"""Which edges does a net still carry embeddings over, and which nodes are asked again? Masks that training moves.

An edge that is gone costs no time: once the mask stands still, the graph is made anew of what is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor, nn

from gnas_ext.ops import prune

if TYPE_CHECKING:
    from collections.abc import Callable

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
        ends = graph.row_index().long(), graph.indices.long()
        first = torch.randperm(graph.nnz, generator=generator)
        size = graph.weight.detach().abs()
        largest = size.new_zeros(graph.rows).scatter_reduce_(0, ends[0], size, "amax")
        self.scores = nn.Parameter(size / largest[ends[0]].clamp(min=1e-30), requires_grad=scores == "learned")
        # What is asked for where edges stand among those of their ends: anew where scores move.
        self._ranks: Callable[[], list[tuple[Tensor, Tensor]]] | None
        if scores == "learned":
            self._ranks = lambda: _ranked(self.scores, ends, first)
        else:
            known = _ranked(size, ends, first)
            self._ranks = lambda: known

    def forward(self, weight: Tensor) -> Tensor:
        """The weights, [nnz], zero where the edge is gone, with a gradient to learned scores."""
        return weight * prune.straight_through(self.scores, self.mask)

    @torch.no_grad()
    def advance(self, left: float) -> None:
        """Takes edges away.

        Args:
            left: of the way to `keep`, 1 at the beginning and 0 in the end; the cube of it counts, so that edges go
                quickly at first and slowly at last (Zhu and Gupta, 2018). After 0 the mask stands still.
        """
        if self._ranks is None:
            return
        share = self.keep + (1 - self.keep) * left**3
        kept = torch.zeros_like(self.mask)
        for rank, degree in self._ranks():
            # Doubles that are a hair above a whole number are that number.
            kept |= rank < torch.ceil(share * degree.double() - 1e-9).clamp(min=1)
        self.mask.copy_(kept)
        if left == 0:
            self._ranks = None


def _ranked(scores: Tensor, ends: tuple[Tensor, Tensor], first: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Of each edge, for its user and for its item: how many of the node's edges come before it, and of how many; int32.

    Args:
        scores: [nnz].
        ends: user and item, [nnz] each.
        first: of equal scores, those that stand earlier here come first; [nnz].
    """
    by_score = first[torch.argsort(scores.detach()[first], descending=True, stable=True)]
    found = []
    for end in ends:
        degree = torch.bincount(end)
        order = by_score[torch.argsort(end[by_score], stable=True)]
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order))
        found.append(((place - (degree.cumsum(0) - degree)[end]).int(), degree[end].int()))
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
