from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from python_tests.ops.samples._inputs import inputs

if TYPE_CHECKING:
    from python_tests.ops.samples import Corrupt, Samples


def transpose(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    csr = inputs(index, dtype, device).csr
    return [(csr.indptr, csr.indices, csr.cols)]


def coo_to_csr(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    csr = inputs(index, dtype, device).csr
    return [(csr.indices, csr.row_index(), csr.cols, csr.rows)]


SAMPLES: dict[str, Samples] = {"transpose": transpose, "coo_to_csr": coo_to_csr}
CORRUPT: dict[str, Corrupt] = {"transpose": lambda p, i, _, x: torch.ops.gnas_ext.transpose(p, i, len(x))}
