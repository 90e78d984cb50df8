from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from python_tests.ops.samples._inputs import inputs

if TYPE_CHECKING:
    from python_tests.ops.samples import Corrupt, Samples

native = torch.ops.gnas_ext.topk_scores


def topk_scores(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    csr, graph, _, _, _, a, x = inputs(index, dtype, device)
    users, items = a.detach(), x.detach()
    allow = torch.arange(0, csr.cols, 3, device=device)
    scale, other = torch.rand(csr.rows, device=device), torch.rand(csr.cols, device=device)
    codes, more = (users * 40).clamp(-127, 127).to(torch.int8), (items * 40).to(torch.int8)
    return [
        (users, None, items, None, *graph, None, 5, 0),
        (users, None, items, None, None, None, allow, 100, 7),
        (users, None, items, None, *graph, allow, 4, 0, _bias(users, items)),
        (codes, scale, more, other, *graph, allow, 3, 0),
    ]


def _bias(users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """As a product of items by users leaves it: a user's numbers are apart."""
    dtype = torch.float64 if users.dtype == torch.float64 else torch.float32
    return torch.rand(len(items), len(users), dtype=dtype, device=users.device).T


def corrupt(indptr: torch.Tensor, indices: torch.Tensor, _: object, x: torch.Tensor) -> Any:
    """The graph that is not one as what is left out."""
    return native(x.new_ones(max(len(indptr) - 1, 0), x.shape[1]), None, x, None, indptr, indices, None, 2, 0)


SAMPLES: dict[str, Samples] = {"topk_scores": topk_scores}
CORRUPT: dict[str, Corrupt] = {"topk_scores": corrupt}
