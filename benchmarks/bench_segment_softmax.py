"""How fast is the softmax over neighbourhoods, beside what people use? One to eight heads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from benchmarks import rivals, suite
from gnas_ext import ops

if TYPE_CHECKING:
    from benchmarks.suite import Run, Setting


def score(setting: Setting) -> torch.Tensor:
    """Of every edge and head; a single head has no axis of its own."""
    numbers = setting.numbers(setting.csr.nnz, setting.width)
    return numbers.squeeze(1) if setting.width == 1 else numbers


def gnas_ext(setting: Setting) -> Run:
    csr, given = setting.unweighted, score(setting)
    return lambda: ops.segment_softmax(csr, given)


def pyg(setting: Setting) -> Run:
    """As GATConv calls it."""
    softmax = rivals.peer("torch_geometric.utils").softmax
    given, row, nodes = score(setting), setting.row, setting.csr.rows
    return lambda: softmax(given, row, num_nodes=nodes)


def pyg_ptr(setting: Setting) -> Run:
    """With row pointers, which PyG sends to torch-scatter's segments."""
    softmax = rivals.peer("torch_geometric.utils").softmax
    given, indptr = score(setting), setting.indptr
    return lambda: softmax(given, ptr=indptr)


def torch_scatter(setting: Setting) -> Run:
    softmax = rivals.peer("torch_scatter").scatter_softmax
    given, row, nodes = score(setting), setting.row, setting.csr.rows
    return lambda: softmax(given, row, dim=0, dim_size=nodes)


def segments(setting: Setting) -> Run:
    """The same of torch-scatter's pieces for sorted rows."""
    peer = rivals.peer("torch_scatter")
    given, indptr = score(setting), setting.indptr

    def softmax() -> Any:
        up = (given - peer.gather_csr(peer.segment_csr(given, indptr, reduce="max"), indptr)).exp()
        return up / peer.gather_csr(peer.segment_csr(up, indptr, reduce="sum"), indptr)

    return softmax


def torch_coo(setting: Setting) -> Run:
    """Softmax of torch itself, for a single head."""
    if setting.width != 1:
        raise suite.UnableError("one head alone")
    entries = torch.stack([setting.row, setting.col])
    matrix = torch.sparse_coo_tensor(entries, score(setting), setting.csr.shape)
    if matrix.coalesce().values().shape != (setting.csr.nnz,):
        raise suite.UnableError("the graph has double edges")
    matrix = torch.sparse_coo_tensor(entries, score(setting), setting.csr.shape, is_coalesced=True)
    return lambda: torch.sparse.softmax(matrix, 1).values()


def numba(setting: Setting) -> Run:
    setting.on_the_cpu()
    kernel, csr, given = rivals.compiled("softmax"), setting.csr, score(setting)
    shape = given.shape
    arrays = (csr.indptr.numpy(), given.view(csr.nnz, -1).numpy())
    return lambda: torch.from_numpy(kernel(*arrays)).view(shape)


FAMILIES = [
    suite.Family(
        "segment_softmax",
        suite.Target(6.0, 3.0),
        {
            suite.OURS: gnas_ext,
            "PyG": pyg,
            "PyG with ptr": pyg_ptr,
            "torch_scatter": torch_scatter,
            "scatter_csr": segments,
            "torch COO": torch_coo,
            "numba": numba,
        },
        sizes=(1, 4, 8),
        size="heads",
        cuda_target=suite.Target(3.0, 1.0),
    )
]


def bench_segment_softmax(benchmark: Any, turn: suite.Turn) -> None:
    suite.measure(benchmark, turn)
