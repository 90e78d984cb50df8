"""How much does a neighbour count in a GCN? Weights over the roots of the two degrees (Kipf and Welling, 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gnas_ext.nn._edges import edges_of
from gnas_ext.nn._memory import memory_of
from gnas_ext.ops._keep import to_keep
from gnas_ext.ops.sddmm import sddmm
from gnas_ext.ops.spmm import spmm

if TYPE_CHECKING:
    from torch import Tensor

    from gnas_ext.graph.csr import CSR
    from gnas_ext.nn._edges import Edges


def gcn_norm(csr: CSR, improved: bool = False, add_self_loops: bool = True) -> CSR:
    """What `GCNConv` makes of a graph, to be done once: w[i, j] / sqrt(degree(i) * degree(j)).

    Pass the result to `GCNConv(..., normalize=False)` or `LGConv(normalize=False)`; so a compiled model has nothing
    left to prepare.

    Args:
        csr: [nodes, nodes], row i being what arrives at node i; weights or none (all ones).
        improved: added loops weigh 2 rather than 1, where the graph has weights (as in PyG).
        add_self_loops: each node without an edge to itself gets one.

    Returns:
        [nodes, nodes] with weights in csr's dtype, float32 where it has none. degree(i) is the sum of the weights of
        row i, and nodes of degree zero weigh nothing. Gradients flow to csr's weights.

    Raises:
        ValueError: csr is not square.
    """
    if csr.rows != csr.cols:
        raise ValueError(f"gcn_norm: expected a CSR of shape [nodes, nodes], got {list(csr.shape)}")
    edges = edges_of("gcn_norm", csr, csr.rows, csr.cols, loops=add_self_loops)
    weight = csr.weight
    return normalized(edges, weight, 2.0 if improved else 1.0, torch.float32 if weight is None else weight.dtype)


def normalized(edges: Edges, weight: Tensor | None, fill: float, dtype: torch.dtype) -> CSR:
    """The same for the edges of a layer: their weights, [edges] in the caller's order, or none; `fill` for added loops.

    Without weights the answer is the graph's, whatever `fill` is, and is noted.
    """
    if weight is not None:
        return edges.csr.with_weight(_scaled(edges, weight, fill, dtype))
    known = memory_of(edges.csr.indices, edges.csr.indptr)
    key = ("gcn", dtype)
    if key not in known:
        with torch.no_grad():
            known[key], _ = to_keep(lambda: _scaled(edges, None, fill, dtype))
    return edges.csr.with_weight(known[key])


def _scaled(edges: Edges, weight: Tensor | None, fill: float, dtype: torch.dtype) -> Tensor:
    csr = edges.csr
    # In bfloat16 a degree of 4,001 is 4,000, and PyG's sum of ones stops at 256: not here, and not under autocast.
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    with torch.autocast(csr.device.type, enabled=False):
        return _over_degrees(edges, weight, fill, wide).to(dtype)


def _over_degrees(edges: Edges, weight: Tensor | None, fill: float, wide: torch.dtype) -> Tensor:
    csr = edges.csr
    if weight is not None:
        loops = None
        weight = weight.to(wide)
        if edges.own is not None:
            loops = torch.cat([weight, weight.new_full((1,), fill)]).index_select(0, edges.own)
        weight = edges.in_order(weight, loops)
        csr = csr.with_weight(weight)
    degree = spmm(csr, torch.ones(csr.cols, 1, dtype=wide, device=csr.device))
    scale = degree.pow(-0.5)
    scale = scale.masked_fill(scale == torch.inf, 0)
    both = sddmm(csr, scale, scale)  # an edge's two degrees, and a gradient that is spmm
    return both if weight is None else weight * both
