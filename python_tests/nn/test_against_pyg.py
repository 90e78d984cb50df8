"""Are these PyG's layers? Same outputs, same gradients, same `state_dict`. Needs torch-geometric."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gnas_ext import nn as ours
from python_tests.nn.samples import NODES, SOURCES, TARGETS, WIDTH, sample

pyg = pytest.importorskip("torch_geometric.nn")
pytestmark = pytest.mark.peers

Arguments = dict[str, Any]
TOLERANCE = 1e-5


def pair(name: str, *args: Any, **kwargs: Any) -> tuple[torch.nn.Module, torch.nn.Module]:
    """PyG's layer and ours with its weights, which are none of the first ones."""
    theirs = getattr(pyg, name)(*args, **kwargs)
    mine = getattr(ours, name)(*args, **kwargs)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    mine.load_state_dict(theirs.state_dict())
    assert list(mine.state_dict()) == list(theirs.state_dict())
    return theirs.eval(), mine.eval()


def check(theirs: torch.nn.Module, mine: torch.nn.Module, x: Any, *args: Any, **kwargs: Any) -> None:
    """Outputs and the gradients to x, to the parameters and to what else asks for one."""
    tensors = [value for value in (*(x if isinstance(x, tuple) else (x,)), *args) if isinstance(value, torch.Tensor)]
    asked = [value.requires_grad_() for value in tensors if value.is_floating_point()]
    outputs, gradients = [], []
    for layer in (theirs, mine):
        out = layer(x, *args, **kwargs)
        sensitivity = torch.cos(torch.arange(out.numel())).reshape(out.shape)
        wanted = [*asked, *layer.parameters()]
        found = torch.autograd.grad(out, wanted, sensitivity, allow_unused=True)
        outputs.append(out)
        gradients.append([torch.zeros(()) if part is None else part for part in found])
    torch.testing.assert_close(outputs[1], outputs[0], rtol=TOLERANCE, atol=TOLERANCE)
    for got, expected in zip(gradients[1], gradients[0], strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("out", [4, 9])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"improved": True},
        {"add_self_loops": False},
        {"normalize": False},
        {"bias": False},
        {"flow": "target_to_source"},
        {"aggr": "mean"},
        {"aggr": "max"},
        {"aggr": "min", "normalize": False},
    ],
)
def test_gcn(kwargs: Arguments, weighted: bool, out: int) -> None:
    s = sample()
    if weighted:
        one_loop_a_node(s.edge_index)
    check(*pair("GCNConv", WIDTH, out, **kwargs), s.x, s.edge_index, *((s.edge_weight,) if weighted else ()))


def one_loop_a_node(edge_index: torch.Tensor) -> None:
    """Of two loops at a node only the last has a part in the output, but PyG gives a gradient to both."""
    edge_index[:, 2] = torch.tensor([7, 8])


def test_a_gcn_that_keeps_its_first_graph() -> None:
    s = sample()
    theirs, mine = pair("GCNConv", WIDTH, 4, cached=True)
    for edge_index in (s.edge_index, s.edge_index.flip(0)):
        expected, got = (layer(s.x, edge_index, s.edge_weight) for layer in (theirs, mine))
        torch.testing.assert_close(got, expected, rtol=TOLERANCE, atol=TOLERANCE)
    theirs.reset_parameters()  # type: ignore[operator]
    mine.reset_parameters()  # type: ignore[operator]
    theirs.load_state_dict(mine.state_dict())
    check(theirs, mine, s.x, s.edge_index.flip(0))


def test_gcn_of_features_with_a_batch_before_them() -> None:
    s = sample()
    one_loop_a_node(s.edge_index)
    theirs, mine = pair("GCNConv", WIDTH, 4)
    check(theirs, mine, torch.randn(2, 3, NODES, WIDTH), s.edge_index, s.edge_weight)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
def test_lightgcn(normalize: bool, weighted: bool) -> None:
    s = sample()
    theirs, mine = pair("LGConv", normalize)
    check(theirs, mine, s.x, s.edge_index, *((s.edge_weight,) if weighted else ()))


SAGE: list[Arguments] = [
    {},
    {"aggr": "max"},
    {"aggr": "min"},
    {"aggr": "add"},
    {"normalize": True},
    {"root_weight": False},
    {"project": True},
    {"bias": False},
]


@pytest.mark.parametrize("out", [4, 9])
@pytest.mark.parametrize("kwargs", [*SAGE, {"flow": "target_to_source"}])
def test_sage(kwargs: Arguments, out: int) -> None:
    s = sample()
    check(*pair("SAGEConv", WIDTH, out, **kwargs), s.x, s.edge_index)
    check(*pair("SAGEConv", WIDTH, out, **kwargs), torch.randn(2, NODES, WIDTH), s.edge_index)


