from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from gnas_ext import CSR
from python_tests.ops.samples._inputs import inputs

if TYPE_CHECKING:
    from python_tests.ops.samples import Corrupt, Samples

native = torch.ops.gnas_ext.communities


def communities(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    csr = inputs(index, dtype, device).csr
    square = CSR(csr.indptr, csr.indices, None, (csr.rows, csr.rows))
    return [(square.indptr, square.indices, 10, 3)]


def corrupt(indptr: torch.Tensor, indices: torch.Tensor, _: object, x: torch.Tensor) -> Any:
    """As many rows as columns: empty ones come after."""
    if indptr.dim() == 1 and 0 < len(indptr) <= len(x):
        indptr = torch.cat([indptr, indptr[-1:].expand(len(x) + 1 - len(indptr))])
    return native(indptr, indices, 10, 3)


SAMPLES: dict[str, Samples] = {"communities": communities}
CORRUPT: dict[str, Corrupt] = {"communities": corrupt}
