"""GraphSAGE (Hamilton et al., 2017): a node's own features, and the mean of its neighbours', each through a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from gnas_ext.nn._aggregate import aggregate, reduce_of
from gnas_ext.nn._edges import edges_of
from gnas_ext.nn._linear import linear
from gnas_ext.nn._pair import pair_of

if TYPE_CHECKING:
    from gnas_ext.graph.csr import CSR
    from gnas_ext.nn._edges import Flow


class SAGEConv(nn.Module):
    """PyG's `SAGEConv`: out[i] = W_l (mean over e = (j, i) of x[j]) + b + W_r x[i].

    Args:
        in_channels: width of x, or a pair for sources and targets; -1 to take that of the first input.
        out_channels: width of the output.
        aggr: "mean", "add" (or "sum"), "max" or "min" over neighbours.
        normalize: each row of the output is divided by its length.
        root_weight: whether a node's own features count, W_r.
        project: x[j] passes relu(W x[j] + b) first.
        bias: whether there is b.
        flow: "source_to_target": edge_index[0] sends to edge_index[1]; or "target_to_source".

    Parameters are named as PyG's: `lin_l.weight`, `lin_l.bias`, `lin_r.weight`, and `lin.weight` and `lin.bias` of the
    projection.
    """

    def __init__(
        self,
        in_channels: int | tuple[int, int],
        out_channels: int,
        aggr: str = "mean",
        normalize: bool = False,
        root_weight: bool = True,
        project: bool = False,
        bias: bool = True,
        *,
        flow: Flow = "source_to_target",
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.aggr = aggr
        self.normalize = normalize
        self.root_weight = root_weight
        self.project = project
        self.flow: Flow = flow
        self._reduce = reduce_of("SAGEConv", aggr)
        sources, targets = (in_channels, in_channels) if isinstance(in_channels, int) else in_channels
        if project:
            if sources <= 0:
                raise ValueError("SAGEConv: project=True needs in_channels that are known, as in PyG")
            self.lin = linear(sources, sources)
        self.lin_l = linear(sources, out_channels, bias)
        if root_weight:
            self.lin_r = linear(targets, out_channels, bias=False)
        self._narrows = self._reduce in ("sum", "mean") and sources > out_channels

    def reset_parameters(self) -> None:
        """Draws the weights anew."""
        for layer in self.children():
            layer.reset_parameters()  # type: ignore[operator]

    def forward(
        self,
        x: Tensor | tuple[Tensor, Tensor | None],
        edge_index: Tensor | CSR,
        size: tuple[int, int] | None = None,
    ) -> Tensor:
        """One layer.

        Args:
            x: [..., nodes, in_channels]; or a pair for sources and targets, where None stands for targets without
                features.
            edge_index: [2, edges], int32 or int64; or a CSR of shape [targets, sources]. Its weights are not used, as
                in PyG.
            size: (sources, targets), where x does not say it.

        Returns:
            [..., targets, out_channels].

        Raises:
            ValueError, TypeError: a shape, a dtype or a node that does not fit.
        """
        nodes = pair_of("SAGEConv", x, size, self.flow)
        source = self.lin(nodes.source).relu() if self.project else nodes.source
        graph = edges_of("SAGEConv", edge_index, nodes.targets, nodes.sources, flow=self.flow).csr
        # Fewer numbers move along edges if the layer comes first; not for more sources than targets.
        if self._narrows and nodes.sources <= nodes.targets:
            out = aggregate(graph, functional.linear(source, self.lin_l.weight), self._reduce)
            out = out if self.lin_l.bias is None else out + self.lin_l.bias
        else:
            out = self.lin_l(aggregate(graph, source, self._reduce))
        if self.root_weight and nodes.target is not None:
            out = out + self.lin_r(nodes.target)
        return functional.normalize(out, p=2.0, dim=-1) if self.normalize else out

    def __repr__(self) -> str:
        return f"SAGEConv({self.in_channels}, {self.out_channels}, aggr={self.aggr})"
