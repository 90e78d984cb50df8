from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from gnas_ext.graph import bipartite
from gnas_ext.models.joint import JointGraph
from gnas_ext.ops import spmm

if TYPE_CHECKING:
    from torch import Tensor

    from gnas_ext import CSR

USERS, ITEMS = 7, 5


@pytest.fixture(params=["distinct", "repeated", "empty"])
def graph(request: pytest.FixtureRequest) -> CSR:
    """In a log's order; the last user and the last item are not touched."""
    rng = np.random.default_rng(2)
    if request.param == "distinct":
        user, item = np.divmod(rng.permutation((USERS - 1) * (ITEMS - 1))[:14], ITEMS - 1)
    else:
        count = 40 if request.param == "repeated" else 0
        user, item = rng.integers(0, USERS - 1, count), rng.integers(0, ITEMS - 1, count)
    return bipartite(user.astype(np.int32), item.astype(np.int32), USERS, ITEMS)


def dense(csr: CSR) -> Tensor:
    matrix = torch.zeros(csr.shape)
    assert csr.weight is not None
    return matrix.index_put((csr.row_index().long(), csr.indices.long()), csr.weight, accumulate=True)


def blocks(touched: Tensor) -> Tensor:
    return torch.cat(
        [
            torch.cat([torch.zeros(USERS, USERS), touched], 1),
            torch.cat([touched.T, torch.zeros(ITEMS, ITEMS)], 1),
        ]
    )


def test_it_is_the_matrix_of_blocks(graph: CSR) -> None:
    joint = JointGraph(graph)
    assert joint.nodes == USERS + ITEMS
    assert joint.csr.shape == (joint.nodes, joint.nodes)
    assert joint.csr.nnz == 2 * graph.nnz
    assert joint.csr.indices.dtype == graph.indices.dtype
    torch.testing.assert_close(dense(joint.csr), blocks(dense(graph)))


def test_it_is_its_own_transpose(graph: CSR) -> None:
    joint = JointGraph(graph)
    structure = joint.csr.transposed_structure()
    assert structure.indptr is joint.csr.indptr
    assert structure.indices is joint.csr.indices
    torch.testing.assert_close(dense(joint.csr.t()), blocks(dense(graph)).T)


def test_its_product_has_the_gradient_of_the_dense_one(graph: CSR) -> None:
    generator = torch.Generator().manual_seed(0)
    x, toward = (torch.randn(USERS + ITEMS, 3, generator=generator) for _ in range(2))
    x.requires_grad_()
    got = torch.autograd.grad((spmm(JointGraph(graph).csr, x) * toward).sum(), x)
    torch.testing.assert_close(got, torch.autograd.grad((blocks(dense(graph)) @ x * toward).sum(), x))


def test_other_weights_count_both_ways(graph: CSR) -> None:
    weight = torch.rand(graph.nnz, generator=torch.Generator().manual_seed(0))
    joint = JointGraph(graph)
    other = joint.with_weight(weight)
    torch.testing.assert_close(dense(other), blocks(dense(graph.with_weight(weight))))
    torch.testing.assert_close(dense(other.t()), dense(other))
    torch.testing.assert_close(dense(joint.csr), blocks(dense(graph)))


def test_the_structure_has_the_same_entries_and_no_weights(graph: CSR) -> None:
    joint = JointGraph(graph)
    assert joint.structure.weight is None
    assert torch.equal(joint.structure.indptr, joint.csr.indptr)
    assert torch.equal(joint.structure.indices, joint.csr.indices)


def test_nodes_that_were_not_touched_have_no_entries(graph: CSR) -> None:
    degree = JointGraph(graph).csr.degree()
    assert degree[USERS - 1] == 0
    assert degree[-1] == 0


def test_a_graph_that_is_a_transpose_itself_will_do(graph: CSR) -> None:
    """Its weights are stored in another order than its entries."""
    joint = JointGraph(graph.t())
    touched = dense(graph.t())
    expected = torch.zeros(joint.nodes, joint.nodes)
    expected[:ITEMS, ITEMS:], expected[ITEMS:, :ITEMS] = touched, touched.T
    torch.testing.assert_close(dense(joint.csr), expected)
