"""Several heads at once: is each head what the op gives for its columns and its weights alone?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from gnas_ext import CSR, ops
from python_tests import graphs
from python_tests.ops.oracle import DTYPES, REDUCES, expected_sddmm, expected_spmm

if TYPE_CHECKING:
    from gnas_ext.ops.sddmm import Pairing
    from gnas_ext.ops.spmm import Reduce


def numbers(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


@pytest.mark.parametrize(
    ("heads", "dim"), [(1, 16), (2, 8), (3, 7), (4, 16), (8, 8), (2, 128), (17, 3), (20, 16), (2, 1)]
)
@pytest.mark.parametrize("reduce", REDUCES)
@pytest.mark.parametrize("graph", ["random", "isolated", "one_hub", "empty"], indirect=True)
def test_spmm(backend: torch.device, graph: CSR, reduce: Reduce, heads: int, dim: int) -> None:
    weight, x = numbers(graph.nnz, heads), numbers(graph.cols, heads, dim)
    got = ops.spmm(graph.with_weight(weight).to(backend), x.to(backend), reduce)
    for head in range(heads):
        one = graph.with_weight(weight[:, head].contiguous())
        expected_spmm(one, x[:, head], reduce).check(got[:, head], head)


@pytest.mark.parametrize("dtype", DTYPES)
def test_spmm_in_every_type_and_on_the_transpose(backend: torch.device, dtype: torch.dtype) -> None:
    csr = graphs.make("random")
    weight, x = numbers(csr.nnz, 4, dtype=dtype), numbers(csr.rows, 4, 24, dtype=dtype)
    got = ops.spmm(csr.with_weight(weight).to(backend).t(), x.to(backend))
    for head in range(4):
        one = csr.with_weight(weight[:, head].contiguous()).t()
        expected_spmm(CSR(one.indptr, one.indices, one.weight, one.shape), x[:, head], "sum").check(got[:, head], head)


def test_one_weight_for_all_heads(backend: torch.device) -> None:
    csr = graphs.make("random").with_weight(numbers(600)).to(backend)
    x = numbers(csr.cols, 3, 5).to(backend)
    assert torch.equal(ops.spmm(csr, x), ops.spmm(csr, x.flatten(1)).view(-1, 3, 5))


@pytest.mark.parametrize(("heads", "dim"), [(1, 16), (2, 8), (3, 7), (4, 40), (8, 16)])
@pytest.mark.parametrize("graph", ["random", "isolated", "one_hub", "empty"], indirect=True)
def test_sddmm(backend: torch.device, graph: CSR, heads: int, dim: int) -> None:
    a, b = numbers(graph.rows, heads, dim), numbers(graph.cols, heads, dim)
    got = ops.sddmm(graph.to(backend), a.to(backend), b.to(backend))
    assert got.shape == (graph.nnz, heads)
    for head in range(heads):
        expected_sddmm(graph, a[:, head], b[:, head]).check(got[:, head], head)


@pytest.mark.parametrize("op", ["add", "mul"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("graph", ["random", "isolated", "one_hub", "empty", "zero_rows"], indirect=True)
def test_sddmm_element_by_element(backend: torch.device, graph: CSR, dtype: torch.dtype, op: Pairing) -> None:
    a, b = numbers(graph.rows, 2, 9, dtype=dtype), numbers(graph.cols, 2, 9, dtype=dtype)
    left, right = a[graph.row_index()], b[graph.indices]
    expected = left + right if op == "add" else left * right
    assert torch.equal(ops.sddmm(graph.to(backend), a.to(backend), b.to(backend), op).cpu(), expected)
    t = graph.t()
    turned = ops.sddmm(t.to(backend), b.to(backend), a.to(backend), op).cpu()
    assert torch.equal(turned, b[t.row_index()] + a[t.indices] if op == "add" else b[t.row_index()] * a[t.indices])


@pytest.mark.parametrize("reduce", REDUCES)
def test_gradients_of_spmm(reduce: Reduce) -> None:
    csr = graphs.make("duplicates")
    weight = numbers(csr.nnz, 2, dtype=torch.float64).requires_grad_()
    x = numbers(csr.cols, 2, 3, dtype=torch.float64).requires_grad_()

    def function(weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return ops.spmm(csr.with_weight(weight), x, reduce)

    assert gradcheck(function, (weight, x))
    assert gradgradcheck(function, (weight, x))


@pytest.mark.parametrize("op", ["dot", "add", "mul"])
@pytest.mark.parametrize("turned", [False, True])
def test_gradients_of_sddmm(op: Pairing, turned: bool) -> None:
    csr = graphs.make("duplicates").t() if turned else graphs.make("duplicates")
    a = numbers(csr.rows, 2, 3, dtype=torch.float64).requires_grad_()
    b = numbers(csr.cols, 2, 3, dtype=torch.float64).requires_grad_()

    def function(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return ops.sddmm(csr, a, b, op)

    assert gradcheck(function, (a, b))
    assert gradgradcheck(function, (a, b))


def test_what_is_refused() -> None:
    csr = graphs.make("random")
    weighted = csr.with_weight(numbers(csr.nnz, 2))
    for x in (numbers(csr.cols, 6), numbers(csr.cols, 3, 2)):
        with pytest.raises(ValueError, match=r"spmm: expected x of shape \[70, 2, dim\] for weights of 2 heads, got"):
            ops.spmm(weighted, x)
    with pytest.raises(ValueError, match=r"sddmm: a and b differ in heads or dim: \[90, 2, 3\] and \[70, 3, 2\]"):
        ops.sddmm(csr, numbers(90, 2, 3), numbers(70, 3, 2))
    with pytest.raises(ValueError, match="sddmm: expected op in dot, add, mul, got 'sub'"):
        ops.sddmm(csr, numbers(90, 2), numbers(70, 2), "sub")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"CSR: expected weight of shape \[600\], one an entry, or \[600, heads\]"):
        csr.with_weight(numbers(600, 1, 1))
