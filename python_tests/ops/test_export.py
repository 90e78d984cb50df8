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
