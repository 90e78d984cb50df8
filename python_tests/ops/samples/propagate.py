from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from python_tests import graphs
from python_tests.ops.oracle import with_index
from python_tests.ops.samples._inputs import NOTHING

if TYPE_CHECKING:
    from python_tests.ops.samples import Corrupt, Samples


def hop_weight(x: torch.Tensor) -> torch.Tensor:
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    return torch.tensor([0.5, -1.0, 0.25], dtype=wide, device=x.device)


def propagate(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    csr = with_index(graphs.make("square"), index).to(device)
    graph, t = (csr.indptr, csr.indices), csr.transposed_structure()
    weight = torch.linspace(-1, 1, csr.nnz, device=device).to(dtype).requires_grad_()
    x = torch.linspace(-2, 3, csr.cols * 6, device=device).reshape(-1, 6).to(dtype).requires_grad_()
    heads = torch.stack([weight, -weight], 1)
    return [
        (*graph, None, None, x, hop_weight(x), *t),
        (*graph, None, weight, x, hop_weight(x).requires_grad_(), *t),
        (*graph, None, heads, x, hop_weight(x), *NOTHING),
        (*t, weight.detach(), x.detach(), hop_weight(x), *NOTHING),
    ]


SAMPLES: dict[str, Samples] = {"propagate": propagate}
CORRUPT: dict[str, Corrupt] = {}
