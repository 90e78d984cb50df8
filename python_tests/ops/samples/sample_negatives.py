from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from python_tests.ops.samples._inputs import inputs

if TYPE_CHECKING:
    from python_tests.ops.samples import Samples


def sample_negatives(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    csr = inputs(index, dtype, device).csr
    users = torch.tensor([3, 3, 0], dtype=index, device=device)
    cumulative = torch.arange(csr.cols, device=device).cumsum(0)
    return [
        (users, csr.indptr, csr.indices, cumulative, csr.cols, 5, 7, 0),
        (users, csr.indptr, csr.indices, None, csr.cols, 1, -7, 2),
        (users, None, None, None, 9, 2, 0, 0),
    ]


SAMPLES: dict[str, Samples] = {"sample_negatives": sample_negatives}
