from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from python_tests.ops.samples._inputs import inputs

if TYPE_CHECKING:
    from python_tests.ops.samples import Corrupt, Samples


def edge_dropout(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    like = inputs(index, dtype, device).csr.indptr
    return [(like, 605, 0.25, 7, -3), (like, 0, 1.0, 0, 0)]


def edge_dropout_pairs(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    csr = inputs(index, dtype, device).csr
    return [(csr.indptr, csr.indices, csr.cols, 0.5, 7, 2)]


SAMPLES: dict[str, Samples] = {"edge_dropout": edge_dropout, "edge_dropout_pairs": edge_dropout_pairs}
CORRUPT: dict[str, Corrupt] = {
    "edge_dropout_pairs": lambda p, i, _, x: torch.ops.gnas_ext.edge_dropout_pairs(p, i, len(x), 0.5, 0, 0)
}
