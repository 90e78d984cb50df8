from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from python_tests.ops.samples._inputs import inputs

if TYPE_CHECKING:
    from python_tests.ops.samples import Samples

native = torch.ops.gnas_ext


def entries(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    csr, *_ = inputs(index, dtype, device)
    # Distinct values, so that max and min have a derivative.
    src = torch.arange(csr.nnz * 6, device=device).mul(7).remainder(csr.nnz * 6 + 1).reshape(csr.nnz, 6)
    return (src.to(torch.float64) / csr.nnz - 3).to(dtype).requires_grad_(), csr.indptr


def segment_reduce(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    src, indptr = entries(index, dtype, device)
    return [(src, indptr, "sum"), (src, indptr, "mean"), (src.detach(), indptr, "mean"), (src.detach(), indptr, "min")]


def segment_arg(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    src, indptr = entries(index, dtype, device)
    return [(src, indptr, "max"), (src, indptr, "min"), (src.detach(), indptr, "max")]


def gather_segments(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    src, indptr = entries(index, dtype, device)
    a = inputs(index, dtype, device).a
    select = native.segment_arg(src.detach(), indptr, "max")[1]
    return [(a, indptr, None, len(src)), (a, indptr, select, len(src)), (a.detach(), indptr, None, len(src))]


SAMPLES: dict[str, Samples] = {
    "segment_reduce": segment_reduce,
    "segment_arg": segment_arg,
    "gather_segments": gather_segments,
}
