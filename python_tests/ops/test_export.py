"""Does a module with the ops in it travel through torch.export, a file, and back?"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
import torch

from gnas_ext import CSR, ops
from python_tests import graphs
from python_tests.ops.oracle import REDUCES

if TYPE_CHECKING:
    from gnas_ext.ops.spmm import Reduce

# Torch's own, when it draws the graph of an exported module.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated")


class Net(torch.nn.Module):
    def __init__(self, csr: CSR, reduce: Reduce) -> None:
        super().__init__()
        self.csr = csr
        self.reduce: Reduce = reduce
        self.weight = torch.nn.Parameter(torch.linspace(-1, 1, csr.nnz))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = ops.spmm(self.csr.with_weight(self.weight), torch.tanh(x), self.reduce)
        return torch.relu(out) + ops.sddmm(self.csr, out, x).sum()


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("reduce", REDUCES)
def test_exported_saved_and_loaded(reduce: Reduce, strict: bool) -> None:
    csr = graphs.make("random")
    # Copies: what other tests compiled knows the tensors of `graphs`, and export takes their sizes for symbols.
    net = Net(CSR(csr.indptr.clone(), csr.indices.clone(), None, csr.shape), reduce)
    width = torch.export.Dim("width", min=2, max=512)
    torch.compiler.reset()
    exported = torch.export.export(net, (torch.randn(csr.cols, 5),), dynamic_shapes=({1: width},), strict=strict)
    file = io.BytesIO()
    torch.export.save(exported, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    for features in (3, 40):
        x = torch.randn(csr.cols, features)
        assert torch.equal(loaded(x), net(x))
    assert "gnas_ext.spmm" in exported.graph_module.code


class Others(torch.nn.Module):
    """What the other ops over a graph make of features."""

    def __init__(self, csr: CSR) -> None:
        super().__init__()
        self.csr = csr
        self.mask = torch.arange(csr.nnz) % 3 > 0
        self.blocks = torch.tensor([True])
        self.index = torch.arange(csr.cols) % 7

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        csr, a = self.csr, x[: self.csr.cols][torch.arange(self.csr.rows) % self.csr.cols]
        entries = ops.sddmm(csr, a, x).unsqueeze(1)
        return [
            ops.attention(csr, a, x, x),
            ops.gat(csr, a, x, x[0], x[1]),
            ops.segment_softmax(csr, entries),
            ops.segment_reduce(entries, csr.indptr, "mean"),
            ops.gather_segments(a, csr.indptr, csr.nnz),
            ops.scatter(x, self.index, 7),
            ops.spmm_masked(csr, x, self.mask),
            ops.spmm_blocks(csr, x, self.blocks),
            ops.topk_scores(a, x, 4)[0],
        ]


def test_the_other_ops_are_exported() -> None:
    csr = graphs.make("random")
    net = Others(CSR(csr.indptr.clone(), csr.indices.clone(), None, csr.shape))
    torch.compiler.reset()
    exported = torch.export.export(net, (torch.randn(csr.cols, 13),))
    file = io.BytesIO()
    torch.export.save(exported, file)
    file.seek(0)
    x = torch.randn(csr.cols, 13)
    for got, expected in zip(torch.export.load(file).module()(x), net(x), strict=True):
        assert torch.equal(got, expected)
