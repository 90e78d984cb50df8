"""The graph and the features that samples are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from python_tests import graphs
from python_tests.ops.oracle import with_index

if TYPE_CHECKING:
    from gnas_ext import CSR
    from gnas_ext.graph.csr import Structure

SAMPLES: dict[str, Any] = {}
NOTHING = (None, None, None)


class Inputs(NamedTuple):
    """All that needs a gradient where the op has one; `detach()` what is not to have it."""

    csr: CSR
    graph: tuple[torch.Tensor, torch.Tensor]  # indptr and indices
    t: Structure
    edge: torch.Tensor  # a permutation of the entries
    weight: torch.Tensor  # [nnz]
    a: torch.Tensor  # [rows, 6]
    x: torch.Tensor  # [cols, 6]


def inputs(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> Inputs:
    """The same numbers at every call."""
    csr = with_index(graphs.make("random"), index).to(device)

    def numbers(first: float, last: float, *shape: int) -> torch.Tensor:
        flat = torch.linspace(first, last, torch.Size(shape).numel(), device=device)
        return flat.reshape(shape).to(dtype).requires_grad_()

    return Inputs(
        csr=csr,
        graph=(csr.indptr, csr.indices),
        t=csr.transposed_structure(),
        edge=torch.arange(csr.nnz - 1, -1, -1, dtype=index, device=device),
        weight=numbers(-1, 1, csr.nnz),
        a=numbers(1, -3, csr.rows, 6),
        x=numbers(-2, 3, csr.cols, 6),
    )
