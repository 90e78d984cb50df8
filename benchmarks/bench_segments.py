"""How fast are scatter and segment_reduce, beside torch-scatter and torch's own?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from benchmarks import rivals, suite
from gnas_ext import ops

if TYPE_CHECKING:
    from benchmarks.suite import Run, Setting


def source(setting: Setting) -> torch.Tensor:
    """A row of features an edge: what is reduced."""
    setting.messages(tensors=2)
    return setting.numbers(setting.csr.nnz, setting.width)


def unsorted(setting: Setting) -> torch.Tensor:
    """The row of each edge in an order that says nothing, int64."""
    random = torch.Generator(setting.device).manual_seed(3)
    return setting.row[torch.randperm(setting.csr.nnz, generator=random, device=setting.device)]


def our_segments(setting: Setting) -> Run:
    src, indptr = source(setting), setting.indptr
    return lambda: ops.segment_reduce(src, indptr)


def segment_csr(setting: Setting) -> Run:
    segment = rivals.peer("torch_scatter").segment_csr
    src, indptr = source(setting), setting.indptr
    return lambda: segment(src, indptr, reduce="sum")


def torch_segments(setting: Setting) -> Run:
    src, indptr = source(setting), setting.indptr
    return lambda: torch.segment_reduce(src, "sum", offsets=indptr, axis=0, unsafe=True)


def our_segment_max(setting: Setting) -> Run:
    src, indptr = source(setting), setting.indptr
    return lambda: ops.segment_arg(src, indptr, "max")[0]


def segment_max_csr(setting: Setting) -> Run:
    segment = rivals.peer("torch_scatter").segment_max_csr
    src, indptr = source(setting), setting.indptr
    return lambda: segment(src, indptr)[0]


def our_scatter(setting: Setting) -> Run:
    src, index, size = source(setting), unsorted(setting), setting.csr.rows
    return lambda: ops.scatter(src, index, size)


def our_planned_scatter(setting: Setting) -> Run:
    """The index sorted once, as in a loop of training."""
    src, index, size = source(setting), unsorted(setting), setting.csr.rows
    plan = ops.ScatterPlan(index, size)
    return lambda: ops.scatter(src, index, size, plan=plan)


def torch_scatter(setting: Setting) -> Run:
    scatter = rivals.peer("torch_scatter").scatter
    src, index, size = source(setting), unsorted(setting), setting.csr.rows
    return lambda: scatter(src, index, dim=0, dim_size=size, reduce="sum")


def pyg_scatter(setting: Setting) -> Run:
    scatter = rivals.peer("torch_geometric.utils").scatter
    src, index, size = source(setting), unsorted(setting), setting.csr.rows
    return lambda: scatter(src, index, dim=0, dim_size=size, reduce="sum")


def index_add(setting: Setting) -> Run:
    src, index, size = source(setting), unsorted(setting), setting.csr.rows
    return lambda: src.new_zeros(size, src.shape[1]).index_add_(0, index, src)


TARGET = suite.Target(5.0, 2.0)
RIVALS = {"torch_scatter": torch_scatter, "PyG scatter": pyg_scatter, "index_add": index_add}
FAMILIES = [
    suite.Family(
        "segment_reduce sum",
        TARGET,
        {suite.OURS: our_segments, "segment_csr": segment_csr, "torch.segment_reduce": torch_segments},
    ),
    suite.Family("segment_arg max", TARGET, {suite.OURS: our_segment_max, "segment_max_csr": segment_max_csr}),
    suite.Family("scatter sum, index as it comes", TARGET, {suite.OURS: our_scatter, **RIVALS}),
    suite.Family("scatter sum, index sorted once", TARGET, {suite.OURS: our_planned_scatter, **RIVALS}),
]


def bench_segments(benchmark: Any, turn: suite.Turn) -> None:
    suite.measure(benchmark, turn)
