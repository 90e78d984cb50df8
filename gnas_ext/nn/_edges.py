"""Which rows and columns does an edge_index mean? Sorted once, and kept as long as that tensor lives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch

from gnas_ext.graph.csr import CSR, Structure
from gnas_ext.nn._memory import memory_of
from gnas_ext.ops._keep import to_keep
from gnas_ext.ops.transpose import transpose

if TYPE_CHECKING:
    from torch import Tensor

Flow = Literal["source_to_target", "target_to_source"]

_INDEX_TYPES = (torch.int32, torch.int64)


@dataclass(frozen=True)
class Edges:
    """Who sends to whom in a layer.

    Attributes:
        csr: [targets, sources], without weights.
        given: number of edges that the caller gave.
        entry: [nnz], which edge each entry is; given + i is the loop that was added at node i. None where the entries
            are the caller's edges in their order.
        own: [nodes], the last loop that the caller had at each node, `given` where there was none; None where no loops
            were added. Loops of the caller are replaced by the added ones, as PyG does.
    """

    csr: CSR
    given: int
    entry: Tensor | None = None
    own: Tensor | None = None

    def in_order(self, values: Tensor, loops: Tensor | None = None) -> Tensor:
        """Values of the caller's edges, [given, ...], and of the added loops, [nodes, ...], as those of the entries."""
        if loops is not None:
            values = torch.cat([values, loops])
        return values if self.entry is None else values.index_select(0, self.entry)

    def arriving(self) -> CSR:
        """[targets, given]: the caller's edges that reach each target, but no loops where some were added."""
        entry = torch.arange(self.given, device=self.csr.device) if self.entry is None else self.entry
        counted = entry < self.given
        before = torch.cat([counted.new_zeros(1), counted]).cumsum(0)
        indptr = before[self.csr.indptr.long()]
        return CSR._unchecked(Structure(indptr, entry[counted], None), None, (self.csr.rows, self.given), {})

    def listed(self, edge_index: Tensor) -> tuple[Tensor, Tensor]:
        """The edge_index that PyG would go on with, [2, nnz], and where each entry stands in it, [nnz]."""
        assert self.entry is not None
        if self.own is None:
            return edge_index, self.entry
        other = edge_index[0] != edge_index[1]
        node = torch.arange(len(self.own), device=edge_index.device)
        loop = node.to(edge_index.dtype).expand(2, -1)
        edges = torch.cat([edge_index[:, other], loop], 1)
        place = torch.cat([other.cumsum(0) - 1, other.sum() + node])
        return edges, place[self.entry]


def edges_of(
    layer: str, graph: Tensor | CSR, targets: int, sources: int, loops: bool = False, flow: Flow = "source_to_target"
) -> Edges:
    """The edges that a layer sends along.

    Args:
        layer: its name, for messages.
        graph: edge_index of shape [2, edges], int32 or int64; or a CSR of shape [targets, sources].
        targets: number of nodes that receive.
        sources: number of nodes that send.
        loops: whether each of the first min(targets, sources) nodes gets an edge to itself, in place of those it has.
        flow: whether edge_index[0] sends to edge_index[1], or the other way round.

    Raises:
        ValueError: a shape, or a node that does not exist.
        TypeError: neither an edge_index nor a CSR, or of another dtype.
    """
    if isinstance(graph, CSR):
        if graph.shape != (targets, sources):
            raise ValueError(
                f"{layer}: expected a CSR of shape [{targets}, {sources}], one row a target and one column a source, "
                f"got {list(graph.shape)}"
            )
        if flow != "source_to_target":
            raise ValueError(f"{layer}: a CSR's rows receive; for {flow} pass csr.t()")
        if not loops:
            return Edges(graph if graph.stored_weight is None else graph.with_weight(None), graph.nnz)
        known = memory_of(graph.indices, graph.indptr)
        key: Any = ("loops", targets, sources)
        if key not in known:
            known[key] = _sorted(graph.row_index(), graph.indices, targets, sources, loops)
        return known[key]  # type: ignore[no-any-return]
    _check(layer, graph, flow)
    known = memory_of(graph)
    key = (targets, sources, loops, flow)
    if key not in known:
        col, row = graph if flow == "source_to_target" else graph.flip(0)
        _check_nodes(layer, graph, (sources, targets) if flow == "source_to_target" else (targets, sources))
        known[key] = _sorted(row, col, targets, sources, loops)
    return known[key]  # type: ignore[no-any-return]


def _check(layer: str, graph: Any, flow: str) -> None:
    if flow not in get_args(Flow):
        raise ValueError(f"{layer}: expected flow in {', '.join(get_args(Flow))}, got {flow!r}")
    if not isinstance(graph, torch.Tensor):
        raise TypeError(f"{layer}: expected edge_index, a tensor of shape [2, edges], or a CSR, got {type(graph)}")
    if graph.layout != torch.strided:
        raise TypeError(f"{layer}: expected edge_index or a CSR, got a sparse tensor: pass CSR.from_torch(adj_t)")
    if graph.dtype not in _INDEX_TYPES:
        raise TypeError(f"{layer}: expected edge_index of int32 or int64, got {graph.dtype}")
    if graph.dim() != 2 or graph.shape[0] != 2:
        raise ValueError(f"{layer}: expected edge_index of shape [2, edges], got {list(graph.shape)}")


def _check_nodes(layer: str, edge_index: Tensor, sizes: tuple[int, int]) -> None:
    for end, size in enumerate(sizes):
        node = edge_index[end]
        if len(node) and not 0 <= int(node.min()) <= int(node.max()) < size:
            edge = int(((node < 0) | (node >= size)).nonzero()[0])
            raise ValueError(f"{layer}: edge_index[{end}, {edge}] is {int(node[edge])}, but there are {size} nodes")


def _sorted(row: Tensor, col: Tensor, targets: int, sources: int, loops: bool) -> Edges:
    with torch.no_grad():
        return to_keep(lambda: _sort(row, col, targets, sources, loops))[0]


def _sort(row: Tensor, col: Tensor, targets: int, sources: int, loops: bool) -> Edges:
    given, nodes = len(row), min(targets, sources)
    # Half the bytes of the graph, wherever they can count it.
    narrow = max(given + nodes, targets, sources) < 2**31
    row, col = (part.to(torch.int32 if narrow else torch.int64) for part in (row, col))
    kept = own = None
    if loops:
        at = (row == col).nonzero().squeeze(1)
        # A bipartite graph may have loops at nodes that get none.
        at = at[row[at] < nodes]
        own = torch.full((nodes,), -1, device=row.device).scatter_reduce(0, row[at].long(), at, "amax")
        own = torch.where(own < 0, given, own)
        kept = (row != col).nonzero().squeeze(1)
        node = torch.arange(nodes, device=row.device)
        row, col = (torch.cat([part[kept], node.to(part.dtype)]) for part in (row, col))
        kept = torch.cat([kept, given + node])
    # One long row whose columns are the targets: its transpose is the list, sorted stably by target.
    ends = torch.tensor([0, len(row)], dtype=row.dtype, device=row.device)
    indptr, _, order = transpose(ends, row, targets)
    order = order.long()
    csr = CSR._unchecked(Structure(indptr, col[order], None), None, (targets, sources), {})
    return Edges(csr, given, order if kept is None else kept[order], own)
