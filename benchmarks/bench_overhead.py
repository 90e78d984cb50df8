"""What does a call cost before any work is done? A graph of ten nodes, checks included."""

from __future__ import annotations

from typing import Any

from benchmarks import suite
from benchmarks.bench_spmm import applied, bag, gnas_ext, torch_csr

FAMILIES = [
    suite.Family(
        "call overhead (spmm sum)",
        None,
        {suite.OURS: applied(gnas_ext), "embedding_bag": applied(bag), "torch CSR": applied(torch_csr)},
        sizes=(16,),
        graphs=("ten-nodes",),
        limit_us=15.0,
    )
]


def bench_overhead(benchmark: Any, turn: suite.Turn) -> None:
    suite.measure(benchmark, turn)
