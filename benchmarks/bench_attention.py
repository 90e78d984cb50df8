"""How fast are segment_softmax, attention and gat, forward and backward, beside PyG?

    python -m pytest benchmarks/bench_attention.py -c benchmarks/pytest.ini
    GNAS_BENCH_THREADS=1 …

PyG's message passing is what its TransformerConv and GATConv do between their linear layers: gather both ends of each
edge, score, softmax, weigh, scatter. Before a rival is timed, its numbers must be ours.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import torch

import gnas_ext
from benchmarks import data
from gnas_ext import ops

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gnas_ext import CSR

    Run = Callable[[], tuple[torch.Tensor, ...]]

SHAPES = [(width, heads) for width in (16, 64, 128, 256) for heads in (1, 4, 8)]


@pytest.fixture(scope="module")
def csr() -> CSR:
    return data.load().csr.with_weight(None)


@pytest.fixture(autouse=True, scope="module")
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("GNAS_BENCH_THREADS", "2")))
    yield
    torch.set_num_threads(before)


def pyg(module: str) -> Any:
    """A module of torch_geometric, or a skip that says how to get it."""
    return pytest.importorskip(module, reason="torch_geometric is not installed: pip install torch-geometric")


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


def forward_and_backward(function: Callable[..., torch.Tensor], inputs: list[torch.Tensor]) -> Run:
    inputs = [t.clone().requires_grad_() for t in inputs]
    gradient = random(*function(*inputs).shape)

    def run() -> tuple[torch.Tensor, ...]:
        out = function(*inputs)
        return (out.detach(), *torch.autograd.grad(out, inputs, gradient))

    return run


def softmax(impl: str, csr: CSR) -> Callable[[torch.Tensor], torch.Tensor]:
    row, indptr = csr.row_index().long(), csr.indptr.long()
    match impl:
        case "gnas_ext":
            return lambda score: ops.segment_softmax(csr, score)
        case "pyg":  # by index, as its layers call it
            by_index = pyg("torch_geometric.utils").softmax
            return lambda score: by_index(score, row, num_nodes=csr.rows)
        case "pyg_ptr":  # by row pointers
            by_pointer = pyg("torch_geometric.utils").softmax
            return lambda score: by_pointer(score, ptr=indptr, num_nodes=csr.rows)
        case "torch_scatter":
            pytest.importorskip("torch_scatter", reason="torch-scatter is not installed: make install-bench")
            from torch_scatter.composite import scatter_softmax

            return lambda score: scatter_softmax(score, row, dim=0, dim_size=csr.rows)
    raise ValueError(f"no rival named {impl}")


def attention(impl: str, csr: CSR) -> Callable[..., torch.Tensor]:
    if impl == "gnas_ext":
        return lambda q, k, v: ops.attention(csr, q, k, v)
    edge_index = torch.stack([csr.indices.long(), csr.row_index().long()])

    def messages(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        conv = pyg("torch_geometric.nn").TransformerConv(q.shape[2], q.shape[2], heads=q.shape[1])
        out: torch.Tensor = conv.propagate(edge_index, query=q, key=k, value=v, edge_attr=None)
        return out

    return messages


def gat(impl: str, csr: CSR) -> Callable[..., torch.Tensor]:
    if impl == "gnas_ext":
        return lambda x, att_dst, att_src: ops.gat(csr, x, x, att_dst, att_src)
    edge_index = torch.stack([csr.indices.long(), csr.row_index().long()])

    def messages(x: torch.Tensor, att_dst: torch.Tensor, att_src: torch.Tensor) -> torch.Tensor:
        conv = pyg("torch_geometric.nn").GATConv(x.shape[2], x.shape[2], heads=x.shape[1])
        alpha = ((x * att_src).sum(-1), (x * att_dst).sum(-1))
        shares = conv.edge_updater(edge_index, alpha=alpha, edge_attr=None, size=(csr.cols, csr.rows))
        out: torch.Tensor = conv.propagate(edge_index, x=(x, x), alpha=shares, size=(csr.cols, csr.rows))
        return out

    return messages


def measure(benchmark: Any, csr: CSR, make: Callable[[str], Run], impl: str) -> None:
    run, ours = make(impl), make("gnas_ext")
    for got, expected in zip(run(), ours(), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3)
    benchmark.extra_info.update(
        nodes=csr.rows,
        edges=csr.nnz,
        threads=torch.get_num_threads(),
        simd=gnas_ext.simd_level(),
        torch=torch.__version__,
    )
    benchmark.pedantic(run, rounds=int(os.environ.get("GNAS_BENCH_ROUNDS", "5")), warmup_rounds=1)


@pytest.mark.parametrize("heads", [1, 2, 4, 8])
@pytest.mark.parametrize("impl", ["gnas_ext", "pyg", "pyg_ptr", "torch_scatter"])
def bench_segment_softmax(benchmark: Any, csr: CSR, impl: str, heads: int) -> None:
    score = random(csr.nnz, heads)

    def make(name: str) -> Run:
        function = softmax(name, csr)
        return lambda: (function(score),)

    measure(benchmark, csr, make, impl)


@pytest.mark.parametrize("heads", [1, 2, 4, 8])
@pytest.mark.parametrize("impl", ["gnas_ext", "pyg", "pyg_ptr", "torch_scatter"])
def bench_segment_softmax_backward(benchmark: Any, csr: CSR, impl: str, heads: int) -> None:
    score = random(csr.nnz, heads)
    measure(benchmark, csr, lambda name: forward_and_backward(softmax(name, csr), [score]), impl)


@pytest.mark.parametrize(("width", "heads"), SHAPES)
@pytest.mark.parametrize("impl", ["gnas_ext", "pyg"])
def bench_attention(benchmark: Any, csr: CSR, impl: str, width: int, heads: int) -> None:
    inputs = [random(csr.rows, heads, width // heads) * s for s in (1.0, 0.5, -1.0)]
    measure(benchmark, csr, lambda name: forward_and_backward(attention(name, csr), inputs), impl)


@pytest.mark.parametrize(("width", "heads"), SHAPES)
@pytest.mark.parametrize("impl", ["gnas_ext", "pyg"])
def bench_gat(benchmark: Any, csr: CSR, impl: str, width: int, heads: int) -> None:
    att = random(heads, width // heads) / width**0.5
    inputs = [random(csr.rows, heads, width // heads), att, -att]
    measure(benchmark, csr, lambda name: forward_and_backward(gat(name, csr), inputs), impl)
