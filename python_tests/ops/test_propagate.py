"""Several hops in one call: a polynomial of the dense matrix?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from gnas_ext import CSR, ops
from gnas_ext.ops import reference
from python_tests import graphs
from python_tests.emulated import refused
from python_tests.ops.oracle import DTYPES, INDEX_TYPES, with_index

if TYPE_CHECKING:
    from collections.abc import Sequence

HOPS = ([0.5, 2.0], [0.0, 0.0, 1.0], [0.25, 0.5, -1.0, 2.0], [0.1, 0.2, 0.3, 0.4, 0.5])


def numbers(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


def weighted(csr: CSR, dtype: torch.dtype = torch.float32) -> CSR:
    return csr.with_weight((0.2 * numbers(csr.nnz)).to(dtype))


def polynomial(csr: CSR, x: torch.Tensor, hop_weights: Sequence[float]) -> torch.Tensor:
    """By the dense matrix, in float64."""
    matrix = reference.transpose(csr).T
    power, total = x.double(), torch.zeros_like(x, dtype=torch.float64)
    for hop_weight in hop_weights:
        total = total + hop_weight * power
        power = matrix @ power
    return total


@pytest.mark.parametrize("hop_weights", HOPS)
@pytest.mark.parametrize("width", [1, 15, 16, 17, 63, 64, 130])
def test_is_a_polynomial(backend: torch.device, width: int, hop_weights: list[float]) -> None:
    csr, x = weighted(graphs.make("square")), numbers(40, width)
    got = ops.propagate(csr.to(backend), x.to(backend), hop_weights).cpu()
    torch.testing.assert_close(got.double(), polynomial(csr, x, hop_weights), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("index", INDEX_TYPES)
def test_in_every_type(backend: torch.device, dtype: torch.dtype, index: torch.dtype) -> None:
    csr, x = with_index(weighted(graphs.make("square"), dtype), index), numbers(40, 20, dtype=dtype)
    got = ops.propagate(csr.to(backend), x.to(backend), HOPS[2]).cpu()
    # Each hop is rounded to the type.
    tolerance = 8 * torch.finfo(dtype).eps
    torch.testing.assert_close(got.double(), polynomial(csr, x, HOPS[2]), rtol=tolerance, atol=20 * tolerance)
    assert got.dtype == dtype


def test_rows_that_several_threads_share(backend: torch.device, two_threads: None) -> None:
    row = torch.cat([torch.zeros(30_000, dtype=torch.int64), torch.arange(3000), torch.randint(3000, (30_000,))])
    col = torch.randint(3000, (len(row),))
    csr = CSR.from_coo(row, col, torch.full((len(row),), 1e-3), (3000, 3000)).to(backend)
    x = numbers(3000, 33).to(backend)
    one, two = ops.spmm(csr, x), ops.spmm(csr, ops.spmm(csr, x))
    torch.testing.assert_close(ops.propagate(csr, x, [0.5, 1.5, -2.0]), 0.5 * x + 1.5 * one - 2 * two)


def test_a_single_weight_scales() -> None:
    csr, x = weighted(graphs.make("square")), numbers(40, 3)
    assert torch.equal(ops.propagate(csr, x, [2.0]), 2 * x)


def test_heads(backend: torch.device) -> None:
    csr = graphs.make("square")
    weight, x = 0.2 * numbers(csr.nnz, 3), numbers(40, 3, 7)
    got = ops.propagate(csr.with_weight(weight).to(backend), x.to(backend), HOPS[2]).cpu()
    for head in range(3):
        one = csr.with_weight(weight[:, head].contiguous())
        torch.testing.assert_close(got[:, head].double(), polynomial(one, x[:, head], HOPS[2]), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("turned", [False, True])
def test_gradients(turned: bool) -> None:
    csr = CSR.from_coo(torch.tensor([0, 0, 1, 2, 3, 3]), torch.tensor([1, 1, 2, 0, 3, 0]), None, (4, 4))
    weight = numbers(6, dtype=torch.float64).requires_grad_()
    x = numbers(4, 2, dtype=torch.float64).requires_grad_()
    hop_weights = numbers(4, dtype=torch.float64).requires_grad_()

    def function(weight: torch.Tensor, x: torch.Tensor, hop_weights: torch.Tensor) -> torch.Tensor:
        graph = csr.with_weight(weight)
        return ops.propagate(graph.t() if turned else graph, x, hop_weights)

    assert gradcheck(function, (weight, x, hop_weights))
    assert gradgradcheck(function, (weight, x, hop_weights))


def test_compiles() -> None:
    csr = weighted(graphs.make("square"))
    csr.transposed_structure()
    x = numbers(40, 8).requires_grad_()
    torch.compiler.reset()
    got = torch.compile(lambda x: ops.propagate(csr, x, HOPS[2]).sin().sum(), fullgraph=True, backend="aot_eager")(x)
    expected = ops.propagate(csr, x, HOPS[2]).sin().sum()
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(torch.autograd.grad(got, x), torch.autograd.grad(expected, x))


def test_what_is_refused() -> None:
    csr, x = weighted(graphs.make("square")), numbers(40, 4)
    with pytest.raises(ValueError, match=r"propagate: expected a square graph, got one of shape \[90, 70\]"):
        ops.propagate(graphs.make("random"), numbers(70, 4), [1.0, 1.0])
    for wrong in (torch.ones(2, 2), torch.ones(0)):
        with pytest.raises(ValueError, match=r"propagate: expected hop_weights of shape \[hops \+ 1\], got"):
            ops.propagate(csr, x, wrong)
    with pytest.raises(ValueError, match="spmm: expected x of shape"):
        ops.propagate(csr, x[0], [1.0, 1.0])
    with pytest.raises(ValueError, match=r"propagate: expected x of shape \[40, width\], got \[39, 4\]"):
        ops.propagate(csr, x[1:], [1.0, 1.0])
    raw = torch.ops.gnas_ext.propagate
    nothing = (None, None, None)
    for hop_weight, message in (
        (torch.ones(1), "at least one hop, got \\[1\\]"),
        (torch.ones(3, dtype=torch.float64), "hop_weight in float32"),
    ):
        with pytest.raises(RuntimeError, match=f"propagate: expected .*{message}"):
            raw(csr.indptr, csr.indices, None, csr.weight, x, hop_weight, *nothing)
    with pytest.raises(RuntimeError, match=refused("propagate: entry 0 of the graph is out of bounds")):
        raw(csr.indptr, csr.indices + 100, None, None, x, torch.ones(2), *nothing)
