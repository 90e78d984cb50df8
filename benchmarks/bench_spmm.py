"""How fast is spmm, beside what people use?

    make bench-ops                      everything, 2 threads
    GNAS_BENCH_THREADS=1 make bench-ops

Before it is timed, each rival must give the same numbers as ours.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import torch

import gnas_ext
from benchmarks import data, rivals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gnas_ext.ops.spmm import Reduce

WIDTHS = (16, 64, 128, 256)
CASES = [(reduce, impl) for reduce, impls in rivals.FORWARD.items() for impl in impls]


@pytest.fixture(scope="module")
def graph() -> data.Graph:
    return data.load()


@pytest.fixture(autouse=True, scope="module")
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("GNAS_BENCH_THREADS", "2")))
    yield
    torch.set_num_threads(before)


def describe(benchmark: Any, graph: data.Graph, width: int) -> None:
    """What was measured, for those who read the JSON."""
    benchmark.extra_info.update(
        graph=graph.name,
        nodes=graph.csr.rows,
        edges=graph.csr.nnz,
        bytes=rivals.bytes_moved(graph.csr, width),
        threads=torch.get_num_threads(),
        simd=gnas_ext.simd_level(),
        torch=torch.__version__,
    )


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("reduce", "impl"), CASES)
def bench_forward(benchmark: Any, graph: data.Graph, reduce: Reduce, impl: str, width: int) -> None:
    x = torch.randn(graph.csr.cols, width, generator=torch.Generator().manual_seed(0))
    function = rivals.forward(impl, graph.csr, reduce)
    expected = rivals.forward("gnas_ext", graph.csr, reduce)(x)
    torch.testing.assert_close(torch.as_tensor(function(x)), expected, rtol=1e-3, atol=1e-4)
    describe(benchmark, graph, width)
    benchmark(function, x)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("impl", rivals.BACKWARD)
@pytest.mark.parametrize("reduce", ["sum"])
def bench_backward(benchmark: Any, graph: data.Graph, reduce: Reduce, impl: str, width: int) -> None:
    x, gradient = torch.randn(2, graph.csr.rows, width, generator=torch.Generator().manual_seed(0))
    run = rivals.backward(impl, graph.csr, x, gradient)
    expected = rivals.backward("gnas_ext", graph.csr, x, gradient)()
    torch.testing.assert_close(run(), expected, rtol=1e-3, atol=1e-4)
    describe(benchmark, graph, width)
    benchmark(run)
