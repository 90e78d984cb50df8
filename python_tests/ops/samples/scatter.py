from __future__ import annotations

from typing import TYPE_CHECKING, Any

from python_tests.ops.samples._inputs import inputs
from python_tests.ops.samples.segment import entries

if TYPE_CHECKING:
    import torch

    from python_tests.ops.samples import Samples


def scatter(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    src, _ = entries(index, dtype, device)
    csr = inputs(index, dtype, device).csr
    return [
        (src, csr.indices, csr.cols, "sum"),
        (src, csr.indices, csr.cols, "mean"),
        (src.detach(), csr.indices, csr.cols, "sum"),
    ]


def gather_rows(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    csr, *_, x = inputs(index, dtype, device)
    return [(x, csr.indices), (x.detach(), csr.indices)]


def sort_index(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    csr = inputs(index, dtype, device).csr
    return [(csr.indices, csr.cols, True), (csr.indices.long(), csr.cols, False)]


SAMPLES: dict[str, Samples] = {"scatter": scatter, "gather_rows": gather_rows, "sort_index": sort_index}
