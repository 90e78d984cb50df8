"""Do the layers compute their formulas? Against dense matrices, with edge_index and with a CSR."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch.nn import functional

from gnas_ext import CSR, nn
from python_tests.nn.samples import EDGES, NODES, SOURCES, TARGETS, WIDTH, sample

if TYPE_CHECKING:
    from collections.abc import Callable

Weights = torch.Tensor | None


def close(got: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(got, expected.to(got.dtype), rtol=1e-6, atol=1e-6)


def dense(edge_index: torch.Tensor, weight: Weights, rows: int, cols: int) -> torch.Tensor:
    """[rows, cols]: what column j sends to row i."""
    matrix = torch.zeros(rows, cols, dtype=torch.float64)
    values = torch.ones(edge_index.shape[1]) if weight is None else weight
    return matrix.index_put((edge_index[1], edge_index[0]), values.double(), accumulate=True)


def with_loops(edge_index: torch.Tensor, weight: Weights, fill: float) -> tuple[torch.Tensor, torch.Tensor]:
    """By a loop in Python: the last loop of a node stays, the others go, and nodes without one get `fill`."""
    given = torch.ones(edge_index.shape[1]) if weight is None else weight
    own = {int(i): value for (i, j), value in zip(edge_index.T, given, strict=True) if i == j}
    edges = [(int(i), int(j), value) for (i, j), value in zip(edge_index.T, given, strict=True) if i != j]
    edges += [(i, i, own.get(i, torch.tensor(fill)) if weight is not None else torch.tensor(1.0)) for i in range(NODES)]
    ends = torch.tensor([edge[:2] for edge in edges]).T
    return ends, torch.stack([edge[2].to(given.dtype) for edge in edges])


def over_degrees(matrix: torch.Tensor) -> torch.Tensor:
    degree = matrix.sum(1)
    scale = torch.where(degree > 0, degree.clamp(min=1e-30) ** -0.5, torch.zeros_like(degree))
    return scale.unsqueeze(1) * matrix * scale


def biased(layer: nn.GCNConv | nn.GATConv, out: torch.Tensor) -> torch.Tensor:
    assert layer.bias is not None
    with torch.no_grad():
        layer.bias.copy_(torch.linspace(-1, 1, len(layer.bias)))  # not the zeros of the beginning
    return out + layer.bias


def forms(edge_index: torch.Tensor, weight: Weights = None, rows: int = NODES, cols: int = NODES) -> list[tuple]:  # type: ignore[type-arg]
    """The ways to say one graph to a layer."""
    csr = CSR.from_coo(edge_index[1], edge_index[0], weight, (rows, cols))
    narrow = CSR(csr.indptr.int(), csr.indices.int(), csr.weight, csr.shape)
    by_weight = () if weight is None else (weight,)
    return [(edge_index, *by_weight), (edge_index.int(), *by_weight), (csr,), (narrow,), (narrow.t().t(),)]


@pytest.mark.parametrize("out", [4, 9])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("loops", "improved"), [(True, False), (True, True), (False, False)])
def test_gcn(loops: bool, improved: bool, weighted: bool, out: int) -> None:
    s = sample(torch.float64)
    weight = s.edge_weight if weighted else None
    edges = with_loops(s.edge_index, weight, 2.0 if improved else 1.0) if loops else (s.edge_index, weight)
    expected = over_degrees(dense(*edges, NODES, NODES)) @ s.x
    layer = nn.GCNConv(WIDTH, out, improved=improved, add_self_loops=loops).double()
    expected = biased(layer, expected @ layer.lin.weight.T)
    for graph in forms(s.edge_index, weight):
        close(layer(s.x, *graph), expected)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
def test_lightgcn(normalize: bool, weighted: bool) -> None:
    s = sample(torch.float64)
    weight = s.edge_weight if weighted else None
    matrix = dense(s.edge_index, weight, NODES, NODES)
    for graph in forms(s.edge_index, weight):
        close(nn.LGConv(normalize)(s.x, *graph), (over_degrees(matrix) if normalize else matrix) @ s.x)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_graph_normalised_beforehand(weighted: bool) -> None:
    s = sample(torch.float64)
    layer = nn.GCNConv(WIDTH, 3).double()
    plain = nn.GCNConv(WIDTH, 3, normalize=False).double()
    plain.load_state_dict(layer.state_dict())
    csr = CSR.from_edge_index(s.edge_index, s.edge_weight if weighted else None, NODES)
    ready = nn.gcn_norm(csr if weighted else csr.with_weight(torch.ones(csr.nnz, dtype=torch.float64)))
    close(plain(s.x, ready), layer(s.x, csr))
    unweighted = nn.gcn_norm(csr.with_weight(None)).weight
    assert unweighted is not None
    assert unweighted.dtype == torch.float32


@pytest.mark.parametrize("out", [3, 8])
@pytest.mark.parametrize("aggr", ["mean", "sum", "max"])
def test_sage(aggr: str, out: int) -> None:
    s = sample(torch.float64)
    layer = nn.SAGEConv((WIDTH, WIDTH - 2), out, aggr).double()
    matrix = dense(s.bipartite, None, TARGETS, SOURCES)
    if aggr == "max":
        sent = torch.where((matrix > 0).unsqueeze(2), s.sources, -torch.inf).amax(1)
        around = torch.where(matrix.sum(1, keepdim=True) > 0, sent, 0.0)
    else:
        around = matrix @ s.sources / (matrix.sum(1, keepdim=True).clamp(min=1) if aggr == "mean" else 1)
    expected = layer.lin_l(around) + s.targets @ layer.lin_r.weight.T
    for graph in forms(s.bipartite, None, TARGETS, SOURCES):
        close(layer((s.sources, s.targets), *graph), expected)
    weighted = CSR.from_coo(s.bipartite[1], s.bipartite[0], torch.rand(60), (TARGETS, SOURCES))
    close(layer((s.sources, s.targets), weighted), expected)


def test_gin() -> None:
    s = sample(torch.float64)
    layer = nn.GINConv(torch.nn.Linear(WIDTH, 3), eps=0.25, train_eps=True).double()
    expected = layer.nn(dense(s.edge_index, None, NODES, NODES) @ s.x + 1.25 * s.x)
    for graph in forms(s.edge_index):
        close(layer(s.x, *graph), expected)


def attention(layer: nn.GATConv, edges: torch.Tensor, x: torch.Tensor, attr: torch.Tensor | None) -> torch.Tensor:
    """By edges and nodes in Python, [nodes, heads, width]."""
    heads = (layer.heads, layer.out_channels)
    assert layer.lin is not None
    hidden = layer.lin(x).unflatten(-1, heads)
    score = (hidden * layer.att_src).sum(-1)[edges[0]] + (hidden * layer.att_dst).sum(-1)[edges[1]]
    if attr is not None:
        assert layer.lin_edge is not None
        score = score + (layer.lin_edge(attr).unflatten(-1, heads) * layer.att_edge).sum(-1)
    score = functional.leaky_relu(score, layer.negative_slope)
    rows = []
    for node in range(NODES):
        here = edges[1] == node
        alpha = score[here].softmax(0).unsqueeze(-1)
        rows.append((alpha * hidden[edges[0, here]]).sum(0))
    return torch.stack(rows)


@pytest.mark.parametrize("featured", [False, True])
@pytest.mark.parametrize("concat", [False, True])
def test_gat(concat: bool, featured: bool) -> None:
    s = sample(torch.float64)
    layer = nn.GATConv(
        WIDTH, 4, heads=3, concat=concat, edge_dim=3 if featured else None, add_self_loops=False
    ).double()
    attr = s.edge_attr if featured else None
    by_head = attention(layer, s.edge_index, s.x, attr)
    expected = biased(layer, by_head.flatten(1) if concat else by_head.mean(1))
    close(layer(s.x, s.edge_index, attr), expected)
    order = torch.argsort(s.edge_index[1], stable=True)
    csr = CSR.from_edge_index(s.edge_index, None, NODES)
    close(layer(s.x, csr, None if attr is None else attr[order]), expected)
    wide = torch.cat([s.edge_index[:, s.edge_index[0] != s.edge_index[1]], torch.arange(NODES).expand(2, -1)], 1)
    layer.add_self_loops = True
    by_head = attention(layer, wide, s.x, None)
    expected = biased(layer, by_head.flatten(1) if concat else by_head.mean(1))
    for graph in (s.edge_index, csr):
        close(layer(s.x, graph), expected)


def test_dropout_leaves_out_whole_weights_and_keeps_their_mean() -> None:
    torch.manual_seed(1)
    layer = nn.GATConv(1, 1, dropout=0.25, add_self_loops=False, bias=False)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(1.0)
    sources, targets = 4, 20_000
    edge_index = torch.stack([torch.arange(sources).repeat(targets), torch.arange(targets).repeat_interleave(sources)])
    x = torch.ones(sources, 1)
    counts = layer((x, torch.ones(targets, 1)), edge_index).squeeze(1) * 3  # each left counts 1/4 over 3/4
    torch.testing.assert_close(counts, counts.round())
    assert set(counts.round().int().tolist()) == {0, 1, 2, 3, 4}
    assert abs(float(counts.detach().mean()) - 3) < 0.05
    layer.eval()
    close(layer((x, torch.ones(targets, 1)), edge_index), torch.ones(targets, 1))


LAYERS: dict[str, Callable[[], torch.nn.Module]] = {
    "GCNConv": lambda: nn.GCNConv(WIDTH, 5),
    "SAGEConv": lambda: nn.SAGEConv(WIDTH, 5),
    "GATConv": lambda: nn.GATConv(WIDTH, 5, heads=2),
    "LGConv": lambda: nn.LGConv(),
    "GINConv": lambda: nn.GINConv(torch.nn.Linear(WIDTH, 5)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_gradients(name: str) -> None:
    s = sample(torch.float64)
    layer = LAYERS[name]().double()
    weights = (s.edge_weight.requires_grad_(),) if name in ("GCNConv", "LGConv") else ()
    parameters = tuple(layer.parameters())

    def run(x: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = layer(x, s.edge_index, *(rest[: len(weights)]))
        return out

    inputs = (s.x.requires_grad_(), *weights, *parameters)
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, inputs, fast_mode=True)


@pytest.mark.parametrize("name", LAYERS)
def test_no_nodes_and_no_edges(name: str) -> None:
    layer = LAYERS[name]()
    none = torch.empty(2, 0, dtype=torch.int64)
    assert layer(torch.empty(0, WIDTH), none).shape[0] == 0
    assert layer(torch.ones(3, WIDTH), none).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", LAYERS)
def test_narrow_types(name: str, dtype: torch.dtype) -> None:
    s = sample()
    layer = LAYERS[name]()
    expected = layer(s.x, s.edge_index)
    got = layer.to(dtype)(s.x.to(dtype), s.edge_index)
    assert got.dtype == dtype
    torch.testing.assert_close(got.float(), expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("name", LAYERS)
def test_under_autocast(name: str) -> None:
    s = sample()
    layer = LAYERS[name]()
    x = s.x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        got = layer(x, s.edge_index)
        slopes = torch.autograd.grad(got.float().pow(2).sum(), [x, *layer.parameters()])
    expected = layer(s.x, s.edge_index)  # and the same graph serves in full precision
    torch.testing.assert_close(got.float(), expected, rtol=0.05, atol=0.05)
    assert all(slope.dtype == torch.float32 for slope in slopes)
    close(expected, layer(s.x, s.edge_index.clone()))


def test_degrees_are_counted_in_float32() -> None:
    """A degree in bfloat16 stops at 256: PyG's normalisation is then off by a factor of 16."""
    star = torch.stack([torch.arange(4096), torch.zeros(4096, dtype=torch.int64)])
    out = nn.LGConv()(torch.ones(4096, 1, dtype=torch.bfloat16), star)
    close(out[0].float(), torch.tensor([1 / 4096]))  # what node 0 sends to itself; the others have no degree
    assert float(out[1:].abs().max()) == 0


