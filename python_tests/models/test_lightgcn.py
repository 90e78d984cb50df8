from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
import torch

from gnas_ext import CSR
from gnas_ext.errors import InputError
from gnas_ext.graph import bipartite
from gnas_ext.models.hops import Combine
from gnas_ext.models.joint import JointGraph
from gnas_ext.models.lightgcn import LightGCN
from gnas_ext.models.products import dot_products
from gnas_ext.ops import fake_quantize_rows, spmm
from python_tests.kept import kept_by
from python_tests.logs import touches
from python_tests.train.conftest import equal, losses, trained

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from gnas_ext.ops.quantize_rows import Clip

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


RESTART = 0.3


def shares(combine: Combine, hops: int) -> list[float]:
    """How much each layer counts, hop 0 first."""
    if combine == "last":
        return [0.0] * hops + [1.0]
    if combine == "halving":
        parts = [1 / 2**hop for hop in range(hops + 1)]
        return [part / sum(parts) for part in parts]
    if combine == "pagerank":
        return [RESTART * (1 - RESTART) ** hop for hop in range(hops)] + [(1 - RESTART) ** hops]
    return [1 / (hops + 1)] * (hops + 1)


def square(graph: CSR) -> Tensor:
    """One matrix of all nodes, users first."""
    touched = spmm(graph, torch.eye(graph.cols))
    matrix = torch.zeros(USERS + ITEMS, USERS + ITEMS)
    matrix[:USERS, USERS:] = touched
    matrix[USERS:, :USERS] = touched.T
    return matrix


def dense_layers(matrix: Tensor, first: Tensor, hops: int, loop: float = 0.0, residual: float = 0.0) -> list[Tensor]:
    """The first embeddings and each hop's, one after the other."""
    found = [first]
    for _ in range(hops):
        near = (matrix @ found[-1] + loop * found[-1]) / (1 + loop)
        found.append((1 - residual) * near + residual * first)
    return found


def weighed(layers: list[Tensor], weights: list[float] | Tensor) -> Tensor:
    out = sum(share * layer for share, layer in zip(weights, layers, strict=True))
    assert isinstance(out, torch.Tensor)
    return out


def dense_nodes(net: LightGCN, combine: Combine, hops: int, **options: float) -> Tensor:
    layers = dense_layers(square(net.graph), torch.cat([net.user, net.item]), hops, **options)
    return torch.cat(layers, 1) if combine == "concat" else weighed(layers, shares(combine, hops))


def gradients_like(
    net: LightGCN, got: Tensor, expected: Tensor, *others: Tensor, rtol: float = 1e-4, atol: float = 1e-5
) -> None:
    """The gradients of both are alike, to the embeddings and to others."""
    toward = torch.randn(got.shape, generator=torch.Generator().manual_seed(9))
    mine, plain = (torch.autograd.grad((out * toward).sum(), [net.user, net.item, *others]) for out in (got, expected))
    torch.testing.assert_close(mine, plain, rtol=rtol, atol=atol)


@pytest.mark.parametrize("combine", get_args(Combine))
@pytest.mark.parametrize("hops", [0, 1, 2, 4])
def test_embeddings_are_combined_powers_of_the_adjacency(graph: CSR, combine: Combine, hops: int) -> None:
    net = made(graph, hops=hops, combine=combine, restart=RESTART)
    expected = dense_nodes(net, combine, hops)
    torch.testing.assert_close(net(), (expected[:USERS], expected[USERS:]))
    torch.testing.assert_close(net.nodes(), expected)


@pytest.mark.parametrize("combine", get_args(Combine))
@pytest.mark.parametrize(("loop", "residual"), [(0.0, 0.0), (0.7, 0.0), (0.0, 0.4), (1.0, 0.2)])
def test_loops_and_residuals_are_those_of_their_recursion(
    graph: CSR, combine: Combine, loop: float, residual: float
) -> None:
    net = made(graph, combine=combine, restart=RESTART, loop=loop, residual=residual)
    expected = dense_nodes(net, combine, 3, loop=loop, residual=residual)
    torch.testing.assert_close(net.nodes(), expected)
    gradients_like(net, net.nodes(), expected)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"loop": 0.5, "residual": 0.1},
        {"attention": True},
        {"transform": "relu", "residual": 0.3},
        {"edge_dropout": 0.4},
    ],
)
def test_the_last_layer_is_what_scores_where_that_is_asked_for(graph: CSR, options: dict[str, Any]) -> None:
    one, two = (made(graph, combine="last", **options).train() for _ in range(2))
    layers = one.layers()
    assert len(layers) == 4
    assert torch.equal(layers[0], one.table())
    torch.testing.assert_close(layers[-1], two.nodes())


