"""Which part of a graph is left: one entry a place, the nodes that were named, or those that are well connected?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import torch

from gnas_ext.graph.csr import CSR, Structure, ascending
from gnas_ext.graph.sample import weight_of
from gnas_ext.ops import k_core as peel
from gnas_ext.ops import sample_neighbors as draw
from gnas_ext.ops import transpose
from gnas_ext.ops.spmm import spmm

if TYPE_CHECKING:
    from torch import Tensor

Merge = Literal["sum", "mean", "max", "min"]


class Subgraph(NamedTuple):
    """A part of a graph, its nodes counted anew.

    Attributes:
        csr: with the weights of the entries that are left; gradients flow to the graph's.
        edge: [csr.nnz], where each entry stands among the graph's.
    """

    csr: CSR
    edge: Tensor


class Core(NamedTuple):
    """The part of a graph in which everything has k entries or more.

    Attributes:
        csr: [len(rows), len(cols)], with the weights of the entries that are left.
        rows: which rows of the graph stayed, ascending, the index dtype.
        cols: which columns.
        edge: [csr.nnz], where each entry stands among the graph's.
    """

    csr: CSR
    rows: Tensor
    cols: Tensor
    edge: Tensor


def coalesce(csr: CSR, reduce: Merge = "sum") -> CSR:
    """One entry a place, columns ascending within a row.

    Args:
        csr: any graph.
        reduce: what entries at one place become; with "sum" they count as in every op.

    Returns:
        The same matrix ("sum"). Without weights it has none either, unless "sum" met a repeated entry: then how often
        each is there, float32. A graph that is as it should be is returned itself.

    Raises:
        ValueError: reduce is unknown.

    Gradients of any order flow to the weights. Repeats exactly, whatever the number of threads.
    """
    if reduce not in get_args(Merge):
        raise ValueError(f"coalesce: expected reduce in {', '.join(get_args(Merge))}, got {reduce!r}")
    if csr.ascends():
        return csr
    # Sorting by column and then, stably, by row.
    by_col = csr.transposed_structure()
    indptr, indices, order = transpose(by_col.indptr, by_col.indices, csr.rows)
    place = order if by_col.edge is None else by_col.edge.index_select(0, order)  # among the stored weights
    weight = csr.stored_weight
    first = ascending(indptr, indices)
    if bool(first.all()):
        merged = None if weight is None else weight.index_select(0, place)
        return CSR._unchecked(Structure(indptr, indices, None), merged, csr.shape, {})
    kept = first.nonzero().squeeze(1).to(indptr.dtype)
    ends = torch.cat([kept, kept.new_full((1,), csr.nnz)])
    if weight is not None:
        # Each entry of the result gathers those at its place: spmm over a graph of results and stored weights.
        places = CSR._unchecked(Structure(ends, place, None), None, (len(kept), csr.nnz), {})
        weight = spmm(places, weight.reshape(csr.nnz, -1), reduce).reshape(len(kept), *weight.shape[1:])
    elif reduce == "sum":
        weight = (ends[1:] - ends[:-1]).float()
    before = torch.cat([first.new_zeros(1, dtype=indptr.dtype), first.cumsum(0, dtype=indptr.dtype)])
    structure = Structure(before[indptr.long()], indices[kept.long()], None)
    return CSR._unchecked(structure, weight, csr.shape, {})


def induced_subgraph(csr: CSR, rows: Tensor, cols: Tensor | None = None) -> Subgraph:
    """The entries between the named nodes.

    Args:
        csr: graph of shape [rows, cols].
        rows: [r], int32 or int64: row i of the result is this row of the graph.
        cols: [c], the columns, each once; by default the rows, for a graph of shape [n, n].

    Returns:
        Shape [r, c]; entries keep their order.

    Raises:
        ValueError: cols is missing and the graph is not square, or a column is out of range or comes twice.
        RuntimeError: a row is out of range.
    """
    if cols is None:
        if csr.rows != csr.cols:
            raise ValueError(f"induced_subgraph: a graph of shape {list(csr.shape)} needs cols as well")
        cols = rows
    rows, cols = rows.to(csr.indptr.dtype), cols.to(csr.indptr.dtype)
    if len(cols) and not 0 <= int(cols.min()) <= int(cols.max()) < csr.cols:
        wrong = int(((cols < 0) | (cols >= csr.cols)).nonzero()[0])
        raise ValueError(f"induced_subgraph: cols[{wrong}] is {int(cols[wrong])}, but the graph has {csr.cols} columns")
    place = torch.full((csr.cols,), -1, dtype=cols.dtype, device=csr.device)
    place[cols.long()] = torch.arange(len(cols), dtype=cols.dtype, device=csr.device)
    if int((place >= 0).sum()) != len(cols):
        raise ValueError("induced_subgraph: expected each column once: pass torch.unique(cols)")
    indptr, indices, edge = draw(csr.indptr, csr.indices, rows, -1)
    local = place.index_select(0, indices)
    there = local >= 0
    before = torch.cat([indptr.new_zeros(1), there.cumsum(0, dtype=indptr.dtype)])
    edge = edge[there]
    structure = Structure(before.index_select(0, indptr), local[there], None)
    return Subgraph(CSR._unchecked(structure, weight_of(csr, edge), (len(rows), len(cols)), {}), edge)


def k_core(csr: CSR, k: int, k_cols: int | None = None) -> Core:
    """The largest part of a graph in which each row has k entries or more, and each column k_cols.

    Args:
        csr: graph of shape [rows, cols]; users and items, or the symmetric graph of one kind of node, whose k-core it
            is then. A repeated entry counts as often as it is there.
        k: entries a row.
        k_cols: entries a column; k by default.

    Returns:
        What is left, and which rows and columns that is.

    Raises:
        ValueError: k or k_cols is negative.

    Source: Batagelj and Zaversnik, 2003; the work is rows + cols + nnz.
    """
    k_cols = k if k_cols is None else k_cols
    if min(k, k_cols) < 0:
        raise ValueError(f"k_core: expected k and k_cols of 0 or more, got {k} and {k_cols}")
    t = csr.transposed_structure()
    rows, cols = (
        kept.nonzero().squeeze(1).to(csr.indptr.dtype)
        for kept in peel(csr.indptr, csr.indices, t.indptr, t.indices, k, k_cols)
    )
    left, edge = induced_subgraph(csr, rows, cols)
    return Core(left, rows, cols, edge)
