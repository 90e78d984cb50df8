"""What only a GPU can show: capture in a CUDA graph, another stream, and no tensor of edges × width."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

import gnas_ext
from gnas_ext import CSR, ops
from python_tests import graphs

if TYPE_CHECKING:
    from collections.abc import Callable

    Op = Callable[[CSR, torch.Tensor], torch.Tensor]

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available() or gnas_ext.build_info()["cuda_loaded"] != "yes", reason="there is no CUDA here"
)
WIDTH = 64
FORWARD: dict[str, Op] = {
    "spmm": lambda csr, x: ops.spmm(csr, x),
    "spmm_max": lambda csr, x: ops.spmm(csr, x, "max"),
    "sddmm": lambda csr, x: ops.sddmm(csr, x[: csr.rows], x),
    "attention": lambda csr, x: ops.attention(csr.with_weight(None), x[: csr.rows], x, x),
    "gat": lambda csr, x: ops.gat(
        csr.with_weight(None), x[: csr.rows].unsqueeze(1), x.unsqueeze(1), x[:1], x[1:2]
    ).squeeze(1),
    "segment_softmax": lambda csr, x: ops.segment_softmax(csr, x.new_ones(csr.nnz, 1) * x[:1, :1]),
    "topk_scores": lambda csr, x: torch.cat([part.double() for part in ops.topk_scores(x[: csr.rows], x, 10, csr)]),
    "topk_scores_one": lambda csr, x: ops.topk_scores(x[:1], x, 10)[0],
}


@pytest.fixture
def csr() -> CSR:
    """More columns than rows, a hub among them, on the GPU."""
    graph = graphs.make("one_hub")
    weight = torch.rand(graph.nnz, generator=torch.Generator().manual_seed(0))
    return CSR(graph.indptr, graph.indices, weight, graph.shape).to("cuda")


def features(csr: CSR) -> torch.Tensor:
    random = torch.Generator("cuda").manual_seed(1)
    return torch.randn(csr.cols, WIDTH, device="cuda", generator=random)


@pytest.mark.parametrize("op", FORWARD)
def test_a_cuda_graph_captures_the_call_and_replays_it(csr: CSR, op: str) -> None:
    x = features(csr)
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        FORWARD[op](csr, x)
    torch.cuda.current_stream().wait_stream(side)
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        out = FORWARD[op](csr, x)
    for _ in range(2):
        x.copy_(torch.randn_like(x))
        captured.replay()
        assert torch.equal(out, FORWARD[op](csr, x))


def test_a_cuda_graph_captures_a_step_of_training(csr: CSR) -> None:
    x = features(csr).requires_grad_()
    csr.transposed_structure()  # a sort, which no graph can capture; kept from here on
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        torch.autograd.grad(ops.spmm(csr, x).square().sum(), x)
    torch.cuda.current_stream().wait_stream(side)
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        (gradient,) = torch.autograd.grad(ops.spmm(csr, x).square().sum(), x)
    captured.replay()
    (expected,) = torch.autograd.grad(ops.spmm(csr, x).square().sum(), x)
    assert torch.equal(gradient, expected)


@pytest.mark.parametrize("op", FORWARD)
def test_the_current_stream_is_used(csr: CSR, op: str) -> None:
    """The features are written late on a side stream: a call on another stream would read what was there before."""
    x = features(csr)
    expected = FORWARD[op](csr, x)
    late = torch.zeros_like(x)
    torch.cuda.synchronize()
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    with torch.cuda.stream(side):
        torch.cuda._sleep(50_000_000)  # type: ignore[no-untyped-call]
        late.copy_(x)
        got = FORWARD[op](csr, late)
    side.synchronize()
    assert torch.equal(got, expected)


@pytest.mark.parametrize("op", ["spmm", "spmm_max", "attention"])
def test_no_tensor_of_edges_times_width(csr: CSR, op: str) -> None:
    x = features(csr).requires_grad_()
    csr.transposed_structure()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    torch.autograd.grad(FORWARD[op](csr, x).sum(), x)
    torch.cuda.synchronize()
    assert torch.cuda.max_memory_allocated() - before < csr.nnz * WIDTH * 4 // 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_two_of_four_is_the_masked_product(dtype: torch.dtype) -> None:
    """By torch's semi-structured kernels on a GPU that has them."""
    random = torch.Generator("cuda").manual_seed(1)
    weight = torch.randn(128, 256, device="cuda", generator=random)
    mask = ops.prune.nm_mask(weight.abs())
    x = torch.randn(64, 256, device="cuda", generator=random)
    got = ops.nm_linear(x.to(dtype), weight.to(dtype), mask)
    exact = x.to(dtype).double() @ torch.where(mask, weight.to(dtype).double(), 0.0).T
    assert got.dtype == dtype
    # Rounded once from a sum in float32, of numbers of size 16.
    torch.testing.assert_close(got.double(), exact, rtol=2 * torch.finfo(dtype).eps, atol=1e-3)
