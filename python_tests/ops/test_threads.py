"""Do several threads run, and does it make no difference to the results?"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from gnas_ext import CSR, ops
from python_tests import graphs
from python_tests.emulated import EMULATED
from python_tests.ops.oracle import DTYPES, REDUCES

if TYPE_CHECKING:
    from gnas_ext.ops.spmm import Reduce

pytestmark = pytest.mark.skipif(EMULATED, reason="about threads of the CPU")


def products(csr: CSR, dtype: torch.dtype) -> list[torch.Tensor]:
    """The ops over a graph in which nothing is torch's own, forward and backward."""
    random = torch.Generator().manual_seed(0)
    weight = torch.randn(csr.nnz, generator=random).to(dtype).requires_grad_()
    x = torch.randn(csr.cols, 19, generator=random).to(dtype).requires_grad_()
    a = torch.randn(csr.rows, 19, generator=random).to(dtype)
    results = [ops.sddmm(csr, a, x), *csr.transposed_structure()[:2]]
    for reduce in REDUCES:
        out = ops.spmm(csr.with_weight(weight), x, reduce)
        results += [out, *torch.autograd.grad(out, (weight, x), a)]
    return [result.detach() for result in results]


def everything(csr: CSR, dtype: torch.dtype) -> list[torch.Tensor]:
    """Those, and the others over a graph."""
    results = products(csr, dtype)
    random = torch.Generator().manual_seed(1)
    x = torch.randn(csr.cols, 19, generator=random).to(dtype).requires_grad_()
    a = torch.randn(csr.rows, 19, generator=random).to(dtype)
    entries = torch.randn(csr.nnz, 5, generator=random).to(dtype).requires_grad_()
    mask, blocks = torch.rand(csr.nnz, generator=random) < 0.5, torch.tensor([False, True])
    ways: tuple[Reduce, ...] = ("sum", "max")
    of_nodes = [
        ops.attention(csr.with_weight(None), a, x, x),
        ops.gat(csr.with_weight(None), a, x, a[0], a[1]),
        ops.spmm_masked(csr.with_weight(None), x, mask),
        ops.spmm_blocks(csr.with_weight(None), x, blocks, reduce="mean"),
    ]
    of_entries = [
        ops.segment_softmax(csr, entries),
        *(ops.segment_reduce(entries, csr.indptr, way) for way in ways),
        *(ops.scatter(entries, csr.indices, csr.cols, way) for way in ways),
    ]
    for leaf, outs in ((x, of_nodes), (entries, of_entries)):
        for out in outs:
            sensitivity = torch.randn(out.shape, generator=random).to(dtype)
            results += [out, *torch.autograd.grad(out, leaf, sensitivity)]
    if dtype == torch.float32:
        rows = ops.quantize_rows(x.detach())
        results += [rows.codes, ops.spmm_quantized(csr.with_weight(None), rows)]
        results += ops.topk_scores(a[:64], x.detach(), 5)
    return [result.detach() for result in results]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("graph", graphs.LARGE, indirect=True)
def test_results_do_not_depend_on_the_threads(backend: torch.device, graph: CSR, dtype: torch.dtype) -> None:
    if backend.type != "cpu":
        pytest.skip("threads are the CPU's")
    alone = everything(graph, dtype)
    for threads in (2, 3):
        torch.set_num_threads(threads)
        for got, expected in zip(everything(graph, dtype), alone, strict=True):
            assert torch.equal(got, expected)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("graph", graphs.LARGE, indirect=True)
def test_results_repeat(backend: torch.device, graph: CSR) -> None:
    csr = graph.to(backend)
    x = torch.randn(csr.cols, 33, device=backend)
    for reduce in REDUCES:
        first = ops.spmm(csr, x, reduce)
        for _ in range(3):
            assert torch.equal(ops.spmm(csr, x, reduce), first)


def busy_ns() -> dict[str, int]:
    """Time on a core of each thread of this process, in nanoseconds."""
    tasks = {}
    for task in Path("/proc/self/task").iterdir():
        tasks[task.name] = int((task / "schedstat").read_text().split()[0])
    return tasks


def share_of_the_second_thread(work: CSR, x: torch.Tensor) -> float:
    """What part of the busiest thread's time the next one also worked."""
    ops.spmm(work, x)
    before, end = busy_ns(), time.monotonic() + 60
    while True:
        ops.spmm(work, x)
        # On a core, not by the clock: other processes make this slower, not wrong.
        spent = sorted(busy - before.get(task, 0) for task, busy in busy_ns().items())
        if spent[-1] > 200_000_000 or time.monotonic() > end:
            return spent[-2] / spent[-1]


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the kernel does not account for threads")
def test_two_threads_work_when_two_are_asked_for() -> None:
    csr = graphs.make("one_hub")
    x = torch.randn(csr.cols, 512)
    torch.set_num_threads(1)
    assert share_of_the_second_thread(csr, x) < 0.1
    torch.set_num_threads(2)
    assert share_of_the_second_thread(csr, x) > 0.5


@pytest.mark.parametrize("reduce", REDUCES)
def test_callers_in_several_threads(reduce: Reduce) -> None:
    graph = graphs.make("one_hub")
    csr = CSR(graph.indptr, graph.indices)  # all callers find no transpose kept
    inputs = [torch.randn(csr.cols, 24, requires_grad=True) for _ in range(8)]

    def call(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        out = ops.spmm(csr, x, reduce)
        return out.detach(), torch.autograd.grad(out.sum(), x)[0]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(call, inputs))
    for got, x in zip(together, inputs, strict=True):
        for ours, alone in zip(got, call(x), strict=True):
            assert torch.equal(ours, alone)


def test_all_of_them_called_by_several_threads() -> None:
    graph = graphs.make("one_hub")
    alone = everything(graph, torch.float32)
    csr = CSR(graph.indptr, graph.indices, None, graph.shape)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda _: everything(csr, torch.float32), range(8)))
    for results in together:
        for got, expected in zip(results, alone, strict=True):
            assert torch.equal(got, expected)
