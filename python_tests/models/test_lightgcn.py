from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from gnas_ext.graph import bipartite
from gnas_ext.models.lightgcn import LightGCN
from gnas_ext.ops import spmm

if TYPE_CHECKING:
    from torch import Tensor

    from gnas_ext import CSR
    from gnas_ext.models.lightgcn import Combine

USERS, ITEMS, DIM = 14, 9, 5


@pytest.fixture
def graph() -> CSR:
    """The last user and the last item are not touched."""
    rng = np.random.default_rng(3)
    user, item = (rng.integers(0, count - 1, 50).astype(np.int32) for count in (USERS, ITEMS))
    return bipartite(user, item, USERS, ITEMS)


def made(graph: CSR, seed: int = 0, **options: Any) -> LightGCN:
    generator = torch.Generator().manual_seed(seed)
    chosen: dict[str, Any] = {"dim": DIM, "hops": 3, "generator": generator}
    return LightGCN(graph, **(chosen | options))


def shares(combine: Combine, hops: int) -> list[float]:
    """How much each layer counts, hop 0 first."""
    if combine == "last":
        return [0.0] * hops + [1.0]
    if combine == "halving":
        parts = [1 / 2**hop for hop in range(hops + 1)]
        return [part / sum(parts) for part in parts]
    return [1 / (hops + 1)] * (hops + 1)


def dense_forward(graph: CSR, user: Tensor, item: Tensor, combine: Combine, hops: int) -> tuple[Tensor, Tensor]:
    """The paper's: one square matrix of all nodes, and its powers."""
    touched = spmm(graph, torch.eye(graph.cols))
    square = torch.zeros(USERS + ITEMS, USERS + ITEMS)
    square[:USERS, USERS:] = touched
    square[USERS:, :USERS] = touched.T
    nodes = torch.cat([user, item])
    out = sum(share * torch.linalg.matrix_power(square, hop) @ nodes for hop, share in enumerate(shares(combine, hops)))
    assert isinstance(out, torch.Tensor)
    return out[:USERS], out[USERS:]


@pytest.mark.parametrize("combine", ["mean", "last", "halving"])
@pytest.mark.parametrize("hops", [0, 1, 2, 4])
def test_embeddings_are_combined_powers_of_the_adjacency(graph: CSR, combine: Combine, hops: int) -> None:
    net = made(graph, hops=hops, combine=combine)
    users, items = net()
    expected = dense_forward(graph, net.user, net.item, combine, hops)
    torch.testing.assert_close((users, items), expected)


@pytest.mark.parametrize("combine", ["mean", "last", "halving"])
def test_gradients_are_those_of_the_dense_product(graph: CSR, combine: Combine) -> None:
    net = made(graph, combine=combine)
    toward = torch.randn(USERS, DIM), torch.randn(ITEMS, DIM)

    def gradients(outputs: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
        loss = sum((out * goal).sum() for out, goal in zip(outputs, toward, strict=True))
        assert isinstance(loss, torch.Tensor)
        return torch.autograd.grad(loss, [net.user, net.item])

    expected = gradients(dense_forward(graph, net.user, net.item, combine, 3))
    torch.testing.assert_close(gradients(net()), expected)


def test_without_hops_it_is_matrix_factorisation(graph: CSR) -> None:
    net = made(graph, hops=0)
    assert torch.equal(net()[0], net.user)
    assert torch.equal(net()[1], net.item)


def test_users_without_embeddings_are_what_they_touched(graph: CSR) -> None:
    net = made(graph, hops=1, combine="last", free_users=False)
    assert not net.user.any()
    assert not net.user.requires_grad
    torch.testing.assert_close(net()[0], spmm(graph, net.item))


def test_items_start_alike_whether_users_are_free_or_not(graph: CSR) -> None:
    assert torch.equal(made(graph, free_users=False).item, made(graph).item)


def test_nodes_without_edges_keep_their_share_of_themselves(graph: CSR) -> None:
    net = made(graph, hops=3)
    users, items = net()
    torch.testing.assert_close(users[-1], net.user[-1] / 4)
    torch.testing.assert_close(items[-1], net.item[-1] / 4)


def test_the_same_generator_draws_the_same_embeddings(graph: CSR) -> None:
    assert torch.equal(made(graph, seed=4).user, made(graph, seed=4).user)
    assert not torch.equal(made(graph, seed=4).user, made(graph, seed=5).user)


def test_dropped_edges_are_made_up_for_by_the_others(graph: CSR) -> None:
    """With one hop and items of all ones, a user's output is the sum of the kept weights."""
    net = made(graph, hops=1, combine="last", edge_dropout=0.6)
    torch.nn.init.ones_(net.item)
    net.train()
    means = torch.stack([net()[0] for _ in range(1500)]).mean(0)
    net.eval()
    torch.testing.assert_close(means, net()[0], rtol=0.1, atol=0.02)


def test_a_dropped_edge_is_dropped_both_ways(graph: CSR) -> None:
    net = made(graph, hops=1, combine="last", edge_dropout=0.5, dim=1)
    torch.nn.init.ones_(net.item)
    torch.nn.init.ones_(net.user)
    users, items = net.train()()
    torch.testing.assert_close(users.sum(), items.sum())


def test_each_step_drops_other_edges_and_a_seed_repeats_them(graph: CSR) -> None:
    first, second = made(graph, edge_dropout=0.5).train(), made(graph, edge_dropout=0.5).train()
    one, two = first()[0], first()[0]
    assert not torch.equal(one, two)
    assert torch.equal(second()[0], one)
    assert torch.equal(second()[0], two)


def test_serving_drops_nothing(graph: CSR) -> None:
    plain, dropping = made(graph), made(graph, edge_dropout=0.9)
    assert torch.equal(plain.eval()()[0], dropping.eval()()[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"combine": "sum"}, "expected combine in mean, last, halving, got 'sum'"),
        ({"edge_dropout": 1.0}, "edge_dropout of 0 or more and below 1, got 1.0"),
        ({"edge_dropout": -0.1}, "edge_dropout of 0 or more and below 1, got -0.1"),
        ({"dim": 0}, "expected dim of 1 or more and hops of 0 or more, got 0 and 3"),
        ({"hops": -1}, "expected dim of 1 or more and hops of 0 or more, got 5 and -1"),
    ],
)
def test_options_outside_are_refused(graph: CSR, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(graph, **options)


def test_a_graph_without_weights_is_refused(graph: CSR) -> None:
    with pytest.raises(ValueError, match="normalised weights"):
        made(graph.with_weight(None))
