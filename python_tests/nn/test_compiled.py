"""Do layers with a CSR compile in one graph, and travel through torch.export?"""

from __future__ import annotations

import copy
import io

import pytest
import torch

from gnas_ext import CSR, nn
from python_tests.nn.samples import NODES, WIDTH, sample

# Torch's own.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated")


class Model(torch.nn.Module):
    """Every layer once, with a graph that is ready."""

    def __init__(self, csr: CSR) -> None:
        super().__init__()
        self.csr = csr
        self.normalised = nn.gcn_norm(csr)
        self.gcn = nn.GCNConv(WIDTH, 4, normalize=False)
        self.sage = nn.SAGEConv(4, 5, "max")
        self.lightgcn = nn.LGConv(normalize=False)
        self.gin = nn.GINConv(torch.nn.Linear(5, 6), train_eps=True)
        self.gat = nn.GATConv(6, 3, heads=2, add_self_loops=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(self.gcn(x, self.normalised))
        x = self.lightgcn(self.sage(x, self.csr), self.normalised)
        out: torch.Tensor = self.gat(self.gin(x, self.csr), self.csr)
        return out


def model() -> Model:
    torch.manual_seed(0)
    return Model(CSR.from_edge_index(sample().edge_index, None, NODES))


def test_compiles_in_one_graph() -> None:
    torch.compiler.reset()
    eager = model()
    other = copy.deepcopy(eager)
    compiled = torch.compile(other, fullgraph=True, backend="aot_eager")
    out, expected = (net(sample().x) for net in (compiled, eager))
    torch.testing.assert_close(out, expected)
    for value in (out, expected):
        value.pow(2).sum().backward()
    for ours, theirs in zip(other.parameters(), eager.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_exported_saved_and_loaded() -> None:
    net = model()
    file = io.BytesIO()
    torch.export.save(torch.export.export(net, (sample().x,)), file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    x = torch.randn(NODES, WIDTH)
    torch.testing.assert_close(loaded(x), net(x))


def test_an_edge_index_compiles_around_its_sort() -> None:
    torch.compiler.reset()
    s, layer = sample(), nn.GCNConv(WIDTH, 4)
    compiled = torch.compile(layer, backend="eager")
    torch.testing.assert_close(compiled(s.x, s.edge_index), layer(s.x, s.edge_index))