@pytest.mark.parametrize("name", LAYERS)
def test_weights_drawn_anew(name: str) -> None:
    layer = LAYERS[name]()
    before = [parameter.clone() for parameter in layer.parameters() if parameter.dim() > 1]
    layer.reset_parameters()  # type: ignore[operator]
    after = [parameter for parameter in layer.parameters() if parameter.dim() > 1]
    assert all(not torch.equal(old, new) for old, new in zip(before, after, strict=True))


S = sample()
REFUSED: dict[str, tuple[type[Exception], str, Callable[[], object]]] = {
    "no such aggregation": (
        ValueError,
        "SAGEConv: expected aggr in add, sum, mean, max, min, got 'lstm'; others are PyG's alone",
        lambda: nn.SAGEConv(3, 4, aggr="lstm"),
    ),
    "no such direction": (
        ValueError,
        "LGConv: expected flow in source_to_target, target_to_source, got 'up'",
        lambda: nn.LGConv(flow="up")(S.x, S.edge_index),  # type: ignore[arg-type]
    ),
    "loops without normalisation": (
        ValueError,
        "GCNConv: add_self_loops needs normalize=True, as in PyG",
        lambda: nn.GCNConv(3, 4, add_self_loops=True, normalize=False),
    ),
    "a pair for GCN": (
        ValueError,
        "GCNConv: expected one x for all nodes, got a pair; SAGEConv takes pairs, as in PyG",
        lambda: nn.GCNConv(WIDTH, 4)((S.sources, S.targets), S.bipartite),
    ),
    "weights beside a CSR": (
        ValueError,
        "GCNConv: a CSR has its own weights: pass csr.with_weight(edge_weight) alone",
        lambda: nn.GCNConv(WIDTH, 4)(S.x, CSR.from_edge_index(S.edge_index, None, NODES), S.edge_weight),
    ),
    "too few weights": (
        ValueError,
        f"LGConv: expected edge_weight of shape [{EDGES}], one an edge, got [{EDGES - 1}]",
        lambda: nn.LGConv()(S.x, S.edge_index, S.edge_weight[1:]),
    ),
    "a CSR of another size": (
        ValueError,
        f"SAGEConv: expected a CSR of shape [{TARGETS}, {SOURCES}], one row a target and one column a source, got "
        f"[{SOURCES}, {TARGETS}]",
        lambda: nn.SAGEConv((WIDTH, WIDTH - 2), 4)(
            (S.sources, S.targets), CSR.from_coo(S.bipartite[0], S.bipartite[1], None, (SOURCES, TARGETS))
        ),
    ),
    "a CSR against the flow": (
        ValueError,
        "LGConv: a CSR's rows receive; for target_to_source pass csr.t()",
        lambda: nn.LGConv(flow="target_to_source")(S.x, CSR.from_edge_index(S.edge_index, None, NODES)),
    ),
    "a pair against the flow": (
        ValueError,
        "SAGEConv: a pair of features sends from the first to the second; flip edge_index instead",
        lambda: nn.SAGEConv(3, 4, flow="target_to_source")((S.sources, None), S.bipartite),
    ),
    "a size that x contradicts": (
        ValueError,
        f"SAGEConv: size asks for 10 targets, but x has {TARGETS}",
        lambda: nn.SAGEConv(3, 4)((S.sources, S.targets), S.bipartite, size=(SOURCES, 10)),
    ),
    "a node that does not exist": (
        ValueError,
        "LGConv: edge_index[1, 1] is 5, but there are 3 nodes",
        lambda: nn.LGConv()(torch.ones(3, 1), torch.tensor([[0, 1], [2, 5]])),
    ),
    "a negative node": (
        ValueError,
        "LGConv: edge_index[0, 0] is -1, but there are 3 nodes",
        lambda: nn.LGConv()(torch.ones(3, 1), torch.tensor([[-1], [2]])),
    ),
    "edges as columns": (
        ValueError,
        "LGConv: expected edge_index of shape [2, edges], got [3, 2]",
        lambda: nn.LGConv()(torch.ones(3, 1), torch.zeros(3, 2, dtype=torch.int64)),
    ),
    "edges of floats": (
        TypeError,
        "LGConv: expected edge_index of int32 or int64, got torch.float32",
        lambda: nn.LGConv()(torch.ones(3, 1), torch.zeros(2, 3)),
    ),
    "a sparse tensor": (
        TypeError,
        "LGConv: expected edge_index or a CSR, got a sparse tensor: pass CSR.from_torch(adj_t)",
        lambda: nn.LGConv()(torch.ones(3, 1), torch.eye(3).to_sparse()),
    ),
    "a list": (
        TypeError,
        "LGConv: expected edge_index, a tensor of shape [2, edges], or a CSR, got <class 'list'>",
        lambda: nn.LGConv()(torch.ones(3, 1), [[0], [1]]),
    ),
    "a batch for attention": (
        ValueError,
        f"GATConv: expected x of shape [nodes, in_channels], got [2, {NODES}, {WIDTH}]",
        lambda: nn.GATConv(WIDTH, 4)(torch.ones(2, NODES, WIDTH), S.edge_index),
    ),
    "features of other edges": (
        ValueError,
        f"GATConv: expected edge_attr of shape [{EDGES}, edge_dim], got [7, 3]",
        lambda: nn.GATConv(WIDTH, 4, edge_dim=3)(S.x, S.edge_index, S.edge_attr[:7]),
    ),
    "no such fill": (
        ValueError,
        "GATConv: expected fill_value in add, sum, mean, max, min, got 'mul'; others are PyG's alone",
        lambda: nn.GATConv(WIDTH, 4, fill_value="mul"),
    ),
    "norm of a bipartite graph": (
        ValueError,
        "gcn_norm: expected a CSR of shape [nodes, nodes], got [2, 3]",
        lambda: nn.gcn_norm(CSR(torch.tensor([0, 1, 1]), torch.tensor([2]))),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_says_what_was_expected_and_what_came(case: str) -> None:
    kind, message, call = REFUSED[case]
    with pytest.raises(kind) as error:
        call()
    assert str(error.value) == message
