"""select_edges: what is left, at every instruction set, against an entry at a time."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext import CSR, ops
from gnas_ext.ops import reference
from python_tests import graphs
from python_tests.emulated import refused
from python_tests.ops.oracle import DTYPES, INDEX_TYPES, with_index


def masks(nnz: int) -> list[torch.Tensor]:
    """All, none, one, and several shares at random."""
    random = torch.Generator().manual_seed(nnz)
    drawn = [torch.rand(nnz, generator=random) < share for share in (0.03, 0.5, 0.97)]
    one = torch.arange(nnz) == nnz - 1
    return [torch.ones(nnz, dtype=torch.bool), torch.zeros(nnz, dtype=torch.bool), one, *drawn]


def check(got: tuple[torch.Tensor, ...], expected: tuple[torch.Tensor, ...]) -> None:
    for ours, theirs in zip(got, expected, strict=False):
        assert torch.equal(ours.cpu(), theirs)


@pytest.mark.parametrize("index", INDEX_TYPES)
def test_matches_the_reference(backend: torch.device, graph: CSR, index: torch.dtype) -> None:
    csr = with_index(graph, index)
    there = csr.to(backend)
    for mask in masks(csr.nnz):
        expected = reference.select_edges(csr, mask)
        got = ops.select_edges(there.indptr, there.indices, there.cols, mask=ops.pack_mask(mask).to(backend))
        check(got, expected)
        assert got[3].shape == (0,)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("index", INDEX_TYPES)
@pytest.mark.parametrize("graph", graphs.LARGE, indirect=True)
def test_matches_boolean_indexing_over_many_blocks(backend: torch.device, graph: CSR, index: torch.dtype) -> None:
    csr = with_index(graph, index)
    row, there = csr.row_index(), csr.to(backend)
    for mask in masks(csr.nnz):
        counts = torch.bincount(row[mask].long(), minlength=csr.rows)
        got = ops.select_edges(there.indptr, there.indices, there.cols, mask=ops.pack_mask(mask).to(backend))
        assert torch.equal(got[0].cpu().diff(), counts.to(index))
        check(got[1:], (csr.indices[mask], mask.nonzero().squeeze(1).to(index)))


@pytest.mark.parametrize("index", INDEX_TYPES)
@pytest.mark.parametrize("graph", ["random", "one_hub"], indirect=True)
def test_the_bit_is_looked_up_where_the_weight_stands(backend: torch.device, graph: CSR, index: torch.dtype) -> None:
    """On the transpose: the same edges are left, and both graphs count the kept weights alike."""
    csr = with_index(graph, index)
    t = csr.to(backend).transposed_structure()
    assert t.edge is not None
    edge = t.edge.cpu().long()
    for mask in masks(csr.nnz):
        bits, kept = ops.pack_mask(mask).to(backend), mask[edge]
        stored = ops.select_edges(t.indptr, t.indices, csr.rows, t.edge, mask=bits)
        check(stored[1:], (t.indices.cpu()[kept], t.edge.cpu()[kept]))
        ranked = ops.select_edges(t.indptr, t.indices, csr.rows, t.edge, mask=bits, places="kept")
        rank = mask.cumsum(0) - 1
        check(ranked[1:], (t.indices.cpu()[kept], rank[edge[kept]].to(index)))
        assert torch.equal(ranked[0], stored[0])
    straight = ops.select_edges(csr.indptr, csr.indices, csr.cols, mask=ops.pack_mask(mask), places="kept")
    assert torch.equal(straight[2], torch.arange(int(mask.sum()), dtype=index))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("index", INDEX_TYPES)
def test_weights_come_along(backend: torch.device, index: torch.dtype, dtype: torch.dtype) -> None:
    csr = with_index(graphs.make("random"), index).to(backend)
    t = csr.transposed_structure()
    weight = torch.randn(csr.nnz).to(dtype).to(backend)
    for mask in masks(csr.nnz):
        there = mask.to(backend)
        bits = ops.pack_mask(there)
        got = ops.select_edges(csr.indptr, csr.indices, csr.cols, weight=weight, mask=bits, places="none")
        assert torch.equal(got[3], weight[there])
        assert got[2].shape == (0,)
        got = ops.select_edges(t.indptr, t.indices, csr.rows, t.edge, weight, bits)
        assert torch.equal(got[3], weight[got[2].long()])


@pytest.mark.parametrize("index", INDEX_TYPES)
def test_rows_and_names(backend: torch.device, index: torch.dtype) -> None:
    csr = with_index(graphs.make("random"), index)
    there = csr.to(backend)
    rows = torch.tensor([7, 0, 89, 7, 55], dtype=index)
    remap = (torch.arange(csr.cols) * 7 % 11 - 1).to(index)
    for mask in masks(csr.nnz):
        bits = ops.pack_mask(mask).to(backend)
        for listed in (None, rows):
            for names in (None, remap):
                expected = reference.select_edges(csr, mask, listed, names)
                on = [None if part is None else part.to(backend) for part in (listed, names)]
                got = ops.select_edges(there.indptr, there.indices, there.cols, mask=bits, rows=on[0], remap=on[1])
                check(got, expected)
    every = torch.ones(csr.nnz, dtype=torch.bool)
    got = ops.select_edges(there.indptr, there.indices, there.cols, rows=rows.to(backend))
    check(got, reference.select_edges(csr, every, rows))


def test_more_rows_and_words_than_a_scan_takes_at_once(backend: torch.device) -> None:
    """On CUDA sums run by 1024 threads, as often as there are so many numbers."""
    csr = graphs.make("random")
    rows = torch.arange(2500) % csr.rows
    got = ops.select_edges(csr.indptr.to(backend), csr.indices.to(backend), csr.cols, rows=rows.to(backend))
    assert torch.equal(got[0].cpu().diff(), csr.degree()[rows])
    nnz = 64 * 2100
    edge = torch.randperm(nnz, generator=torch.Generator().manual_seed(0))
    mask = edge % 3 == 0
    indptr, indices = torch.tensor([0, nnz]).to(backend), torch.zeros(nnz, dtype=torch.int64).to(backend)
    bits = ops.pack_mask(mask).to(backend)
    got = ops.select_edges(indptr, indices, 1, edge.to(backend), mask=bits, places="kept")
    assert torch.equal(got[2].cpu(), (mask.cumsum(0) - 1)[edge[mask[edge]]])


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_any_graph_under_any_mask(data: st.DataObject) -> None:
    degrees = data.draw(st.lists(st.integers(0, 70), max_size=6))
    nnz = sum(degrees)
    columns = data.draw(st.lists(st.integers(0, 4), min_size=nnz, max_size=nnz))
    bits = data.draw(st.lists(st.booleans(), min_size=nnz, max_size=nnz))
    remap = data.draw(st.none() | st.lists(st.integers(-1, 2), min_size=5, max_size=5))
    index = data.draw(st.sampled_from(INDEX_TYPES))
    indptr = torch.tensor([0, *degrees]).cumsum(0).to(index)
    csr = CSR(indptr, torch.tensor(columns, dtype=index), None, (len(degrees), 5))
    mask = torch.tensor(bits, dtype=torch.bool)
    names = None if remap is None else torch.tensor(remap, dtype=index)
    got = ops.select_edges(csr.indptr, csr.indices, 5, mask=ops.pack_mask(mask), remap=names, new_cols=5)
    check(got, reference.select_edges(csr, mask, None, names))


def test_bits_beyond_the_last_entry_do_not_count(backend: torch.device) -> None:
    csr = CSR(torch.tensor([0, 2, 3]), torch.tensor([0, 1, 0])).to(backend)
    bits = torch.tensor([0xFD], dtype=torch.uint8, device=backend)
    got = ops.select_edges(csr.indptr, csr.indices, 2, mask=bits)
    check(got, (torch.tensor([0, 1, 2]), torch.tensor([0, 0]), torch.tensor([0, 2])))


def test_results_do_not_depend_on_the_threads(backend: torch.device) -> None:
    csr = graphs.make("one_hub").to(backend)
    bits = ops.pack_mask(torch.rand(csr.nnz, device=backend) < 0.5)
    alone = ops.select_edges(csr.indptr, csr.indices, csr.cols, mask=bits)
    torch.set_num_threads(3)
    for got, expected in zip(ops.select_edges(csr.indptr, csr.indices, csr.cols, mask=bits), alone, strict=True):
        assert torch.equal(got, expected)


def test_what_is_refused() -> None:
    csr = graphs.make("random")
    bits = ops.pack_mask(torch.ones(csr.nnz, dtype=torch.bool))
    graph = (csr.indptr, csr.indices, csr.cols)
    with pytest.raises(TypeError, match=r"expected mask in uint8, got torch.bool: pack_mask\(mask\) makes it"):
        ops.select_edges(*graph, mask=torch.ones(csr.nnz, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"expected mask of shape \[75\], a bit an entry, got \[74\]"):
        ops.select_edges(*graph, mask=bits[1:])
    with pytest.raises(ValueError, match="expected places in stored, kept, none, got 'all'"):
        ops.select_edges(*graph, mask=bits, places="all")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'kept' counts the mask's bits: expected a mask, no rows and no remap"):
        ops.select_edges(*graph, places="kept")
    with pytest.raises(TypeError, match=r"expected rows in indptr's dtype torch.int64, got torch.int32"):
        ops.select_edges(*graph, rows=torch.zeros(2, dtype=torch.int32))
    with pytest.raises(ValueError, match=r"expected remap of shape \[70\], got \[69\]"):
        ops.select_edges(*graph, remap=torch.zeros(69, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"expected weight of shape \[600\], got \[600, 2\]"):
        ops.select_edges(*graph, weight=torch.ones(600, 2))


def test_what_would_be_read_out_of_bounds_is_refused() -> None:
    csr = graphs.make("random")
    graph = (csr.indptr, csr.indices, csr.cols)
    for wrong in (-1, csr.rows):
        with pytest.raises(RuntimeError, match=refused(r"rows\[1\] is none of the graph's 90 rows")):
            ops.select_edges(*graph, rows=torch.tensor([0, wrong]))
    for wrong in (-2, 5):
        remap = torch.full((csr.cols,), 4)
        remap[3] = wrong
        with pytest.raises(RuntimeError, match=refused(rf"remap\[3\] is {wrong}, expected -1 or one of the 5 new")):
            ops.select_edges(*graph, remap=remap, new_cols=5)
    raw = torch.ops.gnas_ext.select_edges
    for mask, message in (
        (torch.zeros(74, dtype=torch.uint8), r"mask of shape \[75\]"),
        (torch.zeros(75, dtype=torch.int8), "mask in uint8"),
    ):
        with pytest.raises(RuntimeError, match=f"select_edges: expected {message}"):
            raw(*graph[:2], None, None, mask, None, None, 70, 0, "stored")
    with pytest.raises(RuntimeError, match="expected a mask, no rows and no remap for places kept"):
        raw(*graph[:2], None, None, None, None, None, 70, 0, "kept")