@pytest.mark.parametrize("options", [{}, {"loop": 0.5, "residual": 0.2}, {"transform": "linear"}, {"attention": True}])
def test_learned_shares_get_the_gradient_of_the_dense_sum(graph: CSR, options: dict[str, Any]) -> None:
    net = made(graph, combine="learned", **options)
    assert net.shares.requires_grad
    torch.nn.init.normal_(net.shares, generator=torch.Generator().manual_seed(1))
    gradients_like(net, net.nodes(), weighed(net.layers(), net.shares), net.shares)


@pytest.mark.parametrize("combine", ["mean", "last", "halving", "pagerank", "concat"])
def test_shares_that_are_known_are_not_learned(graph: CSR, combine: Combine) -> None:
    assert not made(graph, combine=combine).shares.requires_grad


@pytest.mark.parametrize("options", [{}, {"transform": "linear"}])
def test_gradients_of_what_is_learned_once_repeat_for_any_number_of_threads(options: dict[str, Any]) -> None:
    """Sums over all nodes, on sizes that torch and BLAS divide among threads."""
    rng = np.random.default_rng(3)
    user, item = (rng.integers(0, count, 5000).astype(np.int32) for count in (900, 600))
    net = made(bipartite(user, item, 900, 600), combine="learned", hops=2, **({"dim": 36} | options))
    learned = [net.shares] if net.maps is None else [net.shares, net.maps]
    before, found = torch.get_num_threads(), []
    for number in (1, 2, 3):
        torch.set_num_threads(number)
        found.append(torch.autograd.grad(net.nodes().square().sum(1).sum(), learned))
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for again in found[1:] for a, b in zip(found[0], again, strict=True))


# Attention and transforms.


def test_attention_is_a_softmax_over_neighbours(graph: CSR) -> None:
    net = made(graph, hops=2, combine="last", attention=True, residual=0.2)
    assert net.attention is not None
    touched = (square(graph) > 0).float()
    assert (torch.bincount(graph.row_index().long() * ITEMS + graph.indices.long()) > 1).any()
    # A touch that comes twice is two neighbours.
    times = torch.zeros(USERS, ITEMS).index_put(
        (graph.row_index().long(), graph.indices.long()), torch.ones(graph.nnz), accumulate=True
    )
    touched[:USERS, USERS:], touched[USERS:, :USERS] = times, times.T
    first = torch.cat([net.user, net.item])
    now = first
    for own, other in net.attention:
        scores = torch.nn.functional.leaky_relu((now @ own)[:, None] + (now @ other)[None], 0.2)
        weight = scores.exp() * touched
        near = weight / weight.sum(1, keepdim=True).clamp(min=1e-30) @ now
        now = 0.8 * near + 0.2 * first
    torch.testing.assert_close(net.nodes(), now)
    gradients_like(net, net.nodes(), now, net.attention)


def test_attention_does_not_look_at_degrees(graph: CSR) -> None:
    assert graph.weight is not None
    other = graph.with_weight(graph.weight * torch.rand(graph.nnz))
    assert torch.equal(made(graph, attention=True).nodes(), made(other, attention=True).nodes())


def test_a_linear_transform_begins_as_it_is(graph: CSR) -> None:
    plain, linear = made(graph), made(graph, transform="linear")
    torch.testing.assert_close(linear.nodes(), plain.nodes())


