"""transpose: the same entries by column, and where each one stood."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext import CSR, ops
from python_tests import graphs
from python_tests.ops.oracle import INDEX_TYPES, with_index


def check(csr: CSR) -> None:
    indptr, indices, edge = ops.transpose(csr.indptr, csr.indices, csr.cols)
    assert {indptr.dtype, indices.dtype, edge.dtype} == {csr.indptr.dtype}
    # A sort by column that keeps the order within one: scipy's own transpose would add duplicates up.
    order = torch.argsort(csr.indices, stable=True)
    assert torch.equal(edge.long(), order)
    assert torch.equal(indices, csr.row_index()[order])
    counts = torch.bincount(csr.indices, minlength=csr.cols)
    assert torch.equal(indptr.long(), torch.cat([counts.new_zeros(1), counts.cumsum(0)]))


@pytest.mark.parametrize("index", INDEX_TYPES)
@pytest.mark.parametrize("graph", [*graphs.SMALL, *graphs.LARGE], indirect=True)
def test_is_a_stable_sort_by_column(backend: torch.device, graph: CSR, index: torch.dtype) -> None:
    check(with_index(graph, index).to(backend))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=50))
def test_is_a_stable_sort_by_column_of_any_graph(entries: list[tuple[int, int]]) -> None:
    row, col = torch.tensor(entries, dtype=torch.int64).reshape(-1, 2).T
    check(CSR.from_coo(row, col, None, (9, 9)))


def test_is_scipys(backend: torch.device) -> None:
    csr = graphs.make("random")
    weight = torch.arange(csr.nnz, dtype=torch.float64)
    matrix = scipy.sparse.csr_array((weight.numpy(), csr.indices.numpy(), csr.indptr.numpy()), shape=csr.shape)
    indptr, indices, edge = (t.cpu() for t in ops.transpose(csr.indptr.to(backend), csr.indices.to(backend), csr.cols))
    got = scipy.sparse.csr_array((weight[edge].numpy(), indices.numpy(), indptr.numpy()), shape=(csr.cols, csr.rows))
    np.testing.assert_array_equal(got.toarray(), matrix.toarray().T)


def test_columns_beyond_the_last_entry_are_empty(backend: torch.device) -> None:
    indptr, _, _ = ops.transpose(torch.tensor([0, 1], device=backend), torch.tensor([0], device=backend), 1_000)
    assert torch.equal(indptr.cpu(), torch.tensor([0] + [1] * 1_000))
