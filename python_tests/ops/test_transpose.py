"""transpose and coo_to_csr: the same entries by an end, and where each one stood."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext import CSR, ops
from gnas_ext.ops.transpose import _transpose_cuda
from python_tests import graphs
from python_tests.ops.oracle import INDEX_TYPES, with_index

if TYPE_CHECKING:
    from collections.abc import Callable


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


@pytest.mark.parametrize("graph", graphs.SMALL, indirect=True)
def test_what_cuda_does_is_the_same(graph: CSR) -> None:
    """It is made of torch's ops, which run here too."""
    found = _transpose_cuda(graph.indptr, graph.indices, graph.cols)
    for got, expected in zip(found, ops.transpose(graph.indptr, graph.indices, graph.cols), strict=True):
        assert torch.equal(got, expected)
    if graph.nnz:
        beyond = graph.indices.clone()
        beyond[-1] = graph.cols
        with pytest.raises(RuntimeError, match=f"transpose: entry {graph.nnz - 1} of the graph is out of bounds"):
            _transpose_cuda(graph.indptr, beyond, graph.cols)


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


def drawn(keys: int, count: int, hub: float) -> torch.Tensor:
    """Keys of which a share is one and the same."""
    random = torch.Generator().manual_seed(count)
    key = torch.randint(keys, (count,), generator=random, dtype=torch.int32)
    return torch.where(torch.rand(count, generator=random) < hub, keys // 3, key)


# Large enough to be sorted in two steps: many buckets, more keys than entries, a hub, one key.
LARGE = [(3_000, 700_000, 0.0), (5_000_000, 200_000, 0.0), (70_000, 400_000, 0.8), (1, 150_000, 0.0)]


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("index", INDEX_TYPES)
@pytest.mark.parametrize(("keys", "count", "hub"), LARGE)
def test_large_graphs_are_sorted_in_two_steps(keys: int, count: int, hub: float, index: torch.dtype) -> None:
    indices = drawn(keys, count, hub).to(index)
    indptr = torch.cat([torch.arange(0, count, 7), torch.tensor([count] * 3)]).to(index)
    check(CSR(indptr, indices, None, (len(indptr) - 1, keys)))


@pytest.mark.parametrize("index", INDEX_TYPES)
@pytest.mark.parametrize("count", [0, 1, 50, 300_000])
def test_coo_to_csr_is_a_stable_sort_by_row(backend: torch.device, count: int, index: torch.dtype) -> None:
    row, col = drawn(900, count, 0.1).to(index), torch.arange(count, dtype=index) % 500
    indptr, indices, edge = ops.coo_to_csr(row.to(backend), col.to(backend), 901, 500)
    order = row.argsort(stable=True)
    assert {indptr.dtype, indices.dtype, edge.dtype} == {index}
    assert torch.equal(edge.long().cpu(), order)
    assert torch.equal(indices.cpu(), col[order])
    assert torch.equal(indptr.long().cpu(), torch.cat([torch.zeros(1).long(), row.bincount(minlength=901).cumsum(0)]))


@pytest.mark.parametrize("count", [5, 300_000])
@pytest.mark.parametrize("wrong", [-1, 70, 2**31 - 1])
def test_the_first_index_out_of_range_is_named(count: int, wrong: int) -> None:
    right, bad = torch.zeros(count, dtype=torch.int32), torch.zeros(count, dtype=torch.int32)
    bad[[3, count - 1]] = wrong
    calls: list[Callable[[], object]] = [
        lambda: ops.transpose(torch.tensor([0, count], dtype=torch.int32), bad, 70),
        lambda: ops.coo_to_csr(right, bad, 1, 70),
        lambda: ops.coo_to_csr(bad, right, 70, 1),
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match="entry 3 of the graph is out of bounds"):
            call()


def test_coo_to_csr_says_what_was_expected_and_what_came() -> None:
    long = torch.zeros(3, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"row and col of one shape \[nnz\], got \[3\] and \[2\]"):
        ops.coo_to_csr(long, long[1:], 1, 1)
    with pytest.raises(ValueError, match="expected cols of 0 or more, got -2"):
        ops.coo_to_csr(long, long, 1, -2)
    native = torch.ops.gnas_ext.coo_to_csr
    for arguments, message in {
        (long, long[1:], 1, 1): r"col of shape \[3\], got \[2\]",
        (long, long.int(), 1, 1): "col in row's dtype",
        (long.float(), long.float(), 1, 1): "row of int32 or int64",
        (long.reshape(3, 1), long, 1, 1): r"row of shape \[nnz\], got \[3, 1\]",
        (long, long, -1, 1): "rows and cols of 0 or more, got -1 and 1",
    }.items():
        with pytest.raises(RuntimeError, match=f"coo_to_csr: expected {message}"):
            native(*arguments)
