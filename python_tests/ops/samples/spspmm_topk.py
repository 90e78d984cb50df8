from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from python_tests.ops.samples._inputs import inputs

if TYPE_CHECKING:
    from python_tests.ops.samples import Corrupt, Samples

native = torch.ops.gnas_ext.spspmm_topk


def spspmm_topk(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    csr, graph, t, _, weight, *_ = inputs(index, dtype, device)
    wide = weight.detach().to(dtype if dtype == torch.float64 else torch.float32)
    t_graph = (t.indptr, t.indices)
    return [
        (*graph, wide, *t_graph, wide.flip(0), csr.rows, 5, True),
        (*graph, None, *t_graph, None, csr.rows, 3, False),
        (*t_graph, None, *graph, wide, csr.cols, 200, False),
    ]


def corrupt(indptr: torch.Tensor, indices: torch.Tensor, _: object, x: torch.Tensor) -> Any:
    """The graph that is not one as either factor."""
    eye = (torch.arange(len(x) + 1, dtype=indptr.dtype), torch.arange(len(x), dtype=indptr.dtype))
    refused = []
    for factors in ((indptr, indices, None, *eye, None), (*eye, None, indptr, indices, None)):
        try:
            native(*factors, len(x), 2, False)
        except RuntimeError as error:
            refused.append(error)
    if refused:
        raise refused[0]


SAMPLES: dict[str, Samples] = {"spspmm_topk": spspmm_topk}
CORRUPT: dict[str, Corrupt] = {"spspmm_topk": corrupt}
