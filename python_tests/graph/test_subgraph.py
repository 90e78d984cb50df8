"""coalesce, induced_subgraph, k_core: against loops over entries."""

from __future__ import annotations

from functools import partial
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext import CSR
from gnas_ext.graph import coalesce, induced_subgraph, k_core
from gnas_ext.graph.subgraph import Merge
from python_tests import graphs
from python_tests.ops.oracle import DTYPES, INDEX_TYPES, with_index

Places = dict[tuple[int, int], list[float]]
REDUCES: dict[Merge, Any] = {"sum": sum, "mean": np.mean, "max": max, "min": min}


def entries(csr: CSR) -> list[tuple[int, int, float]]:
    weight = torch.ones(csr.nnz) if csr.weight is None else csr.weight.detach()
    return list(zip(csr.row_index().tolist(), csr.indices.tolist(), weight.tolist(), strict=True))


def by_place(csr: CSR) -> Places:
    places: Places = {}
    for row, col, weight in entries(csr):
        places.setdefault((row, col), []).append(weight)
    return places


@pytest.mark.parametrize("reduce", get_args(Merge))
@pytest.mark.parametrize("graph", [*graphs.SMALL, "one_hub"], indirect=True)
def test_coalesce_leaves_one_entry_a_place(backend: torch.device, graph: CSR, reduce: Merge) -> None:
    weight = torch.randn(graph.nnz, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for csr in (graph.with_weight(weight).to(backend), graph.with_weight(weight).to(backend).t()):
        got = coalesce(csr, reduce)
        expected = {place: REDUCES[reduce](values) for place, values in by_place(csr).items()}
        assert [(row, col) for row, col, _ in entries(got)] == sorted(expected)
        np.testing.assert_allclose([value for *_, value in entries(got)], [expected[k] for k in sorted(expected)])
        assert got.shape == csr.shape


@pytest.mark.parametrize("index", INDEX_TYPES)
def test_coalesce_without_weights_counts(backend: torch.device, index: torch.dtype) -> None:
    csr = with_index(graphs.make("duplicates"), index).to(backend)
    got = coalesce(csr)
    assert got.indptr.dtype == got.indices.dtype == index
    assert {(row, col): weight for row, col, weight in entries(got)} == {p: len(v) for p, v in by_place(csr).items()}
    assert coalesce(csr, "max").weight is None
    unsorted = CSR(torch.tensor([0, 3]), torch.tensor([4, 0, 2]), None, (1, 5))
    assert coalesce(unsorted).indices.tolist() == [0, 2, 4]
    assert coalesce(unsorted).weight is None


def test_coalesce_returns_what_is_as_it_should_be() -> None:
    csr = CSR(torch.tensor([0, 0, 2, 2, 3, 3]), torch.tensor([0, 4, 0]))
    assert coalesce(csr) is csr
    merged = coalesce(graphs.make("duplicates"))
    assert coalesce(merged) is merged


@pytest.mark.parametrize("dtype", DTYPES)
def test_coalesce_keeps_the_dtype(dtype: torch.dtype) -> None:
    csr = CSR(torch.tensor([0, 4096]), torch.zeros(4096).long(), torch.ones(4096, dtype=dtype))
    merged = coalesce(csr).weight
    assert merged is not None
    assert merged.dtype == dtype
    assert merged.tolist() == [4096]


def merged(csr: CSR, reduce: Merge, weight: torch.Tensor) -> torch.Tensor:
    out = coalesce(csr.with_weight(weight), reduce).weight
    assert out is not None
    return out


@pytest.mark.parametrize("reduce", get_args(Merge))
def test_coalesce_has_derivatives(backend: torch.device, reduce: Merge) -> None:
    csr = CSR.from_coo(torch.tensor([1, 0, 1, 1, 1]), torch.tensor([2, 1, 2, 0, 2])).to(backend)
    weight = torch.tensor([0.3, -1, 2, 0.5, -0.7], dtype=torch.float64, device=backend, requires_grad=True)
    assert torch.autograd.gradcheck(partial(merged, csr, reduce), (weight,))
    assert torch.autograd.gradgradcheck(partial(merged, csr, reduce), (weight,))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6)), max_size=40), st.sampled_from(INDEX_TYPES))
def test_coalesce_any_graph(pairs: list[tuple[int, int]], index: torch.dtype) -> None:
    row, col = torch.tensor(pairs, dtype=index).reshape(-1, 2).T
    got = coalesce(CSR.from_coo(row, col, torch.ones(len(pairs)), (6, 7)))
    CSR(got.indptr, got.indices, got.weight, got.shape)
    expected = torch.zeros(6, 7).index_put_((row.long(), col.long()), torch.ones(len(pairs)), accumulate=True)
    assert entries(got) == [(int(r), int(c), float(expected[r, c])) for r, c in expected.nonzero()]


