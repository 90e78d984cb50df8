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

    Each row keeps the same share of its edges, those with the largest scores, one at least: of magnitudes that share of
    the whole graph would leave hubs, whose weights are small, with none.

    Args:
        graph: [rows, cols], with weights.
        keep: share of each row's edges that is left in the end, above 0 and up to 1, rounded up.
        scores: "magnitude", the weights as they are; or "learned": they begin there, relative to the row's largest, and
            fall where training moves an edge towards zero: movement pruning (Sanh et al., 2020), straight through.
        threshold: 0 to take `keep`; else an edge goes if its weight is below this share of its row's largest.
    """

    mask: Tensor

    def __init__(self, graph: CSR, keep: float, scores: Scores = "magnitude", threshold: float = 0.0) -> None:
        super().__init__()
        if not 0 < keep <= 1:
            raise ValueError(f"EdgeMask: expected keep above 0 and up to 1, got {keep}")
        if scores not in get_args(Scores):
            raise ValueError(f"EdgeMask: expected scores 'magnitude' or 'learned', got {scores!r}")
        if not 0 <= threshold <= 1 or (threshold and scores == "learned"):
            raise ValueError(
                f"EdgeMask: expected threshold in 0 … 1, 0 with learned scores (they have no scale), got {threshold}"
            )
        weight = graph.weight
        if weight is None:
            raise ValueError("EdgeMask: expected a graph with weights")
        self.keep, self.threshold = keep, threshold
        self.register_buffer("mask", torch.ones(graph.nnz, dtype=torch.bool))
        self._row, self._degree = graph.row_index().long(), graph.degree()
        size = weight.detach().abs()
        largest = torch.zeros(graph.rows).scatter_reduce_(0, self._row, size, "amax")
        self.scores = nn.Parameter(size / largest[self._row].clamp(min=1e-30), requires_grad=scores == "learned")

    def forward(self, weight: Tensor) -> Tensor:
        """The weights, [nnz], zero where the edge is gone, with a gradient to learned scores."""
        return weight * prune.straight_through(self.scores, self.mask)

    @torch.no_grad()
    def advance(self, left: float) -> None:
        """Takes edges away.

        Args:
            left: of the way to `keep` or the threshold, 1 at the beginning and 0 in the end; the cube of it counts, so
                that edges go quickly at first and slowly at last (Zhu and Gupta, 2018).
        """
        if self.threshold:
            self.mask.copy_(self.scores >= self.threshold * (1 - left**3))
            return
        share = self.keep + (1 - self.keep) * left**3
        by_score = torch.argsort(self.scores, descending=True, stable=True)
        order = by_score[torch.argsort(self._row[by_score], stable=True)]
        begin = self._degree.cumsum(0) - self._degree
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order))
        rank = place - begin[self._row]
        # Doubles that are a hair above a whole number are that number.
        self.mask.copy_(rank < torch.ceil(share * self._degree.double() - 1e-9)[self._row])

    @property
    def gone(self) -> float:
        """Share of the edges that is gone."""
        return 1 - float(self.mask.double().mean()) if len(self.mask) else 0.0


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
