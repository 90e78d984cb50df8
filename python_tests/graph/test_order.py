"""Reordering: the same results, nodes where the order says, found once."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from gnas_ext import CSR, ops
from gnas_ext.graph.order import By
from python_tests import graphs
from python_tests.ops.oracle import INDEX_TYPES, with_index
from python_tests.philox import philox4x32


def weighted(csr: CSR) -> CSR:
    return csr.with_weight(torch.linspace(-1, 2, csr.nnz, dtype=torch.float64))


@pytest.mark.parametrize("by", get_args(By))
@pytest.mark.parametrize("index", INDEX_TYPES)
@pytest.mark.parametrize("graph", [*graphs.SMALL, "one_hub"], indirect=True)
def test_the_way_in_and_out_changes_nothing(backend: torch.device, graph: CSR, index: torch.dtype, by: By) -> None:
    csr = weighted(with_index(graph, index)).to(backend)
    for side in (csr, csr.t(), csr.with_weight(None)):
        order = side.reordered(by)
        x = torch.randn(side.cols, 5, dtype=torch.float64, device=backend)
        torch.testing.assert_close(order.leave(ops.spmm(order.csr, order.enter(x))), ops.spmm(side, x))
        CSR(order.csr.indptr, order.csr.indices, None, order.csr.shape)
        assert order.csr.shape == side.shape


@pytest.mark.parametrize("by", get_args(By))
def test_hops_chain_in_a_square_graph(backend: torch.device, by: By) -> None:
    graph = graphs.make("random")
    csr = weighted(CSR(graph.indptr, graph.indices, None, (90, 90))).to(backend)
    x = torch.randn(90, 3, dtype=torch.float64, device=backend)
    order = csr.reordered(by)
    got = order.enter(x)
    for _ in range(3):
        got = ops.spmm(order.csr, got)
    torch.testing.assert_close(order.leave(got), ops.spmm(csr, ops.spmm(csr, ops.spmm(csr, x))))


@pytest.mark.parametrize("by", get_args(By))
def test_gradients_are_those_without_it(backend: torch.device, by: By) -> None:
    csr = graphs.make("random").to(backend)
    weight = torch.linspace(-1, 2, csr.nnz, dtype=torch.float64, device=backend, requires_grad=True)
    x = torch.randn(csr.cols, 4, dtype=torch.float64, device=backend, requires_grad=True)
    order = csr.with_weight(weight).reordered(by)
    with_it = order.leave(ops.spmm(order.csr, order.enter(x)))
    without = ops.spmm(csr.with_weight(weight), x)
    sensitivity = torch.randn_like(without)
    for got, expected in zip(
        *(torch.autograd.grad(out, (weight, x), sensitivity) for out in (with_it, without)), strict=True
    ):
        torch.testing.assert_close(got, expected)


def test_degree_puts_hubs_first() -> None:
    csr = graphs.make("random")
    order = csr.reordered()
    degree = order.csr.degree()
    assert bool((degree[1:] <= degree[:-1]).all())
    arrived = torch.bincount(order.csr.indices, minlength=csr.cols)
    assert bool((arrived[1:] <= arrived[:-1]).all())


def test_community_puts_cliques_together() -> None:
    """Eight cliques of twelve whose nodes are shuffled: each stands in one piece."""
    label = torch.arange(96) % 8
    row, col = (label[:, None] == label).nonzero().T
    ring = torch.arange(8)  # an edge between cliques
    row, col = torch.cat([row, ring, (ring + 1) % 8]), torch.cat([col, (ring + 1) % 8, ring])
    order = CSR.from_coo(row, col).reordered("community").order
    stands = label[order.rows]
    assert int((stands[1:] != stands[:-1]).sum()) == 7
    users = CSR.from_coo(*(label[:, None] == label[:40]).nonzero().T).reordered("community").order
    for stands in (label[users.rows], label[users.cols]):
        assert int((stands[1:] != stands[:-1]).sum()) == 7


def labels_by_hand(csr: CSR, most: int, rounds: int) -> list[int]:
    label = list(range(csr.rows))
    ends, columns = csr.indptr.tolist(), csr.indices.tolist()
    for _ in range(rounds):
        for node in range(csr.rows):
            near = [label[col] for col in columns[ends[node] : ends[node + 1]] if col != node]
            own = label[node]
            allowed = [other for other in near if other == own or label.count(other) < most]
            chance = {other: philox4x32((other, 0, node, 0), (0, 0))[0] for other in allowed}
            label[node] = max(
                [own, *allowed], key=lambda other: (near.count(other), other == own, chance.get(other, 0), -other)
            )
    return label


@pytest.mark.parametrize("most", [1, 3, 20, 1_000])
def test_communities_are_those_of_label_propagation(most: int) -> None:
    graph = graphs.make("random")
    csr = CSR(graph.indptr, graph.indices, None, (90, 90))
    for rounds in (0, 1, 4):
        label = ops.communities(csr.indptr, csr.indices, most, rounds)
        assert label.tolist() == labels_by_hand(csr, most, rounds)
        assert int(torch.bincount(label).max()) <= most


def test_the_order_is_found_once_and_has_the_weights_of_now() -> None:
    csr = weighted(graphs.make("random"))
    first = csr.reordered()
    assert csr.reordered().order is first.order
    assert csr.with_weight(None).reordered().order is first.order
    assert csr.reordered("community").order is not first.order
    first.csr.t()
    assert csr.reordered().csr.t().indices is first.csr.t().indices
    assert csr.weight is not None
    csr.weight.zero_()
    assert csr.reordered().csr.weight is not None
    assert not csr.reordered().csr.weight.any()  # type: ignore[union-attr]
    moved = csr.to(dtype=torch.float32)
    assert torch.equal(moved.reordered().order.rows, first.order.rows)


def test_says_what_was_expected_and_what_came() -> None:
    csr = graphs.make("random")
    with pytest.raises(ValueError, match=r"CSR\.reordered: expected by in degree, community, got 'name'"):
        csr.reordered("name")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected most of 1 or more and rounds of 0 or more, got 0 and 5"):
        ops.communities(csr.indptr, csr.indices, 0)
    with pytest.raises(RuntimeError, match="expected most of 1 or more"):
        torch.ops.gnas_ext.communities(csr.indptr, csr.indices, 0, 1)
