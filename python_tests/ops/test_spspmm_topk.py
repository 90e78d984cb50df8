"""spspmm_topk: against scipy's product and a sort."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext import CSR
from gnas_ext.graph import spspmm_topk
from gnas_ext.ops.spspmm_topk import _spspmm_topk_blocks
from python_tests import graphs
from python_tests.ops.oracle import INDEX_TYPES, with_index

Row = list[tuple[int, float]]
native = torch.ops.gnas_ext.spspmm_topk


def scipy_of(csr: CSR) -> Any:
    weight = np.ones(csr.nnz) if csr.weight is None else csr.weight.cpu().double().numpy()
    return scipy.sparse.csr_array((weight, csr.indices.cpu().numpy(), csr.indptr.cpu().numpy()), shape=csr.shape)


def by_scipy(a: CSR, b: CSR, k: int, exclude_diagonal: bool) -> list[Row]:
    """Entries by value and then by column; scipy drops sums that are zero, so what is there is counted apart."""
    product = (scipy_of(a) @ scipy_of(b)).toarray()
    paths = (scipy_of(a.with_weight(None)) @ scipy_of(b.with_weight(None))).toarray()
    rows = []
    for row in range(a.rows):
        cols = [col for col in np.flatnonzero(paths[row]).tolist() if not (exclude_diagonal and col == row)]
        rows.append(sorted(((col, product[row, col]) for col in cols), key=lambda entry: (-entry[1], entry[0]))[:k])
    return rows


def rows_of(csr: CSR) -> list[Row]:
    assert csr.weight is not None
    entries = list(zip(csr.indices.tolist(), csr.weight.tolist(), strict=True))
    ends = csr.indptr.tolist()
    return [entries[begin:end] for begin, end in pairwise(ends)]


def weighted(csr: CSR, dtype: torch.dtype) -> CSR:
    """Small whole numbers: sums are exact, and many are equal."""
    random = torch.Generator().manual_seed(csr.nnz)
    return csr.with_weight(torch.randint(-3, 4, (csr.nnz,), generator=random).to(dtype))


@pytest.mark.parametrize("index", INDEX_TYPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("graph", graphs.SMALL, indirect=True)
def test_is_scipys_product_cut_short(backend: torch.device, graph: CSR, dtype: torch.dtype, index: torch.dtype) -> None:
    csr = weighted(with_index(graph, index), dtype).to(backend)
    for a, b in ((csr, csr.t()), (csr.t(), csr)):
        for k, exclude in ((0, False), (1, True), (6, False), (6, True), (1_000, False)):
            got = spspmm_topk(a, b, k, exclude)
            assert rows_of(got) == by_scipy(a, b, k, exclude), (k, exclude)
            assert got.shape == (a.rows, b.cols)
            assert got.indptr.dtype == got.indices.dtype == index
            assert got.weight is not None
            assert got.weight.dtype == dtype


def test_without_weights_counts_paths(backend: torch.device) -> None:
    csr = graphs.make("random").to(backend)
    got = spspmm_topk(csr.t(), csr, 5)
    assert rows_of(got) == by_scipy(csr.t(), csr, 5, False)
    assert got.weight is not None
    assert got.weight.dtype == torch.float32
    half = csr.with_weight(torch.full((csr.nnz,), 0.5, device=backend))
    assert rows_of(spspmm_topk(csr.t(), half, 5)) == by_scipy(csr.t(), half, 5, False)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("name", ["one_hub", "random"])
def test_does_not_depend_on_the_threads(backend: torch.device, name: str) -> None:
    csr = graphs.make(name)
    csr = csr.with_weight(torch.randn(csr.nnz, generator=torch.Generator().manual_seed(0)))
    csr = csr.to(backend)
    two = spspmm_topk(csr, csr.t(), 9)
    torch.set_num_threads(1)
    one = spspmm_topk(csr, csr.t(), 9)
    assert torch.equal(one.indices, two.indices)
    assert one.weight is not None
    assert two.weight is not None
    assert torch.equal(one.weight, two.weight)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(-2, 2)), max_size=30),
    st.integers(0, 7),
    st.booleans(),
    st.sampled_from(INDEX_TYPES),
)
def test_any_graph(triples: list[tuple[int, int, int]], k: int, exclude: bool, index: torch.dtype) -> None:
    row, col, weight = torch.tensor(triples, dtype=torch.int64).reshape(-1, 3).T
    csr = CSR.from_coo(row.to(index), col.to(index), weight.double(), (5, 6))
    expected = by_scipy(csr, csr.t(), k, exclude)
    assert rows_of(spspmm_topk(csr, csr.t(), k, exclude)) == expected
    t = csr.t()
    blocks = _spspmm_topk_blocks(csr.indptr, csr.indices, csr.weight, t.indptr, t.indices, t.weight, 5, k, exclude)
    kernel = native(csr.indptr, csr.indices, csr.weight, t.indptr, t.indices, t.weight, 5, k, exclude)
    assert all(torch.equal(one, other) for one, other in zip(blocks, kernel, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_special_values_have_an_order(backend: torch.device, dtype: torch.dtype) -> None:
    nan, inf = float("nan"), float("inf")
    values = torch.tensor([0.0, -inf, nan, -0.0, inf, -1e-40, 1e-40, nan], dtype=dtype, device=backend)
    a = CSR(torch.tensor([0, 1]), torch.tensor([0])).to(backend)
    b = CSR(torch.tensor([0, 8]), torch.arange(8), None, (1, 8)).to(backend).with_weight(values)
    assert spspmm_topk(a, b, 8).indices.tolist() == [2, 7, 4, 6, 0, 3, 5, 1]
    assert spspmm_topk(a, b, 3).indices.tolist() == [2, 7, 4]


def test_says_what_was_expected_and_what_came() -> None:
    csr = graphs.make("random")
    floats = csr.with_weight(torch.ones(csr.nnz))
    learnt = csr.with_weight(torch.ones(csr.nnz, requires_grad=True))
    cases: list[tuple[type[Exception], str, CSR, CSR, int]] = [
        (ValueError, r"b of shape \[70, cols\], got \[90, 70\]", csr, csr, 1),
        (ValueError, "expected k of 0 or more, got -1", csr, csr.t(), -1),
        (TypeError, "one index dtype, got torch.int64 and torch.int32", csr, with_index(csr, torch.int32).t(), 1),
        (TypeError, "float32 or both in float64, got torch.float16", floats.to(dtype=torch.float16), csr.t(), 1),
        (TypeError, "got torch.float32 and torch.float64", floats, floats.to(dtype=torch.float64).t(), 1),
        (ValueError, "a choice of entries cannot pass on", learnt, csr.t(), 1),
    ]  # fmt: skip
    for kind, message, a, b, k in cases:
        with pytest.raises(kind, match=message):
            spspmm_topk(a, b, k)
    t = csr.transposed_structure()
    weight = torch.ones(csr.nnz)
    for left, right, cols, message in [
        (weight[1:], None, 90, r"a_weight of shape \[600\], got \[599\]"),
        (None, weight.long(), 90, "b_weight of float32 or float64"),
        (weight, weight.double(), 90, "both weights in one dtype"),
        (None, None, 89, "entry [0-9]+ of the graph is out of bounds"),
    ]:
        with pytest.raises(RuntimeError, match=message):
            native(csr.indptr, csr.indices, left, t.indptr, t.indices, right, cols, 3, False)
