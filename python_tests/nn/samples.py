"""Graphs and features for the layers: loops, double edges, and nodes that nothing reaches."""

from __future__ import annotations

from typing import NamedTuple

import torch

NODES, EDGES, WIDTH = 30, 200, 6
SOURCES, TARGETS = 17, 9


class Sample(NamedTuple):
    edge_index: torch.Tensor  # [2, EDGES], the last five nodes are isolated
    edge_weight: torch.Tensor  # [EDGES]
    edge_attr: torch.Tensor  # [EDGES, 3]
    x: torch.Tensor  # [NODES, WIDTH]
    bipartite: torch.Tensor  # [2, 60], from SOURCES nodes to TARGETS nodes
    sources: torch.Tensor  # [SOURCES, WIDTH]
    targets: torch.Tensor  # [TARGETS, WIDTH - 2]


def sample(dtype: torch.dtype = torch.float32) -> Sample:
    random = torch.Generator().manual_seed(3)

    def drawn(high: int, *shape: int) -> torch.Tensor:
        return torch.randint(high, shape, generator=random)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random).to(dtype)

    edge_index = drawn(NODES - 5, 2, EDGES)
    edge_index[:, :4] = torch.tensor([3, 7, 7, 11])  # loops, one of them double
    edge_index[:, 4] = edge_index[:, 60]
    bipartite = torch.stack([drawn(SOURCES, 60), drawn(TARGETS - 1, 60)])
    return Sample(
        edge_index,
        torch.rand(EDGES, generator=random).to(dtype) + 0.1,
        normal(EDGES, 3),
        normal(NODES, WIDTH),
        bipartite,
        normal(SOURCES, WIDTH),
        normal(TARGETS, WIDTH - 2),
    )
