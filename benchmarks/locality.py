"""When does an order of nodes pay? `python -m benchmarks.locality [share [width]]`: 1M nodes, 20M edges.

A Chung-Lu graph in which `share` of the edges stay among 2,000 nodes, 0 by default; the names of nodes say nothing. For
each order: the time of spmm in it, of bringing x in and the result out, and of finding it.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import TYPE_CHECKING

import torch

from gnas_ext import CSR, ops

if TYPE_CHECKING:
    from collections.abc import Callable

    from gnas_ext.graph.order import By

NODES, EDGES, COMMUNITY = 1_000_000, 20_000_000, 2_000
ROUNDS = 5


def graph(share: float) -> CSR:
    """Ends drawn by a power law (Chung and Lu, 2002), but `share` of the edges within communities of 2,000 nodes."""
    random = torch.Generator().manual_seed(0)

    def drawn(nodes: int, count: int) -> torch.Tensor:
        ends = (torch.arange(nodes, dtype=torch.float64) + 10).pow(-0.6).cumsum(0)
        at = torch.rand(count, generator=random, dtype=torch.float64) * ends[-1]
        return torch.searchsorted(ends, at).clamp(max=nodes - 1)

    within = int(share * EDGES)
    community = torch.randint(NODES // COMMUNITY, (within,), generator=random) * COMMUNITY
    name = torch.randperm(NODES, generator=random).int()
    # Hubs first: names would say nothing, but the hubs of all communities would stand at its beginning.
    hubs = torch.randperm(NODES, generator=random)
    row, col = (torch.cat([community + drawn(COMMUNITY, within), hubs[drawn(NODES, EDGES - within)]]) for _ in range(2))
    return CSR.from_coo(name[row], name[col], torch.rand(EDGES, generator=random), (NODES, NODES))


def milliseconds(call: Callable[[], object]) -> float:
    """Median of a few."""
    call()
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def main() -> None:
    """A line an order."""
    share = float(sys.argv[1]) if len(sys.argv) > 1 else 0.0
    width = int(sys.argv[2]) if len(sys.argv) > 2 else 64
    csr = graph(share)
    x = torch.randn(NODES, width, generator=torch.Generator().manual_seed(1))
    csr.transposed_structure()
    plain = milliseconds(lambda: ops.spmm(csr, x))
    print(f"share {share}, width {width}, {torch.get_num_threads()} threads: as it is {plain:.0f} ms", flush=True)
    orders: tuple[By, ...] = ("degree", "community")
    for by in orders:
        start = time.perf_counter()
        order = csr.reordered(by)
        found = time.perf_counter() - start
        ways = milliseconds(lambda order=order: order.leave(order.enter(x)))  # type: ignore[misc]
        inside = order.enter(x)
        one = milliseconds(lambda order=order, inside=inside: ops.spmm(order.csr, inside))  # type: ignore[misc]
        print(f"  {by}: {one:.0f} ms, in and out {ways:.0f} ms, found in {found:.1f} s", flush=True)


if __name__ == "__main__":
    main()
