from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext.graph import bipartite
from gnas_ext.models.lightgcn import LightGCN
from gnas_ext.models.pruned import EdgeMask, settled_nodes
from python_tests.models.test_lightgcn import ITEMS, USERS, made, square, weighed

if TYPE_CHECKING:
    from torch import Tensor

    from gnas_ext import CSR


def drawn(seed: int = 3, edges: int = 50) -> CSR:
    rng = np.random.default_rng(seed)
    user, item = (rng.integers(0, count - 1, edges).astype(np.int32) for count in (USERS, ITEMS))
    return bipartite(user, item, USERS, ITEMS)


def kept_by(weight: Tensor, ends: list[int], share: float) -> list[tuple[float, int]]:
    """For each node of a side: its smallest score that stays, and how many stay."""
    found = []
    for node in range(max(ends, default=-1) + 1):
        own = sorted((float(w) for w, end in zip(weight, ends, strict=True) if end == node), reverse=True)
        count = max(1, math.ceil(share * len(own) - 1e-9))
        found.append((own[min(count, len(own)) - 1] if own else math.inf, count))
    return found


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 99), st.integers(0, 60), st.floats(0.01, 1), st.sampled_from([1.0, 0.5, 0.2, 0.0]))
def test_each_node_keeps_its_share_of_the_largest(seed: int, edges: int, keep: float, left: float) -> None:
    graph = drawn(seed, edges)
    mask = EdgeMask(graph, keep, generator=torch.Generator().manual_seed(seed))
    mask.advance(left)
    share = keep + (1 - keep) * left**3
    weight = graph.weight
    assert weight is not None
    ends = graph.row_index().tolist(), graph.indices.tolist()
    limits = [kept_by(weight, side, share) for side in ends]
    for edge, alive in enumerate(mask.mask.tolist()):
        above = [float(weight[edge]) > side[end[edge]][0] for side, end in zip(limits, ends, strict=True)]
        below = [float(weight[edge]) < side[end[edge]][0] for side, end in zip(limits, ends, strict=True)]
        assert alive or not any(above)
        assert not alive or not all(below)
    for side, end in zip(limits, ends, strict=True):
        for node, (_, count) in enumerate(side):
            there = torch.tensor([one == node for one in end], dtype=torch.bool)
            assert int(mask.mask[there].sum()) >= min(count, int(there.sum()))


def test_all_are_alive_at_the_beginning_and_popular_items_keep_their_share_at_the_end() -> None:
    # Everybody touched item 0 and one of their own: of weights alone, users would all give up item 0.
    users = np.repeat(np.arange(10), 2).astype(np.int32)
    items = np.stack([np.zeros(10), np.arange(1, 11)], 1).ravel().astype(np.int32)
    graph = bipartite(users, items, 10, 11)
    mask = EdgeMask(graph, 0.5)
    mask.advance(1.0)
    assert mask.mask.all()
    mask.advance(0.0)
    of_first = graph.indices == 0
    assert int(mask.mask[of_first].sum()) == 5
    assert mask.mask[~of_first].all()
    assert mask.state_dict()["mask"].dtype == torch.bool


def test_of_equal_scores_no_place_in_the_catalogue_wins() -> None:
    rng = np.random.default_rng(0)
    pairs = np.unique(rng.integers(0, (60, 40), (1500, 2)), axis=0).astype(np.int32)
    graph = bipartite(pairs[:, 0], pairs[:, 1], 60, 40, None, 0.0, 0.0)
    mask = EdgeMask(graph, 0.3, generator=torch.Generator().manual_seed(1))
    mask.advance(0.0)
    low = graph.indices < 20
    shares = [float(mask.mask[side].double().mean()) for side in (low, ~low)]
    assert abs(shares[0] - shares[1]) < 0.1
    assert 0.3 < float(mask.mask.double().mean()) < 0.6


