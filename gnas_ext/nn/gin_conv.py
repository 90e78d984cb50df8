"""GIN (Xu et al., 2019): a network of your own over a node's features plus the sum of its neighbours'."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gnas_ext.nn._aggregate import aggregate, reduce_of
from gnas_ext.nn._edges import edges_of
from gnas_ext.nn._pair import pair_of

if TYPE_CHECKING:
    from gnas_ext.graph.csr import CSR
    from gnas_ext.nn._edges import Flow


class GINConv(nn.Module):
    """PyG's `GINConv`: out[i] = nn((1 + eps) x[i] + sum over e = (j, i) of x[j]).

    Args:
        nn: any module or callable of [..., in_channels].
        eps: how much more a node itself counts, to begin with.
        train_eps: whether eps is learned.
        aggr: "add" (or "sum"), "mean", "max" or "min" over neighbours.
        flow: "source_to_target": edge_index[0] sends to edge_index[1]; or "target_to_source".

    Parameters are named as PyG's: `nn.*`, and `eps` [1], a buffer unless it is learned.
    """

    eps: Tensor

    def __init__(
        self,
        nn: nn.Module,
        eps: float = 0.0,
        train_eps: bool = False,
        *,
        aggr: str = "add",
        flow: Flow = "source_to_target",
    ) -> None:
        super().__init__()
        self.nn = nn
        self.initial_eps = eps
        self.aggr = aggr
        self.flow: Flow = flow
        self._reduce = reduce_of("GINConv", aggr)
        start = torch.full((1,), float(eps))
        if train_eps:
            self.eps = torch.nn.Parameter(start)
        else:
            self.register_buffer("eps", start)

    def reset_parameters(self) -> None:
        """Draws the network's weights anew and sets eps to what it was."""
        _reset(self.nn)
        with torch.no_grad():
            self.eps.fill_(self.initial_eps)

    def forward(
        self,
        x: Tensor | tuple[Tensor, Tensor | None],
        edge_index: Tensor | CSR,
        size: tuple[int, int] | None = None,
    ) -> Tensor:
        """One layer.

        Args:
            x: [..., nodes, in_channels]; or a pair for sources and targets of one width, where None stands for targets
                without features.
            edge_index: [2, edges], int32 or int64; or a CSR of shape [targets, sources]. Its weights are not used, as
                in PyG.
            size: (sources, targets), where x does not say it.

        Returns:
            [..., targets, what nn returns].

        Raises:
            ValueError, TypeError: a shape, a dtype or a node that does not fit.
        """
        nodes = pair_of("GINConv", x, size, self.flow)
        graph = edges_of("GINConv", edge_index, nodes.targets, nodes.sources, flow=self.flow).csr
        out = aggregate(graph, nodes.source, self._reduce)
        if nodes.target is not None:
            out = out + (1 + self.eps) * nodes.target
        result: Tensor = self.nn(out)
        return result

    def __repr__(self) -> str:
        return f"GINConv(nn={self.nn})"


def _reset(module: object) -> None:
    """Draws anew whatever can be: the module itself, or else its parts."""
    if hasattr(module, "reset_parameters"):
        module.reset_parameters()
    elif isinstance(module, torch.nn.Module):
        for part in module.children():
            _reset(part)