def induced_by_hand(csr: CSR, rows: list[int], cols: list[int]) -> list[tuple[int, int, float]]:
    indptr, all_entries = csr.indptr.tolist(), entries(csr)
    found = []
    for new, row in enumerate(rows):
        for _, col, weight in all_entries[indptr[row] : indptr[row + 1]]:
            if col in cols:
                found.append((new, cols.index(col), weight))
    return found


@pytest.mark.parametrize("index", INDEX_TYPES)
@pytest.mark.parametrize("graph", ["empty", "isolated", "random", "duplicates", "zero_cols"], indirect=True)
def test_induced_subgraph(backend: torch.device, graph: CSR, index: torch.dtype) -> None:
    csr = with_index(graph, index).with_weight(torch.arange(graph.nnz, dtype=torch.float32)).to(backend)
    rows = torch.randperm(csr.rows, generator=torch.Generator().manual_seed(3))[: csr.rows * 2 // 3]
    cols = torch.randperm(csr.cols, generator=torch.Generator().manual_seed(4))[: csr.cols * 2 // 3]
    rows = torch.cat([rows, rows[:1]])
    got = induced_subgraph(csr, rows.to(backend), cols.to(backend))
    assert entries(got.csr) == induced_by_hand(csr, rows.tolist(), cols.tolist())
    assert got.csr.shape == (len(rows), len(cols))
    assert got.csr.indptr.dtype == got.csr.indices.dtype == index
    assert csr.weight is not None
    assert got.csr.weight is not None
    assert torch.equal(csr.weight[got.edge.long()], got.csr.weight)


def test_induced_subgraph_of_nodes() -> None:
    csr = CSR(torch.tensor([0, 2, 4, 5]), torch.tensor([1, 2, 0, 2, 1]), torch.arange(5.0), (3, 3))
    assert entries(induced_subgraph(csr, torch.tensor([2, 1])).csr) == [(0, 1, 4.0), (1, 0, 3.0)]


def core_by_hand(csr: CSR, k_rows: int, k_cols: int) -> tuple[list[int], list[int]]:
    left = entries(csr)
    rows, cols = set(range(csr.rows)), set(range(csr.cols))
    while True:
        left = [(row, col, weight) for row, col, weight in left if row in rows and col in cols]
        keep_rows = {row for row in rows if sum(r == row for r, _, _ in left) >= k_rows}
        keep_cols = {col for col in cols if sum(c == col for _, c, _ in left) >= k_cols}
        if keep_rows == rows and keep_cols == cols:
            return sorted(rows), sorted(cols)
        rows, cols = keep_rows, keep_cols


@pytest.mark.parametrize("k", [(0, 0), (1, 1), (5, 7), (6, 8), (7, 3), (40, 40)])
@pytest.mark.parametrize("graph", graphs.SMALL, indirect=True)
def test_k_core(backend: torch.device, graph: CSR, k: tuple[int, int]) -> None:
    csr = graph.with_weight(torch.arange(graph.nnz, dtype=torch.float64)).to(backend)
    got = k_core(csr, *k)
    rows, cols = core_by_hand(csr, *k)
    assert (got.rows.tolist(), got.cols.tolist()) == (rows, cols)
    assert entries(got.csr) == induced_by_hand(csr, rows, cols)


def test_k_core_peels_what_is_left_alone_by_others() -> None:
    """A triangle with a tail: the tail goes node by node."""
    edges = torch.tensor([[0, 1], [1, 2], [2, 0], [2, 3], [3, 4], [4, 5]])
    both = torch.cat([edges, edges.flip(1)]).T
    core = k_core(CSR.from_edge_index(both), 2)
    assert core.rows.tolist() == core.cols.tolist() == [0, 1, 2]
    assert core.csr.degree().tolist() == [2, 2, 2]
    assert k_core(CSR.from_edge_index(both), 3).rows.tolist() == []


def test_says_what_was_expected_and_what_came() -> None:
    csr = graphs.make("random")
    nodes = torch.tensor([0, 1])
    with pytest.raises(ValueError, match="coalesce: expected reduce in sum, mean, max, min, got 'median'"):
        coalesce(csr, "median")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"a graph of shape \[90, 70\] needs cols as well"):
        induced_subgraph(csr, nodes)
    with pytest.raises(ValueError, match=r"cols\[1\] is 70, but the graph has 70 columns"):
        induced_subgraph(csr, nodes, nodes * 70)
    with pytest.raises(ValueError, match="each column once"):
        induced_subgraph(csr, nodes, nodes * 0)
    with pytest.raises(RuntimeError, match=r"nodes\[1\] is 90, but the graph has 90 rows"):
        induced_subgraph(csr, nodes * 90, nodes)
    with pytest.raises(ValueError, match="k_core: expected k and k_cols of 0 or more, got 2 and -1"):
        k_core(csr, 2, -1)
