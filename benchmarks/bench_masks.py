"""What do structured masks over the graph save, beside our own product without them, and what do they cost?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from benchmarks import rivals, suite
from gnas_ext import CSR, ops
from gnas_ext.graph import fold_rows

if TYPE_CHECKING:
    from benchmarks.suite import Run, Setting

HALF = 0.5


def half(count: int, device: torch.device) -> torch.Tensor:
    """Half of them at random, the same at every call."""
    return torch.rand(count, generator=torch.Generator(device).manual_seed(2), device=device) < HALF


def every_edge(setting: Setting) -> Run:
    csr, x = setting.csr, setting.x
    return lambda: ops.spmm(csr, x)


def bitmask(setting: Setting) -> Run:
    """The mask moves: what is left is found in every call."""
    csr, x, mask = setting.csr, setting.x, ops.pack_mask(half(setting.csr.nnz, setting.device))
    return lambda: ops.spmm_masked(csr, x, mask)


def compacted(setting: Setting) -> Run:
    """The mask is fixed: what is left was found before."""
    csr, x = setting.csr.masked(half(setting.csr.nnz, setting.device)), setting.x
    return lambda: ops.spmm(csr, x)


def active_rows(setting: Setting) -> Run:
    rows = half(setting.csr.rows, setting.device).nonzero().squeeze(1)
    csr, x = setting.csr.select_rows(rows), setting.x
    return lambda: ops.spmm(csr, x)


def folded(setting: Setting) -> Run:
    """The half of the nodes with the fewest entries, in 64 shared rows."""
    csr = setting.csr
    degree = csr.degree()
    fold = fold_rows(degree > degree.median(), torch.arange(csr.cols, device=setting.device) % 64)
    small, x = csr.remapped(fold.remap, fold.size), fold.compact(setting.x)
    return lambda: ops.spmm(small, x)


def backward(mask: bool) -> suite.Prepare:
    def prepare(setting: Setting) -> Run:
        csr, bits = setting.csr, ops.pack_mask(half(setting.csr.nnz, setting.device))
        if mask:
            return rivals.gradient_to_x(lambda x: ops.spmm_masked(csr, x, bits), setting)
        return rivals.gradient_to_x(lambda x: ops.spmm(csr, x), setting)

    return prepare


def dropout(setting: Setting) -> Run:
    """A mask drawn and a product under it: what a step with edge dropout does."""
    csr, x = setting.unweighted, setting.x
    step = iter(range(1 << 62))
    return lambda: ops.spmm_masked(csr, x, ops.edge_dropout_mask(csr, HALF, 0, next(step)))


def edge_index_of(setting: Setting) -> torch.Tensor:
    return torch.stack([setting.col, setting.row])


def boolean_indexing(setting: Setting) -> Run:
    """Torch's numbers and indexing, then a new graph."""
    edge_index, x, nodes = edge_index_of(setting), setting.x, setting.csr.rows

    def run() -> torch.Tensor:
        kept = edge_index[:, torch.rand(edge_index.shape[1], device=x.device) >= HALF]
        return ops.spmm(CSR.from_edge_index(kept, nodes=nodes), x)

    return run


def dropout_edge(setting: Setting) -> Run:
    """PyG's, then a new graph, and our product: its own would be slower."""
    drop = rivals.peer("torch_geometric.utils").dropout_edge
    edge_index, x, nodes = edge_index_of(setting), setting.x, setting.csr.rows
    return lambda: ops.spmm(CSR.from_edge_index(drop(edge_index, HALF)[0], nodes=nodes), x)


def select(setting: Setting) -> Run:
    csr, mask = setting.csr, ops.pack_mask(half(setting.csr.nnz, setting.device))
    weight = setting.weight
    return lambda: ops.select_edges(csr.indptr, csr.indices, csr.cols, weight=weight, mask=mask, places="none")


def boolean_select(setting: Setting) -> Run:
    """The same by torch's boolean indexing and a running sum."""
    csr, mask = setting.csr, half(setting.csr.nnz, setting.device)
    indptr, weight = setting.indptr, setting.weight

    def run() -> tuple[torch.Tensor, ...]:
        before = torch.cat([indptr.new_zeros(1), mask.cumsum(0)])
        kept = before[indptr].to(csr.indptr.dtype)
        return kept, csr.indices[mask], torch.zeros(0, dtype=csr.indptr.dtype), weight[mask]

    return run


UNPRUNED = "every edge"
FAMILIES = [
    suite.Family(
        "half of the edges, bitmask",
        suite.Target(1.5, 1.0),
        {suite.OURS: bitmask, UNPRUNED: every_edge},
        same_numbers=False,
    ),
    suite.Family(
        "half of the edges, compacted",
        suite.Target(1.9, 1.0),
        {suite.OURS: compacted, UNPRUNED: every_edge},
        same_numbers=False,
    ),
    suite.Family(
        "half of the edges, bitmask, forward + backward (x)",
        None,
        {suite.OURS: backward(True), UNPRUNED: backward(False)},
        same_numbers=False,
    ),
    suite.Family(
        "half of the rows active", None, {suite.OURS: active_rows, "every row": every_edge}, same_numbers=False
    ),
    suite.Family(
        "half of the nodes folded into 64 rows",
        None,
        {suite.OURS: folded, "every row of its own": every_edge},
        same_numbers=False,
    ),
    suite.Family(
        "edge dropout and spmm",
        None,
        {suite.OURS: dropout, "boolean indexing": boolean_indexing, "PyG dropout_edge": dropout_edge},
        same_numbers=False,
    ),
    suite.Family("select_edges", None, {suite.OURS: select, "boolean indexing": boolean_select}, sizes=(1,)),
]


def bench_masks(benchmark: Any, turn: suite.Turn) -> None:
    suite.measure(benchmark, turn)
