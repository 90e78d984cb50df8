"""On which graph are the ops measured? A real one where there is one, else a synthetic one of its size."""

from __future__ import annotations

import os
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import torch

from gnas_ext import CSR

# Gowalla as LightGCN's authors split it.
USERS, ITEMS, TOUCHES = 29_858, 40_981, 810_128
DEFAULT = Path(__file__).resolve().parents[2] / "shared" / "data" / "gowalla"


class Graph(NamedTuple):
    """A symmetric bipartite graph with LightGCN's weights: float32, int32 indices."""

    name: str
    csr: CSR


def load() -> Graph:
    """Gowalla from GNAS_BENCH_DATA (a folder with its train.txt) or ../shared/data/gowalla, else Chung-Lu."""
    folder = Path(os.environ.get("GNAS_BENCH_DATA", DEFAULT))
    if (folder / "train.txt").exists():
        return Graph(folder.name, symmetric(*read(folder / "train.txt")))
    if "GNAS_BENCH_DATA" in os.environ:
        raise FileNotFoundError(f"GNAS_BENCH_DATA={folder}: no train.txt in it")
    return Graph("chung-lu", symmetric(*chung_lu()))


def read(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """User and item of each touch, from a line a user: `user item item …`."""
    lines = [[int(word) for word in line.split()] for line in path.read_text().splitlines()]
    users = chain.from_iterable([line[0]] * (len(line) - 1) for line in lines)
    items = chain.from_iterable(line[1:] for line in lines)
    return torch.tensor(list(users), dtype=torch.int32), torch.tensor(list(items), dtype=torch.int32)


def chung_lu() -> tuple[torch.Tensor, torch.Tensor]:
    """As many users, items and touches as Gowalla has, both drawn by a power law (Chung and Lu, 2002)."""
    random = torch.Generator().manual_seed(0)

    def drawn(nodes: int) -> torch.Tensor:
        expected = (torch.arange(nodes, dtype=torch.float64) + 10) ** -0.6
        order = torch.randperm(nodes, generator=random)
        index = torch.multinomial(expected, TOUCHES, replacement=True, generator=random)
        return order[index].int()

    return drawn(USERS), drawn(ITEMS)


def symmetric(user: torch.Tensor, item: torch.Tensor) -> CSR:
    """Users and items as nodes of one graph, an edge each way, divided by the roots of both degrees."""
    users = int(user.max()) + 1
    nodes = users + int(item.max()) + 1
    row, col = torch.cat([user, item + users]), torch.cat([item + users, user])
    csr = CSR.from_coo(row, col, None, (nodes, nodes))
    scale = csr.degree().clamp(min=1).float().rsqrt()
    return csr.with_weight(scale[csr.row_index()] * scale[csr.indices])
