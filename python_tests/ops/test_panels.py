"""Large features are copied a panel at a time: is the result that of the features where they are?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from gnas_ext import CSR, memory, ops
from python_tests.emulated import EMULATED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gnas_ext.ops.spmm import Reduce

pytestmark = pytest.mark.skipif(EMULATED, reason="panels are for the CPU's caches")
NODES, EDGES = 1 << 16, 17 << 16


@pytest.fixture(autouse=True)
def pool() -> Iterator[None]:
    limit = memory.stats().limit
    yield
    memory.set_limit(limit)
    memory.trim()


@pytest.fixture(scope="module")
def graph() -> CSR:
    random = torch.Generator().manual_seed(0)
    row, col = (torch.randint(NODES, (EDGES,), generator=random) for _ in range(2))
    return CSR.from_coo(row, col, torch.rand(EDGES, generator=random), shape=(NODES, NODES))


def features(width: int, dtype: torch.dtype = torch.float32, seed: int = 1) -> torch.Tensor:
    """More than 32 MiB."""
    x = torch.randn(NODES, width, generator=torch.Generator().manual_seed(seed)).to(dtype)
    assert x.numel() * x.element_size() >= 32 << 20
    return x


def with_panels_and_without(call: Callable[[], torch.Tensor], blocks: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """The pool is where panels live: without it there are none. `blocks`: the panel, and outputs of 4 MiB and more."""
    memory.set_limit(1 << 30)
    memory.trim()
    before = memory.stats()
    divided = call().clone()
    after = memory.stats()
    assert after.mapped + after.reused >= before.mapped + before.reused + blocks
    memory.set_limit(0)
    return divided, call()


# Whole panels; a rest of whole registers; a rest that is none.
@pytest.mark.parametrize("width", [128, 144, 131])
@pytest.mark.parametrize("reduce", ["sum", "mean", "max"])
def test_spmm(graph: CSR, width: int, reduce: Reduce, backend: torch.device) -> None:
    x = features(width)
    divided, whole = with_panels_and_without(lambda: ops.spmm(graph, x, reduce))
    torch.testing.assert_close(divided, whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("width", [128, 136])  # whole registers are written past the caches
def test_spmm_against_torch(graph: CSR, width: int, backend: torch.device) -> None:
    x = features(width)
    assert graph.weight is not None
    expected = torch.zeros(NODES, width).index_add_(0, graph.row_index(), x[graph.indices] * graph.weight.unsqueeze(1))
    torch.testing.assert_close(ops.spmm(graph, x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_types(graph: CSR, dtype: torch.dtype) -> None:
    x = features(272 if dtype == torch.bfloat16 else 72, dtype)
    csr = graph.to(dtype=dtype)
    divided, whole = with_panels_and_without(lambda: ops.spmm(csr, x))
    torch.testing.assert_close(divided, whole, rtol=1e-2 if dtype == torch.bfloat16 else 1e-12, atol=1e-12)


def test_winners(graph: CSR) -> None:
    x = features(136)

    def arg() -> torch.Tensor:
        winners: torch.Tensor = torch.ops.gnas_ext.spmm_arg(
            graph.indptr, graph.indices, graph.weight, x, "max", None, None, None
        )[1]
        return winners

    divided, whole = with_panels_and_without(arg)
    assert torch.equal(divided, whole)


@pytest.mark.parametrize("width", [128, 131])
def test_gradients(graph: CSR, width: int) -> None:
    """The transpose's weights are brought in order once for all panels."""

    def gradients() -> torch.Tensor:
        torch.manual_seed(0)
        x, weight = features(width).requires_grad_(), torch.rand(EDGES).requires_grad_()
        out = ops.spmm(graph.with_weight(weight), x)
        grads = torch.autograd.grad(out, [x, weight], features(width, seed=2))
        return torch.cat([g.flatten() for g in grads])

    divided, whole = with_panels_and_without(gradients)
    torch.testing.assert_close(divided, whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_propagate(graph: CSR, dtype: torch.dtype) -> None:
    x, csr = features(272 if dtype == torch.bfloat16 else 144, dtype), graph.to(dtype=dtype)
    divided, whole = with_panels_and_without(lambda: ops.propagate(csr, x, [0.1, 0.2, 0.3, 0.4]))
    half = dtype == torch.bfloat16
    torch.testing.assert_close(divided, whole, rtol=2e-2 if half else 1e-4, atol=0.5 if half else 1e-4)


@pytest.mark.parametrize("width", [128, 131])
def test_sddmm(graph: CSR, width: int, backend: torch.device) -> None:
    a, b = features(width), features(width, seed=3)
    divided, whole = with_panels_and_without(lambda: ops.sddmm(graph, a, b), blocks=1)
    torch.testing.assert_close(divided, whole, rtol=1e-4, atol=1e-4)


def test_a_corrupt_entry_is_found_in_the_first_panel(graph: CSR) -> None:
    indices = graph.indices.clone()
    indices[17] = NODES
    x = features(128)
    before = memory.stats().in_use
    with pytest.raises(RuntimeError, match=r"spmm: entry .* is out of bounds"):
        torch.ops.gnas_ext.spmm(graph.indptr, indices, None, None, x, "sum", None, None, None)
    assert memory.stats().in_use == before
