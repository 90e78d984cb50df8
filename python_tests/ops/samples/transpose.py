from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from python_tests.ops.samples._inputs import inputs

if TYPE_CHECKING:
    from python_tests.ops.samples import Corrupt, Samples


def transpose(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    csr = inputs(index, dtype, device).csr
    return [(csr.indptr, csr.indices, csr.cols)]


SAMPLES: dict[str, Samples] = {"transpose": transpose}
CORRUPT: dict[str, Corrupt] = {"transpose": lambda p, i, _, x: torch.ops.gnas_ext.transpose(p, i, len(x))}
