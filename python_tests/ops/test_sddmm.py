"""sddmm: values against two oracles, and gradients."""

from __future__ import annotations

from functools import partial
from itertools import product

import numpy as np
import pytest
import torch

from gnas_ext import CSR, ops
from gnas_ext.ops import reference
from python_tests import graphs
from python_tests.ops.oracle import DTYPES, INDEX_TYPES, WIDTHS, expected_sddmm, with_index


def sides(csr: CSR, width: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(width)
    return tuple(torch.randn(size, width, generator=random).to(dtype) for size in csr.shape)  # type: ignore[return-value]


@pytest.mark.parametrize("dtype", DTYPES)
def test_matches_the_reference(backend: torch.device, graph: CSR, dtype: torch.dtype) -> None:
    for width in WIDTHS:
        a, b = sides(graph, width, dtype)
        expected = expected_sddmm(graph, a, b)
        for index in INDEX_TYPES:
            got = ops.sddmm(with_index(graph, index).to(backend), a.to(backend), b.to(backend))
            expected.check(got, (width, index))


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("graph", graphs.LARGE, indirect=True)
def test_matches_the_reference_where_cuts_divide_rows(backend: torch.device, graph: CSR) -> None:
    for dtype, width in product((torch.float32, torch.float16), (1, 17)):
        a, b = sides(graph, width, dtype)
        got = ops.sddmm(graph.to(backend), a.to(backend), b.to(backend))
        expected_sddmm(graph, a, b).check(got, (dtype, width))


@pytest.mark.parametrize("dtype", DTYPES)
def test_matches_the_reference_where_rows_are_taken_in_pieces(backend: torch.device, dtype: torch.dtype) -> None:
    csr = graphs.make(graphs.HUBS)
    for width, index in product((1, 16, 64, 200, 300), INDEX_TYPES):
        a, b = sides(csr, width, dtype)
        got = ops.sddmm(with_index(csr, index).to(backend), a.to(backend), b.to(backend))
        expected_sddmm(csr, a, b).check(got, (width, index))


def test_matches_the_dense_product(backend: torch.device, graph: CSR) -> None:
    a, b = sides(graph, 19, torch.float64)
    got = ops.sddmm(graph.to(backend), a.to(backend), b.to(backend)).cpu()
    dense = a.numpy() @ b.numpy().T
    row = np.repeat(np.arange(graph.rows), np.diff(graph.indptr.numpy()))
    np.testing.assert_allclose(got.numpy(), dense[row, graph.indices.numpy()], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_are_summed_in_float32(backend: torch.device, dtype: torch.dtype) -> None:
    csr = CSR(torch.tensor([0, 1]), torch.tensor([0])).to(backend)
    ones = torch.ones(1, 4096, dtype=dtype, device=backend)
    assert ops.sddmm(csr, ones, ones).item() == 4096


def test_strided_sides_mean_the_same(backend: torch.device) -> None:
    csr = graphs.make("random").to(backend)
    a, b = (side.to(backend) for side in sides(csr, 34, torch.float32))
    assert torch.equal(ops.sddmm(csr, a.T.contiguous().T, b.T.contiguous().T), ops.sddmm(csr, a, b))


def test_nan_stays_on_its_edges(backend: torch.device) -> None:
    csr = graphs.make("random").to(backend)
    a, b = (side.to(backend) for side in sides(csr, 37, torch.float32))
    b[3, 36] = torch.nan
    got = ops.sddmm(csr, a, b)
    assert torch.equal(got.isnan(), csr.indices == 3)


@pytest.mark.parametrize("width", [1, 3, 8, 15])
def test_what_stands_beside_a_narrow_row_does_not_matter(backend: torch.device, width: int) -> None:
    csr = graphs.make("random").to(backend)
    a, b = (side.to(backend) for side in sides(csr, width, torch.float32))
    expected = ops.sddmm(csr, a, b)
    for number in (torch.nan, torch.inf):
        a[5] = b[3] = number
        got = ops.sddmm(csr, a, b)
        touched = (csr.indices == 3) | (csr.row_index() == 5)
        assert torch.equal(got[~touched], expected[~touched])
        assert not got[touched].isfinite().any()


@pytest.mark.parametrize("width", [1, 3])  # narrower than a register at every level
def test_a_narrow_dot_does_not_depend_on_where_its_edge_stands(backend: torch.device, width: int) -> None:
    one = CSR(torch.tensor([0, 35]), torch.zeros(35, dtype=torch.int64), None, (1, 1)).to(backend)
    a, b = (torch.randn(1, width, generator=torch.Generator().manual_seed(n)).to(backend) for n in (0, 1))
    assert len(set(ops.sddmm(one, a, b).tolist())) == 1


def test_places_of_narrow_dots(backend: torch.device) -> None:
    csr = graphs.make("random")
    for width in (1, 6, 15):
        a, b = sides(csr, width, torch.float64)
        edge = torch.randperm(csr.nnz, generator=torch.Generator().manual_seed(6))
        tensors = [t.to(backend) for t in (csr.indptr, csr.indices, edge, a, b)]
        got = torch.ops.gnas_ext.sddmm(*tensors, None, 0, None, None, None).cpu()
        torch.testing.assert_close(got[edge], (a[csr.row_index()] * b[csr.indices]).sum(1))


def test_place_and_select_name_the_edge(backend: torch.device) -> None:
    """out[edge[e]] sums over the columns where select[row of e] is edge[e], and over no others."""
    csr = graphs.make("random")
    a, b = sides(csr, 11, torch.float64)
    random = torch.Generator().manual_seed(6)
    edge = torch.randperm(csr.nnz, generator=random)
    row, col = csr.row_index(), csr.indices
    select = torch.full(a.shape, -1)
    select[row] = torch.where(torch.rand(csr.nnz, 11, generator=random) < 0.5, edge.unsqueeze(1), -1)
    expected = torch.zeros(csr.nnz, dtype=torch.float64)
    expected[edge] = (a[row] * b[col] * (select[row] == edge.unsqueeze(1))).sum(1)
    assert expected.any()
    tensors = (csr.indptr, csr.indices, edge, a, b, select)
    got = torch.ops.gnas_ext.sddmm(*(t.to(backend) for t in tensors), 0, None, None, None).cpu()
    torch.testing.assert_close(got, expected)


def test_derivatives(backend: torch.device) -> None:
    csr = CSR.from_coo(torch.tensor([3, 0, 0, 3, 2]), torch.tensor([1, 1, 1, 0, 4]), None, (5, 5)).to(backend)
    a, b = (side.to(backend).requires_grad_() for side in sides(csr, 3, torch.float64))
    assert torch.autograd.gradcheck(partial(ops.sddmm, csr), (a, b))
    assert torch.autograd.gradgradcheck(partial(ops.sddmm, csr), (a, b))


@pytest.mark.parametrize("graph", [*graphs.SMALL, "one_hub"], indirect=True)
def test_gradients_are_those_of_the_reference(backend: torch.device, graph: CSR) -> None:
    csr = graph.to(backend)
    a, b = (side.to(backend).requires_grad_() for side in sides(graph, 6, torch.float64))
    sensitivity = torch.linspace(-1, 2, csr.nnz, dtype=torch.float64, device=backend)
    ours = torch.autograd.grad(ops.sddmm(csr, a, b), (a, b), sensitivity)
    theirs = torch.autograd.grad(reference.sddmm(csr, a, b), (a, b), sensitivity)
    for got, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(got, expected)
