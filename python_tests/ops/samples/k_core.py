from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from python_tests.ops.samples._inputs import inputs

if TYPE_CHECKING:
    from python_tests.ops.samples import Corrupt, Samples


def k_core(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    _, graph, t, *_ = inputs(index, dtype, device)
    return [(*graph, t.indptr, t.indices, 7, 8)]


def corrupt(indptr: torch.Tensor, indices: torch.Tensor, _: object, x: torch.Tensor) -> Any:
    """Beside a transpose that is right."""
    t_indptr = torch.tensor([0, 5, *[5] * (len(x) - 1)], dtype=indptr.dtype)
    return torch.ops.gnas_ext.k_core(indptr, indices, t_indptr, torch.zeros(5, dtype=indptr.dtype), 1, 1)


SAMPLES: dict[str, Samples] = {"k_core": k_core}
CORRUPT: dict[str, Corrupt] = {"k_core": corrupt}