@pytest.mark.parametrize("kwargs", SAGE)
def test_sage_between_two_kinds_of_nodes(kwargs: Arguments) -> None:
    s = sample()
    layers = pair("SAGEConv", (WIDTH, WIDTH - 2), 5, **kwargs)
    check(*layers, (s.sources, s.targets), s.bipartite)
    check(*layers, (s.sources, None), s.bipartite, size=(SOURCES, TARGETS))
    check(*layers, (s.sources, None), s.bipartite)


@pytest.mark.parametrize("kwargs", [{}, {"eps": 0.3}, {"eps": 0.3, "train_eps": True}, {"aggr": "max"}])
def test_gin(kwargs: Arguments) -> None:
    s = sample()
    layers = pair("GINConv", torch.nn.Sequential(torch.nn.Linear(WIDTH, 8), torch.nn.ReLU()), **kwargs)
    check(*layers, s.x, s.edge_index)
    check(*layers, (s.sources, s.sources[:TARGETS]), s.bipartite)
    check(*layers, (s.sources, None), s.bipartite, size=(SOURCES, TARGETS))


GAT: list[Arguments] = [
    {},
    {"heads": 3},
    {"heads": 3, "concat": False},
    {"negative_slope": 0.01},
    {"dropout": 0.5},  # in evaluation
    {"add_self_loops": False},
    {"bias": False},
    {"residual": True, "heads": 2},
    {"residual": True, "heads": 2, "concat": False},
]


@pytest.mark.parametrize("kwargs", [*GAT, {"flow": "target_to_source"}])
def test_gat(kwargs: Arguments) -> None:
    s = sample()
    check(*pair("GATConv", WIDTH, 4, **kwargs), s.x, s.edge_index)


@pytest.mark.parametrize("kwargs", GAT)
def test_gat_between_two_kinds_of_nodes(kwargs: Arguments) -> None:
    s = sample()
    layers = pair("GATConv", (WIDTH, WIDTH - 2), 4, **kwargs)
    check(*layers, (s.sources, s.targets), s.bipartite)
    check(*layers, (s.sources, None), s.bipartite, size=(SOURCES, TARGETS))
    check(*pair("GATConv", WIDTH, 4, **kwargs), (s.sources, s.sources[:TARGETS]), s.bipartite)


@pytest.mark.parametrize("fill", [0.7, torch.tensor([0.1, -2.0, 3.0]), "mean", "add", "max", "min"])
@pytest.mark.parametrize("loops", [False, True])
def test_gat_with_features_of_edges(loops: bool, fill: Any) -> None:
    s = sample()
    layers = pair("GATConv", WIDTH, 4, heads=2, edge_dim=3, add_self_loops=loops, fill_value=fill)
    check(*layers, s.x, s.edge_index, s.edge_attr)
    check(*pair("GATConv", WIDTH, 4, edge_dim=1), s.x, s.edge_index, s.edge_weight)


@pytest.mark.parametrize("kwargs", [{}, {"heads": 3}, {"add_self_loops": False}])
def test_the_attention_of_each_edge(kwargs: Arguments) -> None:
    s = sample()
    theirs, mine = pair("GATConv", WIDTH, 4, **kwargs)
    (expected, (edges, weights)), (got, (listed, alpha)) = (
        layer(s.x, s.edge_index, return_attention_weights=True) for layer in (theirs, mine)
    )
    torch.testing.assert_close(got, expected, rtol=TOLERANCE, atol=TOLERANCE)
    assert torch.equal(listed, edges)
    torch.testing.assert_close(alpha, weights, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["GCNConv", "SAGEConv", "GATConv"])
def test_a_width_that_the_first_call_finds(name: str) -> None:
    s = sample()
    theirs, mine = getattr(pyg, name)(-1, 4), getattr(ours, name)(-1, 4)
    expected = theirs(s.x, s.edge_index)
    mine.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(mine(s.x, s.edge_index), expected, rtol=TOLERANCE, atol=TOLERANCE)
    again = getattr(ours, name)(-1, 4)
    again(s.x, s.edge_index)
    theirs.load_state_dict(again.state_dict())
    torch.testing.assert_close(again(s.x, s.edge_index), theirs(s.x, s.edge_index), rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["GCNConv", "SAGEConv", "GATConv"])
def test_first_weights_have_the_same_spread(name: str) -> None:
    torch.manual_seed(0)
    theirs, mine = getattr(pyg, name)(200, 300), getattr(ours, name)(200, 300)
    for (key, expected), got in zip(theirs.state_dict().items(), mine.state_dict().values(), strict=True):
        assert got.shape == expected.shape, key
        torch.testing.assert_close(got.abs().max(), expected.abs().max(), rtol=0.05, atol=0, msg=key)
        torch.testing.assert_close(got.std(), expected.std(), rtol=0.15, atol=0, msg=key)
