"""Is an edge_index sorted once, again when it changes, and forgotten when it is gone?"""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gnas_ext import CSR, nn
from gnas_ext.nn import _edges, _memory
from gnas_ext.nn._edges import edges_of
from python_tests.nn.samples import NODES, WIDTH, sample


@pytest.fixture
def sorts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one each time that edges are sorted."""
    counted: list[int] = []
    real = _edges._sorted

    def counting(*args: object) -> _edges.Edges:
        counted.append(1)
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(_edges, "_sorted", counting)
    return counted


def test_a_graph_is_sorted_once_for_all_layers(sorts: list[int]) -> None:
    s = sample()
    x = s.x.requires_grad_()
    for _ in range(3):
        for layer in (nn.LGConv(), nn.SAGEConv(WIDTH, 2), nn.GINConv(torch.nn.Identity())):
            layer(x, s.edge_index).sum().backward()
    assert len(sorts) == 1
    nn.GCNConv(WIDTH, 2)(x, s.edge_index)
    nn.GATConv(WIDTH, 2)(x, s.edge_index)
    assert len(sorts) == 2  # with loops
    csr = edges_of("", s.edge_index, NODES, NODES).csr
    assert csr is edges_of("", s.edge_index, NODES, NODES).csr
    assert csr._kept  # and transposed once
    LGConv = nn.LGConv()
    first = nn.norm.normalized(edges_of("", s.edge_index, NODES, NODES), None, 1.0, torch.float32)
    again = nn.norm.normalized(edges_of("", s.edge_index, NODES, NODES), None, 1.0, torch.float32)
    assert first.weight is again.weight
    LGConv(x, s.edge_index)


def test_a_graph_changed_in_place_is_sorted_again(sorts: list[int]) -> None:
    layer, x, edge_index = nn.LGConv(normalize=False), torch.eye(3), torch.tensor([[0, 1], [1, 2]])
    assert layer(x, edge_index).nonzero().tolist() == [[1, 0], [2, 1]]
    edge_index[0, 0] = 2
    assert layer(x, edge_index).nonzero().tolist() == [[1, 2], [2, 1]]
    edge_index[1].fill_(0)  # through a view
    assert layer(x, edge_index).nonzero().tolist() == [[0, 1], [0, 2]]
    edge_index.resize_(2, 1)
    assert layer(x, edge_index).nonzero().tolist() == [[1, 2]]  # [2], [1]: what stands first in memory
    assert len(sorts) == 4


def test_normalised_weights_follow_a_change_too() -> None:
    x, edge_index = torch.eye(3), torch.tensor([[0, 1], [2, 2]])
    nn.GCNConv(3, 3)(x, edge_index)
    with torch.no_grad():
        edge_index[1, 0] = 1
    layer = nn.GCNConv(3, 3)
    torch.testing.assert_close(layer(x, edge_index), layer(x, edge_index.clone()))


def test_a_csr_gets_its_loops_once(sorts: list[int]) -> None:
    csr = CSR.from_edge_index(sample().edge_index, None, NODES)
    for _ in range(3):
        nn.GCNConv(WIDTH, 2)(sample().x, csr)
        nn.GCNConv(WIDTH, 2)(sample().x, csr.with_weight(torch.rand(csr.nnz)))  # the same entries
    assert len(sorts) == 1
    nn.SAGEConv(WIDTH, 2)(sample().x, csr)
    assert len(sorts) == 1
    csr.indices.fill_(0)
    nn.GCNConv(WIDTH, 2)(sample().x, csr)
    assert len(sorts) == 2


@pytest.mark.parametrize("as_csr", [False, True])
def test_nothing_outlives_the_graph(as_csr: bool) -> None:
    gc.collect()
    before = len(_memory._known)
    edge_index = sample().edge_index
    graph = CSR.from_edge_index(edge_index, None, NODES) if as_csr else edge_index
    layers = (nn.GCNConv(WIDTH, 2), nn.LGConv(), nn.GATConv(WIDTH, 2))
    for layer in layers:
        layer(sample().x.requires_grad_(), graph).sum().backward()
    noted = [weakref.ref(edges_of("", graph, NODES, NODES, loops).csr) for loops in (False, True)]
    assert len(_memory._known) > before
    del graph, edge_index
    gc.collect()
    assert [ref() for ref in noted] == [None, None]
    assert len(_memory._known) == before


def test_a_graph_of_inference_mode_is_not_kept_but_serves() -> None:
    s = sample()
    layer = nn.GCNConv(WIDTH, 2)
    with torch.inference_mode():
        made = s.edge_index.clone()  # torch does not count its changes
        first = layer(s.x, made)
        made[1] = made[1].flip(0)
        assert not torch.equal(layer(s.x, made), first)
        inside = layer(s.x, s.edge_index)
    # What was noted inside serves a backward outside.
    x = s.x.clone().requires_grad_()
    out = layer(x, s.edge_index)
    out.sum().backward()
    torch.testing.assert_close(out.detach(), inside)


def test_callers_in_several_threads() -> None:
    s = sample()
    layers = [nn.GCNConv(WIDTH, 3), nn.LGConv(), nn.GATConv(WIDTH, 3), nn.SAGEConv(WIDTH, 3)] * 4
    for _ in range(5):
        edge_index = s.edge_index.clone()
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda layer, graph=edge_index: layer(s.x, graph), layers))
        for got, layer in zip(together, layers, strict=True):
            assert torch.equal(got, layer(s.x, s.edge_index))


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4)), max_size=30),
    st.booleans(),
    st.sampled_from(["source_to_target", "target_to_source"]),
)
def test_entries_are_the_edges_sorted_by_target(pairs: list[tuple[int, int]], loops: bool, flow: _edges.Flow) -> None:
    """Whatever the list, its edges come out row by row in their order, the loops last, none lost."""
    if flow == "target_to_source":
        pairs = [(target, source) for source, target in pairs]
    edge_index = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T.contiguous()
    edges = edges_of("", edge_index, 5, 7, loops, flow)
    sent = [(a, b) if flow == "source_to_target" else (b, a) for a, b in pairs]
    listed = [(source, target, at) for at, (source, target) in enumerate(sent) if not loops or source != target]
    listed += [(node, node, len(pairs) + node) for node in range(5)] if loops else []
    expected = sorted(listed, key=lambda edge: edge[1])
    csr, entry = edges.csr, edges.entry
    assert entry is not None
    got = zip(csr.indices.tolist(), csr.row_index().tolist(), entry.tolist(), strict=True)
    assert list(got) == expected
    if loops:
        assert edges.own is not None
        last = {node: at for at, (node, other) in enumerate(sent) if node == other}
        assert edges.own.tolist() == [last.get(node, len(pairs)) for node in range(5)]
    CSR(csr.indptr, csr.indices, None, csr.shape)  # as if a caller had made it
