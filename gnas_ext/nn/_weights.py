"""Where do the weights of a layer's edges come from?"""

from __future__ import annotations

import torch

from gnas_ext.graph.csr import CSR


def weights_of(layer: str, graph: torch.Tensor | CSR, edge_weight: torch.Tensor | None) -> torch.Tensor | None:
    """One weight an edge, [edges], in the order of edge_index or of the CSR's entries; None for all ones."""
    if isinstance(graph, CSR):
        if edge_weight is not None:
            raise ValueError(f"{layer}: a CSR has its own weights: pass csr.with_weight(edge_weight) alone")
        return graph.weight
    if edge_weight is None or not isinstance(graph, torch.Tensor):
        return edge_weight
    if edge_weight.dim() != 1 or len(edge_weight) != graph.shape[-1]:
        raise ValueError(
            f"{layer}: expected edge_weight of shape [{graph.shape[-1]}], one an edge, got {list(edge_weight.shape)}"
        )
    return edge_weight
