"""Where does training begin? At the leading singular vectors of the graph, which are what a low-pass filter keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gnas_ext.models.lowpass import low_pass
from gnas_ext.ops.spmm import spmm

if TYPE_CHECKING:
    from torch import Tensor

    from gnas_ext.graph.csr import CSR

# Of an embedding's numbers, as where they are drawn.
_SPREAD = 0.1
# Of the largest eigenvalue: what is below it is rounding.
_NOTHING = 1e-6


def spectral_start(graph: CSR, dim: int, generator: torch.Generator | None = None) -> Tensor:
    """First embeddings of users and items, users first, [n_users + n_items, dim], float32.

    With the graph B = U S V^T they are U S^(1/2) and V S^(1/2), all scaled alike, so that their products are near B's.

    Args:
        graph: B, [n_users, n_items], float32 weights.
        dim: floats a node; where B has fewer singular values above zero the rest is drawn, as are nodes without edges.
        generator: draws.
    """
    seed = int(torch.randint(1 << 31, (1,), generator=generator))
    low = low_pass(graph, dim, tolerance=1e-2, seed=seed)
    there = low.values > _NOTHING * low.values[:1]
    root, vectors = low.values[there] ** 0.25, low.vectors[:, there]
    found = torch.cat([spmm(graph, vectors) / root, vectors * root])
    drawn = torch.randn(len(found), dim - found.shape[1], generator=generator)
    spread = float(found.std()) if found.numel() > 1 else 0.0
    found = torch.cat([found * (_SPREAD / spread if spread > 0 else 1.0), drawn * _SPREAD], 1)
    # Else they are zero, where a cosine has no direction.
    idle = torch.cat([graph.degree(), graph.t().degree()]) == 0
    found[idle] = torch.randn(int(idle.sum()), dim, generator=generator) * _SPREAD
    return found
