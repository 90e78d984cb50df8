"""On which graphs are the ops measured? A real one, and one beyond the caches."""

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
    """A symmetric graph with LightGCN's weights: float32, int32 indices."""

    name: str
    csr: CSR


class Size(NamedTuple):
    """Nodes of a power-law graph, and its edges, each way counted."""

    nodes: int
    edges: int


POWER_LAW = {"power-law": Size(1_000_000, 20_000_000), "power-law-10m": Size(10_000_000, 200_000_000)}
# For the cost of a call, whatever the work.
SMALL = {"ten-nodes": Size(10, 30), "thousand-nodes": Size(1_000, 10_000)}
NAMES = ("gowalla", *POWER_LAW, *SMALL)


def load(name: str, device: str = "cpu") -> Graph:
    """A graph by its name, on a device.

    Args:
        name: "gowalla": 70,839 nodes, 1,620,256 edges; from GNAS_BENCH_DATA (a folder with its train.txt) or
            ../shared/data/gowalla, else a bipartite Chung-Lu graph of its size, which is named "gowalla-like".
            "power-law": Chung-Lu, 1M nodes, 20M edges; "power-law-10m": 10M nodes, 200M edges; drawn once and kept.
        device: "cpu" or "cuda".
    """
    if name in POWER_LAW:
        return Graph(name, weighted(power_law(name, POWER_LAW[name], device)).to(device))
    if name in SMALL:
        return Graph(name, weighted(pairs(SMALL[name], torch.Generator().manual_seed(0))).to(device))
    if name != "gowalla":
        raise ValueError(f"no graph named {name}: there are {', '.join(NAMES)}")
    folder = Path(os.environ.get("GNAS_BENCH_DATA", DEFAULT))
    if (folder / "train.txt").exists():
        return Graph(folder.name, symmetric(*read(folder / "train.txt")).to(device))
    if "GNAS_BENCH_DATA" in os.environ:
        raise FileNotFoundError(f"GNAS_BENCH_DATA={folder}: no train.txt in it")
    return Graph("gowalla-like", symmetric(*bipartite()).to(device))


def read(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """User and item of each touch, from a line a user: `user item item …`."""
    lines = [[int(word) for word in line.split()] for line in path.read_text().splitlines()]
    users = chain.from_iterable([line[0]] * (len(line) - 1) for line in lines)
    items = chain.from_iterable(line[1:] for line in lines)
    return torch.tensor(list(users), dtype=torch.int32), torch.tensor(list(items), dtype=torch.int32)


def drawn(nodes: int, count: int, random: torch.Generator) -> torch.Tensor:
    """`count` nodes, int32, by a power law, the most frequent first in the order (Chung and Lu, 2002)."""
    share = (torch.arange(nodes, dtype=torch.float64, device=random.device) + 10) ** -0.6
    ends = share.cumsum(0)
    found = torch.empty(count, dtype=torch.int32, device=random.device)
    for part in torch.split(found, 1 << 24):
        at = torch.rand(len(part), dtype=torch.float64, generator=random, device=random.device) * ends[-1]
        part.copy_(torch.searchsorted(ends, at).clamp_(max=nodes - 1))
    return found


def shuffled(nodes: int, random: torch.Generator) -> torch.Tensor:
    """New numbers for nodes, so that hubs stand anywhere."""
    return torch.randperm(nodes, generator=random, device=random.device).int()


def bipartite() -> tuple[torch.Tensor, torch.Tensor]:
    """As many users, items and touches as Gowalla has, both drawn by a power law."""
    random = torch.Generator().manual_seed(0)
    user, item = (shuffled(nodes, random)[drawn(nodes, TOUCHES, random)] for nodes in (USERS, ITEMS))
    return user, item


def power_law(name: str, size: Size, device: str) -> CSR:
    """A graph of POWER_LAW, from the user's cache where it was drawn before; on CUDA it is drawn in less time."""
    if device != "cpu":
        return pairs(size, torch.Generator(device).manual_seed(0))
    kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gnas_ext" / f"{name}-{device}-1.pt"
    if kept.exists():
        arrays = torch.load(kept)
        return CSR(arrays["indptr"], arrays["indices"], None, (size.nodes, size.nodes))
    csr = pairs(size, torch.Generator(device).manual_seed(0))
    kept.parent.mkdir(parents=True, exist_ok=True)
    half = kept.with_name(f"{kept.name}.{os.getpid()}")
    torch.save({"indptr": csr.indptr.cpu(), "indices": csr.indices.cpu()}, half)
    half.rename(kept)
    return csr


def pairs(size: Size, random: torch.Generator) -> CSR:
    """Distinct pairs of nodes, both drawn by the same power law, as edges each way."""
    # More than enough: some pairs come twice, some nodes meet themselves.
    one, other = (drawn(size.nodes, size.edges, random) for _ in range(2))
    key = torch.minimum(one, other).long() * size.nodes + torch.maximum(one, other)
    key = torch.unique(key[one != other])
    key = key[torch.randperm(len(key), generator=random, device=random.device)[: size.edges // 2]]
    number = shuffled(size.nodes, random)
    low, high = number[key // size.nodes], number[key % size.nodes]
    del key, one, other
    return CSR.from_coo(torch.cat([low, high]), torch.cat([high, low]), None, (size.nodes, size.nodes))


def symmetric(user: torch.Tensor, item: torch.Tensor) -> CSR:
    """Users and items as nodes of one graph, an edge each way, divided by the roots of both degrees."""
    users = int(user.max()) + 1
    nodes = users + int(item.max()) + 1
    row, col = torch.cat([user, item + users]), torch.cat([item + users, user])
    return weighted(CSR.from_coo(row, col, None, (nodes, nodes)))


def weighted(csr: CSR) -> CSR:
    """Each edge of a symmetric graph divided by the roots of the degrees of both ends."""
    scale = csr.degree().clamp(min=1).float().rsqrt()
    return csr.with_weight(scale[csr.row_index()] * scale[csr.indices])
