"""Sampling: the entries that the generator names, each as likely as another, whatever runs it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext import CSR, ops
from gnas_ext.graph import sample_neighbors, sample_subgraph
from python_tests import graphs
from python_tests.emulated import EMULATED, refused
from python_tests.ops.oracle import INDEX_TYPES, with_index
from python_tests.philox import Draws

native = torch.ops.gnas_ext.sample_neighbors


def drawn_by_hand(indptr: list[int], node: int, fanout: int, replace: bool, draws: Draws) -> list[int]:
    """The entries of one row of the batch, from the same draws."""
    begin, size = indptr[node], indptr[node + 1] - indptr[node]
    if replace:
        return [begin + draws.below(size) for _ in range(fanout)] if size else []
    if fanout < 0 or size <= fanout:
        return list(range(begin, begin + size))
    if fanout > 64 and fanout > 8 * size // fanout:
        chosen: list[int] = []
        for entry in range(size):
            if len(chosen) < fanout and draws.below(size - entry) < fanout - len(chosen):
                chosen.append(begin + entry)
        return chosen
    taken: set[int] = set()
    for last in range(size - fanout, size):
        drawn = draws.below(last + 1)
        taken.add(last if drawn in taken else drawn)
    return [begin + entry for entry in sorted(taken)]


def check(csr: CSR, nodes: torch.Tensor, fanout: int, replace: bool, seed: int) -> None:
    """On the device of csr."""
    got = sample_neighbors(csr, nodes.to(csr.device), fanout, replace, seed)
    indptr = csr.indptr.tolist()
    rows = [
        drawn_by_hand(indptr, node, fanout, replace, Draws(seed % 2**64, position))
        for position, node in enumerate(nodes.tolist())
    ]
    assert got.edge.tolist() == [entry for row in rows for entry in row]
    assert got.csr.degree().tolist() == [len(row) for row in rows]
    assert got.csr.shape == (len(nodes), csr.cols)
    assert torch.equal(got.csr.indices, csr.indices[got.edge.long()])
    assert {got.edge.dtype, got.csr.indptr.dtype, got.csr.indices.dtype} == {csr.indptr.dtype}


@pytest.mark.parametrize("index", INDEX_TYPES)
@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("graph", ["isolated", "random", "single_row", "zero_cols"], indirect=True)
def test_draws_what_the_generator_names(backend: torch.device, graph: CSR, replace: bool, index: torch.dtype) -> None:
    csr = with_index(graph, index).to(backend)
    nodes = torch.arange(csr.rows - 1, -1, -1, dtype=index).repeat(2)
    for fanout in (0, 1, 5, 300):
        check(csr, nodes, fanout, replace, 2**40 + 3)
    if not replace:
        check(csr, nodes, -1, replace, 0)


@pytest.mark.usefixtures("two_threads")
def test_large_rows_and_many_chunks(backend: torch.device) -> None:
    hub = graphs.make("one_hub").to(backend)  # row 3 has 60,000 entries: both ways to draw a set
    nodes = torch.tensor([3, 4, 3, 5, 0])
    for fanout in (64, 65, 700, 59_000):
        check(hub, nodes, fanout, False, -5)
    check(hub, nodes, 2_000, True, 5)
    check(graphs.make("random").to(backend), torch.arange(9_000) % 90, 4, False, 1)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("replace", [False, True])
def test_does_not_depend_on_the_threads(replace: bool) -> None:
    csr = graphs.make("desert")
    nodes = torch.arange(csr.rows)
    two = sample_neighbors(csr, nodes, 40, replace, 9)
    torch.set_num_threads(1)
    one = sample_neighbors(csr, nodes, 40, replace, 9)
    assert torch.equal(one.edge, two.edge)
    assert torch.equal(one.csr.indptr, two.csr.indptr)


@settings(deadline=None)
@given(
    degrees=st.lists(st.integers(0, 12), min_size=1, max_size=6),
    nodes=st.lists(st.integers(0, 5), max_size=8),
    fanout=st.integers(0, 13),
    replace=st.booleans(),
    seed=st.integers(-(2**63), 2**63 - 1),
)
def test_any_batch(degrees: list[int], nodes: list[int], fanout: int, replace: bool, seed: int) -> None:
    indptr = torch.tensor([0, *np.cumsum(degrees)])
    csr = CSR(indptr, torch.arange(int(indptr[-1])) % 7, None, (len(degrees), 7))
    check(csr, torch.tensor([node % len(degrees) for node in nodes], dtype=torch.int64), fanout, replace, seed)


@pytest.mark.parametrize(("size", "fanout"), [(9, 4), (200, 90)])
def test_every_entry_is_as_likely_as_another(size: int, fanout: int) -> None:
    csr = CSR(torch.tensor([0, size]), torch.arange(size))
    batch = 20_000
    picked = torch.bincount(sample_neighbors(csr, torch.zeros(batch).long(), fanout, seed=3).edge, minlength=size)
    expected = batch * fanout / size
    error = (picked - expected) / (expected * (1 - fanout / size)) ** 0.5
    assert float(error.abs().max()) < 4.5  # standard deviations
    pairs = sample_neighbors(csr, torch.zeros(batch).long(), fanout, seed=4).edge.reshape(batch, fanout)
    both = int(((pairs == 0).any(1) & (pairs == size - 1).any(1)).sum())
    chance = fanout * (fanout - 1) / (size * (size - 1))
    assert abs(both - batch * chance) < 4.5 * (batch * chance * (1 - chance)) ** 0.5


def test_weights_come_along_with_their_gradients(backend: torch.device) -> None:
    graph = graphs.make("random").to(backend)
    weight = torch.linspace(-1, 1, graph.nnz, dtype=torch.float64, device=backend, requires_grad=True)
    for csr in (graph.with_weight(weight), graph.with_weight(weight).t()):
        got = sample_neighbors(csr, torch.arange(csr.rows, device=backend), 3)
        assert csr.weight is not None
        assert got.csr.weight is not None
        assert torch.equal(got.csr.weight, csr.weight[got.edge])
        (grad,) = torch.autograd.grad(ops.spmm(got.csr, torch.ones(csr.cols, 1).to(weight)).sum(), weight)
        assert int(grad.sum()) == got.csr.nnz


def test_a_batch_over_several_hops(backend: torch.device) -> None:
    random = torch.Generator().manual_seed(2)
    weight = torch.rand(900, generator=random, dtype=torch.float64)
    row, col = (torch.randint(120, (900,), generator=random) for _ in range(2))
    csr = CSR.from_coo(row, col, weight, (120, 120)).to(backend)
    seeds = torch.tensor([7, 100, 3], device=backend)
    sample = sample_subgraph(csr, seeds, [-1, 2, 0], seed=11)
    assert sample.nodes[:3].tolist() == [7, 100, 3]
    assert len(set(sample.nodes.tolist())) == len(sample.nodes)
    known = 3
    for hop, (block, edge) in enumerate(zip(sample.blocks, sample.edges, strict=True)):
        assert block.rows == known
        known = block.cols
        assert torch.equal(sample.nodes[block.indices], csr.indices[edge])
        assert torch.equal(sample.nodes[block.row_index()], csr.row_index()[edge])
        assert csr.weight is not None
        assert block.weight is not None
        assert torch.equal(block.weight, csr.weight[edge])
        degree = csr.degree()[sample.nodes[: block.rows]]
        assert torch.equal(block.degree(), degree.clamp(max=[1_000, 2, 0][hop]))
    assert known == len(sample.nodes)
    # All neighbours at every hop: the batch knows what the whole graph would tell it.
    whole = sample_subgraph(csr, seeds, [-1, -1])
    x = torch.rand(120, 4, generator=random, dtype=torch.float64).to(backend)
    got = x[whole.nodes]
    for block in reversed(whole.blocks):
        got = ops.spmm(block, got)
    torch.testing.assert_close(got, ops.spmm(csr, ops.spmm(csr, x))[seeds])


def test_hops_draw_from_numbers_of_their_own() -> None:
    csr = CSR(torch.tensor([0, 50, *[50] * 49]), torch.arange(50), None, (50, 50))
    sample = sample_subgraph(csr, torch.tensor([0]), [25, 25])
    assert sample.edges[0].tolist() != sample.edges[1].tolist()


def test_says_what_was_expected_and_what_came() -> None:
    csr = graphs.make("random")
    nodes = torch.tensor([0, 1])
    cases: list[tuple[type[Exception], str, Any]] = [
        (ValueError, r"nodes of shape \[count\], got \[1, 2\]", lambda: sample_neighbors(csr, nodes[None], 1)),
        (ValueError, "a fanout of 0 or more, or -1 without replace, got -2", lambda: sample_neighbors(csr, nodes, -2)),
        (ValueError, "got -1", lambda: sample_neighbors(csr, nodes, -1, True)),
        (ValueError, "nodes is on meta, the graph on cpu", lambda: sample_neighbors(csr, nodes.to("meta"), 1)),
        (RuntimeError, r"nodes\[1\] is 90, but the graph has 90 rows", lambda: sample_neighbors(csr, nodes * 90, 1)),
        (RuntimeError, r"nodes\[1\] is -1, but the graph", lambda: sample_neighbors(csr, -nodes, 1)),
        (TypeError, "nodes in the graph's torch.int64, got torch.int32", lambda: ops.sample_neighbors(
            csr.indptr, csr.indices, nodes.int(), 1)),
        (ValueError, r"a graph of shape \[n, n\], got \[90, 70\]", lambda: sample_subgraph(csr, nodes, [1])),
    ]  # fmt: skip
    for kind, message, call in cases:
        with pytest.raises(kind, match=message):
            call()
    square = CSR(torch.tensor([0, 0]), nodes[:0], None, (1, 1))
    with pytest.raises(ValueError, match="each seed once"):
        sample_subgraph(square, nodes * 0, [1])


@pytest.mark.parametrize("index", INDEX_TYPES)
def test_raw_calls_never_read_out_of_bounds(index: torch.dtype) -> None:
    def call(
        indptr: list[int], nodes: list[int], places: list[int], drawn: int = 3, replace: bool = False
    ) -> list[int]:
        arrays = [torch.tensor(part, dtype=index) for part in (indptr, range(5), nodes, places)]
        return native(*arrays, drawn, replace, 0, 0)[0].tolist()  # type: ignore[no-any-return]

    assert call([0, 2, 2, 5], [2, 0], [0, 3, 3]) == [2, 3, 4]
    calls: list[tuple[tuple[Any, ...], str]] = [
        (([0, 2, 2, 5], [3, 0], [0, 3, 3]), r"nodes\[0\] is no row"),
        (([0, 2, 2, 5], [0, -1], [0, 0, 3]), r"nodes\[1\] is no row"),
        (([0, 2, 2, 5], [2, 0], [0, 0, 3]), r"nodes\[1\] is no row of the graph, or has fewer entries"),
        (([0, 2, 2, 5], [2, 1], [0, 0, 3], 3, True), r"nodes\[1\] is no row"),
        (([0, 2, 2, 6], [2, 0], [0, 3, 3]), r"nodes\[0\] is no row"),
        (([0, 2, 3, 2], [2, 0], [0, 3, 3], 3, True), r"nodes\[0\] is no row"),
        (([-1, 2, 2, 5], [0, 0], [0, 3, 3]), r"nodes\[[01]\] is no row"),
        (([0, 2, 2, 5], [2, 0], [0, 3, 2]), "out_indptr from 0 to 3"),
        (([0, 2, 2, 5], [2, 0], [1, 3, 3]), "out_indptr from 0 to 3"),
        (([0, 2, 2, 5], [2, 0], [0, 5, 3], 3, True), r"nodes\[[01]\] is no row"),
        (([0, 2, 2, 5], [2, 0], [0, 3, 3], -1), "drawn of 0 or more"),
        (([0, 2, 2, 5], [2, 0], [0, 3]), r"out_indptr of shape \[3\], got \[2\]"),
        (([], [2, 0], [0, 3, 3]), r"indptr of shape \[rows \+ 1\]"),
    ]
    for arguments, message in calls:
        if EMULATED and message.startswith("out_indptr from"):
            continue  # CUDA's kernel looks at each row alone
        with pytest.raises(RuntimeError, match=refused(message)):
            call(*arguments)