@pytest.mark.parametrize("edge", [False, True])
def test_a_graph_that_is_a_transpose_is_pruned_alike(edge: bool) -> None:
    graph = drawn().t()
    graph = graph if edge else graph.with_weight(graph.weight)
    net = LightGCN(graph, 4, 2, edges_kept=0.5, generator=torch.Generator().manual_seed(2))
    net.prune(0.4)
    net.prune(0.0)
    assert net.edges is not None
    assert net.graph.weight is not None
    alive = LightGCN(
        net.graph.with_weight(net.graph.weight * net.edges.mask), 4, 2, generator=torch.Generator().manual_seed(2)
    )
    torch.testing.assert_close(net.nodes(), alive.nodes())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": 0.0}, "keep above 0 and up to 1, got 0.0"),
        ({"keep": 1.1}, "got 1.1"),
        ({"keep": 0.5, "scores": "x"}, "'magnitude' or 'learned', got 'x'"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EdgeMask(drawn(), **options)
    with pytest.raises(ValueError, match="graph with weights"):
        EdgeMask(drawn().with_weight(None), 0.5)


def test_edges_that_are_gone_carry_nothing_and_what_is_left_is_a_smaller_graph() -> None:
    graph = drawn()
    net = made(graph, edges_kept=0.5)
    assert net.edges is not None
    whole = net.nodes()
    torch.testing.assert_close(whole, made(graph).nodes())
    net.prune(0.5)
    moving = net.nodes()
    assert graph.weight is not None
    alive = graph.with_weight(graph.weight * net.edges.mask)
    matrix = square(alive)
    layers = [net.table()]
    for _ in range(3):
        layers.append(matrix @ layers[-1])
    torch.testing.assert_close(moving, weighed(layers, [0.25] * 4))
    net.prune(0.0)
    fixed = net.nodes()
    after = made(graph.masked(net.edges.mask)).nodes()
    torch.testing.assert_close(fixed, after)
    assert net._joint.csr.nnz == 2 * int(net.edges.mask.sum()) < 2 * graph.nnz
    net.prune(0.5)  # nothing moves any more
    assert torch.equal(net.nodes(), fixed)


def test_learned_scores_get_the_gradient_of_their_edges_gone_or_not() -> None:
    graph = drawn()
    net = made(graph, edges_kept=0.5, edge_scores="learned", hops=1, combine="last")
    net.prune(0.3)
    assert net.edges is not None
    toward = torch.randn(USERS + ITEMS, net.user.shape[1], generator=torch.Generator().manual_seed(1))
    (got,) = torch.autograd.grad((net.nodes() * toward).sum(), [net.edges.scores])
    row, col = graph.row_index().long(), graph.indices.long() + USERS
    table = net.table().detach()
    assert graph.weight is not None
    expected = graph.weight * ((toward[row] * table[col]).sum(1) + (toward[col] * table[row]).sum(1))
    torch.testing.assert_close(got, expected)
    assert not net.edges.mask.all()


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_settled_nodes_are_those_touched_most(share: float) -> None:
    graph = drawn()
    settled = settled_nodes(graph, share)
    users, items = torch.split(settled, [USERS, ITEMS])
    degree = square(graph.with_weight(torch.ones(graph.nnz))).sum(1)
    for side, of in ((users, degree[:USERS]), (items, degree[USERS:])):
        assert int(side.sum()) == round(share * len(side))
        if side.any() and not side.all():
            assert of[side].min() >= of[~side].max()
    with pytest.raises(ValueError, match="share from 0 to 1, got 2"):
        settled_nodes(graph, 2)


@pytest.mark.parametrize("options", [{}, {"loop": 0.5, "residual": 0.2}, {"combine": "learned"}, {"combine": "last"}])
def test_settled_nodes_stay_as_they_are_after_the_first_hop(options: dict[str, Any]) -> None:
    graph = drawn()
    net = made(graph, settled_share=0.3, **options)
    settled = settled_nodes(graph, 0.3)
    loop, residual = options.get("loop", 0.0), options.get("residual", 0.0)
    matrix = square(graph)
    first = torch.cat([net.user, net.item])
    layers = [first]
    for hop in range(3):
        near = (matrix @ layers[-1] + loop * layers[-1]) / (1 + loop)
        near = (1 - residual) * near + residual * first
        layers.append(near if hop == 0 else torch.where(settled[:, None], layers[-1], near))
    shares = [0.0, 0.0, 0.0, 1.0] if options.get("combine") == "last" else [0.25] * 4
    expected = weighed(layers, shares)
    torch.testing.assert_close(net.nodes(), expected)
    toward = torch.randn(expected.shape, generator=torch.Generator().manual_seed(9))
    mine, plain = (torch.autograd.grad((out * toward).sum(), [net.user, net.item]) for out in (net.nodes(), expected))
    torch.testing.assert_close(mine, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{"edges_kept": 0.5}, {"settled_share": 0.5}])
def test_attention_weighs_all_edges(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="with attention, which weighs all edges"):
        LightGCN(drawn(), 4, 2, attention=True, **options)
