from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from gnas_ext.ops import pack_mask
from python_tests.ops.samples._inputs import NOTHING, inputs

if TYPE_CHECKING:
    from python_tests.ops.samples import Corrupt, Samples

native = torch.ops.gnas_ext


def bits(nnz: int, device: torch.device) -> torch.Tensor:
    return pack_mask((torch.arange(nnz) % 3 > 0).to(device))


def select_edges(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    csr, graph, t, edge, weight, _, _ = inputs(index, dtype, device)
    mask = bits(csr.nnz, device)
    rows = torch.tensor([3, 89, 3], dtype=index, device=device)
    remap = torch.arange(csr.cols, dtype=index, device=device) // 2 - 1
    return [
        (*graph, None, None, mask, None, None, csr.cols, 0, "none"),
        (*graph, edge, weight.detach(), mask, None, None, csr.cols, 0, "stored"),
        (t.indptr, t.indices, t.edge, None, mask, None, None, csr.rows, 0, "kept"),
        (*graph, edge, weight.detach(), mask, rows, remap, csr.cols, csr.cols, "stored"),
    ]


def spmm_masked(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    csr, graph, t, edge, weight, _, x = inputs(index, dtype, device)
    mask = bits(csr.nnz, device)
    by_head = torch.stack([weight.detach(), -weight.detach()], 1).requires_grad_()
    return [
        (*graph, None, weight, x, mask, None, "sum", *t),
        (*graph, None, by_head, x, mask, None, "mean", *t),
        (*graph, edge, None, x, mask, None, "mean", *NOTHING),
        (*graph, None, weight, x.detach(), mask, weight.detach().clone().requires_grad_(), "sum", *t),
    ]


def sddmm_masked(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    csr, graph, t, edge, _, a, x = inputs(index, dtype, device)
    mask = bits(csr.nnz, device)
    return [
        (*graph, None, a, x, mask, 0, *t),
        (*graph, None, a, x, mask, 2, *t),
        (*graph, edge, a, x.detach(), mask, 0, *NOTHING),
    ]


def topk_rows(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    csr, _, _, _, weight, _, _ = inputs(index, dtype, device)
    wide = weight.detach() if dtype == torch.float64 else weight.detach().float()
    return [(csr.indptr, wide, 2)]


SAMPLES: dict[str, Samples] = {
    "topk_rows": topk_rows,
    "select_edges": select_edges,
    "spmm_masked": spmm_masked,
    "sddmm_masked": sddmm_masked,
}
CORRUPT: dict[str, Corrupt] = {
    "select_edges": lambda p, i, e, x: native.select_edges(p, i, e, None, None, None, None, len(x), 0, "stored")
}
