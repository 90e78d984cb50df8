"""In which order should nodes stand in memory? Those that are read together, or often, side by side.

spmm waits for rows of x. Where x is larger than the caches and the nodes stand in no order, each edge reads from
another page of memory. `CSR.reordered` finds an order once and keeps it; x is brought into it on the way in and the
result out of it on the way out:

    order = graph.reordered("degree")
    x = order.enter(x)
    for _ in range(hops):
        x = spmm(order.csr, x)
    x = order.leave(x)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import torch

from gnas_ext.graph.csr import CSR, Kept, Structure
from gnas_ext.graph.sample import weight_of
from gnas_ext.ops.communities import communities
from gnas_ext.ops.sample_neighbors import sample_neighbors as draw

if TYPE_CHECKING:
    from torch import Tensor

By = Literal["degree", "community"]

# Rows of 64 float32 of so many nodes fit a level-2 cache of 1 MiB.
_COMMUNITY = 4096


class Order(NamedTuple):
    """An order of rows and columns, and the graph in it; what a CSR keeps.

    Attributes:
        structure: the entries in the new order; `edge` says where each stood among the graph's.
        rows: [rows], which row of the graph stands at each place.
        cols: [cols], which column does.
        row_place: [rows], where each row of the graph stands.
        kept: what the reordered graph keeps, such as its transpose.
    """

    structure: Structure
    rows: Tensor
    cols: Tensor
    row_place: Tensor
    kept: dict[str, Kept]

    def to(self, device: torch.device | str | None) -> Order:
        """The same elsewhere; what the reordered graph keeps is computed anew."""
        structure = Structure(*(None if part is None else part.to(device) for part in self.structure))  # type: ignore[arg-type]
        return Order(structure, self.rows.to(device), self.cols.to(device), self.row_place.to(device), {})


class Reordered:
    """A graph whose nodes stand in another order, and the way in and out of it."""

    def __init__(self, csr: CSR, order: Order) -> None:
        self.csr = csr
        self.order = order

    def enter(self, x: Tensor) -> Tensor:
        """From the columns' order to the new one, [cols, …]."""
        return x.index_select(0, self.order.cols)

    def leave(self, out: Tensor) -> Tensor:
        """From the new order back to the rows' own, [rows, …]."""
        return out.index_select(0, self.order.row_place)


def reordered(csr: CSR, by: By) -> Reordered:
    """See CSR.reordered."""
    if by not in get_args(By):
        raise ValueError(f"CSR.reordered: expected by in {', '.join(get_args(By))}, got {by!r}")
    order = csr._kept.get(by)
    if not isinstance(order, Order):
        with torch.inference_mode(False):
            order = _find(csr, by)
        csr._kept[by] = order
    entries = order.structure
    assert entries.edge is not None
    structure = Structure(entries.indptr, entries.indices, None)
    return Reordered(CSR._unchecked(structure, weight_of(csr, entries.edge), csr.shape, order.kept), order)


def _find(csr: CSR, by: By) -> Order:
    t = csr.transposed_structure()
    row_degree, col_degree = csr.degree(), t.indptr[1:] - t.indptr[:-1]
    square = csr.rows == csr.cols
    if square:  # one order for both, so that what one hop gives is what the next takes
        row_degree = col_degree = row_degree + col_degree
    rows, cols = (torch.argsort(degree, descending=True, stable=True) for degree in (row_degree, col_degree))
    if by == "community":
        row_label, col_label = _labels(csr, t)
        # Communities side by side, the nodes of each by degree.
        rows = rows[torch.argsort(row_label[rows], stable=True)]
        cols = rows if square else cols[torch.argsort(col_label[cols], stable=True)]
    rows, cols = rows.to(csr.indptr.dtype), cols.to(csr.indptr.dtype)
    row_place, col_place = _inverse(rows), _inverse(cols)
    indptr, indices, edge = draw(csr.indptr, csr.indices, rows, -1)
    return Order(Structure(indptr, col_place.index_select(0, indices), edge), rows, cols, row_place, {})


def _labels(csr: CSR, t: Structure) -> tuple[Tensor, Tensor]:
    """The community of each row and of each column."""
    if csr.rows == csr.cols:
        label = communities(csr.indptr, csr.indices, _COMMUNITY)
        return label, label
    # Rows and columns as nodes of one graph.
    indptr = torch.cat([csr.indptr.long(), csr.nnz + t.indptr[1:].long()])
    label = communities(indptr, torch.cat([csr.indices.long() + csr.rows, t.indices.long()]), _COMMUNITY)
    return label[: csr.rows], label[csr.rows :]


def _inverse(order: Tensor) -> Tensor:
    place = torch.empty_like(order)
    place[order.long()] = torch.arange(len(order), dtype=order.dtype, device=order.device)
    return place