@pytest.mark.parametrize("transform", ["linear", "relu"])
@pytest.mark.parametrize("loop", [0.0, 0.5])
def test_transforms_are_matrices_a_hop(graph: CSR, transform: str, loop: float) -> None:
    net = made(graph, hops=2, transform=transform, loop=loop)
    assert net.maps is not None
    torch.nn.init.normal_(net.maps, generator=torch.Generator().manual_seed(1))
    layers = [net.table()]
    for matrix in net.maps:
        near = (square(graph) @ layers[-1] + loop * layers[-1]) / (1 + loop) @ matrix
        layers.append(torch.where(near < 0, 0.2 * near, near) if transform == "relu" else near)
    expected = weighed(layers, [1 / 3] * 3)
    torch.testing.assert_close(net.nodes(), expected, rtol=1e-4, atol=1e-5)
    gradients_like(net, net.nodes(), expected, net.maps, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("transform", ["linear", "relu"])
@pytest.mark.parametrize("options", [{}, {"transform_bits": 32}])
def test_32_bits_are_the_float32_transform_to_the_last_bit(graph: CSR, transform: str, options: dict[str, Any]) -> None:
    net = made(graph, hops=2, combine="last", transform=transform, **options)
    assert net.maps is not None
    torch.nn.init.normal_(net.maps, generator=torch.Generator().manual_seed(1))
    now = net.table()
    for matrix in net.maps:
        now = dot_products(spmm(JointGraph(graph).csr, now), matrix.T)
        now = torch.nn.functional.leaky_relu(now, 0.2) if transform == "relu" else now
    assert torch.equal(net.layers()[-1], now)
    gradients_like(net, net.layers()[-1], now, net.maps, rtol=0, atol=0)


@pytest.mark.parametrize("transform", ["linear", "relu"])
@pytest.mark.parametrize(("bits", "clip"), [(8, "minmax"), (4, "mse")])
def test_transforms_in_few_bits_are_those_of_what_codes_stand_for(
    graph: CSR, transform: str, bits: int, clip: Clip
) -> None:
    """The map by its outputs and what goes into it by its nodes; gradients go straight through the rounding."""
    net = made(graph, hops=2, transform=transform, transform_bits=bits)
    assert net.maps is not None
    torch.nn.init.normal_(net.maps, generator=torch.Generator().manual_seed(1))

    def coded(x: Tensor) -> Tensor:
        return x + (fake_quantize_rows(x.detach(), bits, clip=clip) - x).detach()

    layers = [net.table()]
    for matrix in net.maps:
        near = coded(spmm(JointGraph(graph).csr, layers[-1])) @ coded(matrix.T).T
        layers.append(torch.where(near < 0, 0.2 * near, near) if transform == "relu" else near)
    expected = weighed(layers, [1 / 3] * 3)
    torch.testing.assert_close(net.nodes(), expected, rtol=1e-4, atol=1e-5)
    gradients_like(net, net.nodes(), expected, net.maps, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize(("transform", "kept"), [("linear", 1), ("relu", 2)])
def test_a_transform_in_few_bits_keeps_less_for_the_backward_pass(
    graph: CSR, transform: str, kept: int, bits: int
) -> None:
    """Codes and a scale a row instead of what goes into the map and, with a relu, of what comes out of it too."""
    plain, few = (kept_bytes(made(graph, dim=32, transform=transform, transform_bits=some)) for some in (32, bits))
    nodes, outputs = 3 * (USERS + ITEMS), 3 * 32
    assert plain - few == 4 * 32 * (kept * nodes + outputs) - (32 * bits // 8 + 4) * (nodes + outputs)


def kept_bytes(net: LightGCN) -> int:
    """Of memory that the backward pass of all layers holds, without the net's embeddings."""
    layers, kept = kept_by(net.layers)
    assert layers[-1].requires_grad
    return sum(kept.values())


@pytest.mark.parametrize("transform", ["linear", "relu"])
def test_training_in_eight_bits_ends_near_float32(transform: str) -> None:
    plain, few = (
        trained(touches(), net={"transform": transform, "transform_bits": bits}, epochs=10) for bits in (32, 8)
    )
    assert losses(few) == pytest.approx(losses(plain), rel=0.01)
    assert losses(few)[-1] < 0.8 * losses(few)[0]
    for mine, other in ((few.model.user, plain.model.user), (few.model.item, plain.model.item)):
        assert (mine.rows - other.rows).norm() < 0.05 * other.rows.norm()


@pytest.mark.parametrize("bits", [8, 4])
def test_training_in_few_bits_repeats_for_any_number_of_threads(bits: int, threads: Callable[[int], None]) -> None:
    """On sizes that torch and BLAS divide among threads."""
    large = touches(n_users=300, n_items=200, each=30).select(np.arange(2400))
    found = []
    for number in (1, 2, 3):
        threads(number)
        net = {"dim": 32, "transform": "relu", "transform_bits": bits}
        found.append(trained(large, net=net, batch=1200, epochs=2))
    assert all(equal(found[0].model, again.model) for again in found[1:])


def test_training_in_few_bits_that_diverges_says_so() -> None:
    with pytest.raises(InputError, match="did training diverge\\? Try a lower learning rate"):
        trained(touches(), net={"transform": "relu", "transform_bits": 8}, lr=1e30)


def test_a_relu_is_another_model(graph: CSR) -> None:
    assert not torch.allclose(made(graph, transform="relu").nodes(), made(graph, transform="linear").nodes())


@pytest.mark.parametrize("options", [{"attention": True}, {"transform": "linear"}, {"combine": "learned"}])
def test_without_hops_there_is_nothing_to_weigh_or_transform(graph: CSR, options: dict[str, Any]) -> None:
    net = made(graph, hops=0, **options)
    assert torch.equal(net.nodes(), net.table())


# Items like each other.


def items_like_each_other(seed: int = 0) -> CSR:
    """Each item has two others, item 0 none."""
    generator = torch.Generator().manual_seed(seed)
    indptr = torch.cat([torch.zeros(2, dtype=torch.int64), torch.arange(1, ITEMS) * 2])
    indices = torch.randint(ITEMS, (int(indptr[-1]),), generator=generator)
    return CSR(indptr, indices, torch.full((len(indices),), 0.5), (ITEMS, ITEMS))


@pytest.mark.parametrize("options", [{}, {"combine": "concat"}, {"attention": True}, {"hops": 0}])
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_items_are_partly_what_their_neighbours_are(graph: CSR, options: dict[str, Any], share: float) -> None:
    likes = items_like_each_other()
    plain, net = made(graph, **options), made(graph, **options, item_graph=likes, item_share=share)
    users, items = plain()
    near = spmm(likes, torch.eye(ITEMS)) @ items
    near[0] = items[0]  # who has no neighbours is itself
    expected = torch.cat([users, (1 - share) * items + share * near])
    torch.testing.assert_close(net.nodes(), expected)
    toward = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2))
    mine = torch.autograd.grad((net.nodes() * toward).sum(), net.item)
    torch.testing.assert_close(mine, torch.autograd.grad((expected * toward).sum(), plain.item))


# Where it starts.


def test_a_start_is_taken_as_it_is_and_not_written_to(graph: CSR) -> None:
    start = torch.randn(USERS + ITEMS, DIM)
    net = made(graph, start=start)
    assert torch.equal(net.table(), start)
    with torch.no_grad():
        net.item.add_(1)
        net.user.add_(1)
    assert not torch.equal(net.table(), start)
    assert torch.equal(made(graph, start=start).table(), start)


def test_users_without_embeddings_do_not_take_their_start(graph: CSR) -> None:
    start = torch.randn(USERS + ITEMS, DIM)
    net = made(graph, start=start, free_users=False)
    assert not net.user.any()
    assert torch.equal(net.item, start[USERS:])


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
        ({"combine": "sum"}, "expected combine in mean, last, halving, pagerank, learned, concat, got 'sum'"),
        ({"edge_dropout": 1.0}, "edge_dropout of 0 or more and below 1, got 1.0"),
        ({"edge_dropout": -0.1}, "edge_dropout of 0 or more and below 1, got -0.1"),
        ({"item_share": 1.0}, "item_share of 0 or more and below 1, got 1.0"),
        ({"dim": 0}, "expected dim of 1 or more, got 0"),
        ({"hops": -1}, "expected hops of 0 or more, got -1"),
        ({"hops": 0, "free_users": False}, "expected hops of 1 or more without free_users"),
        (
            {"item_graph": CSR.from_coo(torch.tensor([0]), torch.tensor([0]), None, (2, 2))},
            r"item_graph of shape \[9, 9\]",
        ),
        ({"restart": 0.0}, "expected restart above 0 and up to 1, .*, got 0.0, 0.0 and 0.0"),
        ({"restart": 1.5}, "expected restart above 0 and up to 1, .*, got 1.5, 0.0 and 0.0"),
        ({"loop": -1.0}, "loop of 0 or more .*, got 0.2, -1.0 and 0.0"),
        ({"residual": 1.0}, "residual of 0 or more and below 1, got 0.2, 0.0 and 1.0"),
        ({"residual": math.nan}, "residual of 0 or more and below 1, got 0.2, 0.0 and nan"),
        ({"transform": "tanh"}, "expected transform in none, linear, relu, got 'tanh'"),
        ({"transform": "relu", "transform_bits": 2}, "expected transform_bits of 32, 8 or 4, got 2"),
        ({"transform_bits": 8}, "expected transform_bits of 32 with transform 'none', which has no map, got 8"),
        ({"attention": True, "edge_dropout": 0.1}, "expected edge_dropout of 0, edges_kept of 1 and"),
        ({"edges_kept": 0.0}, "expected edges_kept above 0 and up to 1, got 0.0"),
        ({"edges_kept": math.nan}, "edges_kept above 0 and up to 1, got nan"),
        ({"edges_kept": 0.5, "edge_scores": "x"}, "expected scores 'magnitude' or 'learned', got 'x'"),
        ({"settled_share": -1.0}, "expected settled_share from 0 to 1, got -1.0"),
        ({"settled_share": math.nan, "hops": 1}, "settled_share from 0 to 1, got nan"),
        ({"start": torch.zeros(3, DIM)}, r"expected start of shape \[23, 5\], got \[3, 5\]"),
    ],
)
def test_options_outside_are_refused(graph: CSR, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(graph, **options)


def test_a_graph_without_weights_is_refused(graph: CSR) -> None:
    with pytest.raises(ValueError, match="normalised weights"):
        made(graph.with_weight(None))
