"""The same ops in plain torch: what the kernels are tested against, and what to read first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from gnas_ext.graph.csr import CSR
    from gnas_ext.ops.spmm import Reduce


def spmm(csr: CSR, x: Tensor, reduce: Reduce = "sum") -> Tensor:
    """Like `ops.spmm`, by a message an edge (edges x width in memory), in float64."""
    messages = x.double()[csr.indices.long()]
    if csr.weight is not None:
        messages = messages * csr.weight.double().unsqueeze(1)
    row = csr.row_index().long().unsqueeze(1).expand_as(messages)
    out = messages.new_zeros(csr.rows, x.shape[1])
    how = {"sum": "sum", "mean": "mean", "max": "amax", "min": "amin"}[reduce]
    return out.scatter_reduce(0, row, messages, how, include_self=False).to(x.dtype)


def sddmm(csr: CSR, a: Tensor, b: Tensor) -> Tensor:
    """Like `ops.sddmm`, by a product an edge, in float64."""
    return (a.double()[csr.row_index().long()] * b.double()[csr.indices.long()]).sum(1).to(a.dtype)


def transpose(csr: CSR) -> Tensor:
    """The dense transpose, [cols, rows], in float64: what `csr.t()` must multiply like."""
    dense = torch.zeros(csr.shape, dtype=torch.float64)
    values = torch.ones(csr.nnz) if csr.weight is None else csr.weight
    dense.index_put_((csr.row_index().long(), csr.indices.long()), values.double(), accumulate=True)
    return dense.T
