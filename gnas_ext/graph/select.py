"""Which part of a graph is left under a mask, for some rows, and when rarely seen nodes share a row?

All of it is one op, `select_edges`; and the transpose of what is left is made of the kept transpose by the same op,
when it is first asked for: nothing is sorted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from gnas_ext.graph.csr import CSR, Later, Structure
from gnas_ext.ops._autograd import wanted
from gnas_ext.ops.edge_masks import packed
from gnas_ext.ops.scatter import scatter
from gnas_ext.ops.select_edges import check_mask, select_edges
from gnas_ext.ops.transpose import transpose

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from gnas_ext.graph.csr import Arrays

# Sorting costs about so many times what selecting does, an entry: a part smaller than this is sorted on its own.
_SORT = 4


class Fold(NamedTuple):
    """Which rows of a table share one: the kept ones first, in their order, then the shared ones.

    Attributes:
        remap: [n], int64: the row of the compact table that stands for each row.
        size: rows of the compact table.
        kept: [n - cold], int64: the rows that keep their own.
    """

    remap: Tensor
    size: int
    kept: Tensor

    def compact(self, x: Tensor, shared: Tensor | None = None) -> Tensor:
        """The compact table of x, [n, …] -> [size, …].

        Args:
            x: [n, …], float32, float64, bfloat16 or float16.
            shared: [size - len(kept), …], the shared rows; by default each is the mean of the rows that it stands for.

        Raises:
            ValueError: x or shared has another number of rows.

        Gradients of any order flow to x and to shared.
        """
        if x.shape[0] != self.remap.shape[0]:
            raise ValueError(f"Fold.compact: expected x of {self.remap.shape[0]} rows, got {list(x.shape)}")
        if shared is None:
            return scatter(x, self.remap, self.size, "mean")
        if shared.shape[0] != self.size - self.kept.shape[0]:
            raise ValueError(
                f"Fold.compact: expected shared of {self.size - self.kept.shape[0]} rows, got {list(shared.shape)}"
            )
        return torch.cat([x.index_select(0, self.kept), shared])

    def expand(self, x: Tensor) -> Tensor:
        """Each row's own copy of what stands for it, [size, …] -> [n, …]."""
        return x.index_select(0, self.remap)


def fold_rows(keep: Tensor, group: Tensor | None = None) -> Fold:
    """Folds the rows that are not kept into shared ones.

        fold = fold_rows(degree > 4, group=popularity_bucket)
        small = graph.remapped(fold.remap, fold.size)  # columns renamed
        out = spmm(small, fold.compact(x))

    Args:
        keep: bool, [n]: which rows keep their own.
        group: [n], integers: cold rows with one number share a row, in the order of the numbers; None: all share one.

    Returns:
        The renaming, and how a table is made compact.

    Raises:
        ValueError: a shape does not fit.
        TypeError: keep is not of bool, or group not of integers.
    """
    if keep.dtype != torch.bool:
        raise TypeError(f"fold_rows: expected keep in bool, got {keep.dtype}")
    if keep.dim() != 1:
        raise ValueError(f"fold_rows: expected keep of shape [n], got {list(keep.shape)}")
    if group is None:
        group = torch.zeros(len(keep), dtype=torch.int64, device=keep.device)
    if group.is_floating_point() or group.dtype == torch.bool:
        raise TypeError(f"fold_rows: expected group in integers, got {group.dtype}")
    if group.shape != keep.shape:
        raise ValueError(f"fold_rows: expected group of shape [{len(keep)}], got {list(group.shape)}")
    kept = keep.nonzero().squeeze(1)
    numbers, place = torch.unique(group[~keep], return_inverse=True)
    remap = torch.empty(len(keep), dtype=torch.int64, device=keep.device)
    remap[kept] = torch.arange(len(kept), device=keep.device)
    remap[~keep] = len(kept) + place
    return Fold(remap, len(kept) + len(numbers), kept)


def masked(csr: CSR, mask: Tensor) -> CSR:
    """See CSR.masked."""
    bits = packed("CSR.masked", mask, csr.nnz)
    check_mask("CSR.masked", bits, csr.nnz, csr.device)
    if csr.edge is not None:  # bits are in the order of the stored weights, which is that of the transpose
        return masked(csr.t(), bits).t()
    indptr, indices, weight = _select(csr, mask=bits)
    entries = csr.with_weight(None)  # what is kept later need not hold the weights

    def transposed() -> Arrays:
        t = entries.transposed_structure()
        return select_edges(t.indptr, t.indices, entries.rows, t.edge, mask=bits, places="kept")[:3]

    return _made(indptr, indices, weight, csr.shape, transposed)


def select_rows(csr: CSR, rows: Tensor) -> CSR:
    """See CSR.select_rows."""
    if rows.dim() != 1:
        raise ValueError(f"CSR.select_rows: expected rows of shape [count], got {list(rows.shape)}")
    rows = _numbers("CSR.select_rows: expected rows", rows, csr.indptr.dtype)
    indptr, indices, weight = _select(csr, rows=rows)
    entries = csr.with_weight(None)

    def transposed() -> Arrays:
        place = torch.full((csr.rows,), -1, dtype=rows.dtype, device=rows.device)
        numbers = torch.arange(len(rows), dtype=rows.dtype, device=rows.device)
        place[rows.long()] = numbers
        few = len(indices) * _SORT < entries.nnz
        if few or not torch.equal(place[rows.long()], numbers):  # a row that comes twice has two places
            return transpose(indptr, indices, csr.cols)
        t = entries.transposed_structure()
        t_indptr, t_indices, edge, _ = select_edges(
            t.indptr, t.indices, entries.rows, t.edge, remap=place, new_cols=len(rows)
        )
        # Entry e of a row stands as far behind the row's beginning as before.
        moved = indptr[:-1] - entries.indptr.index_select(0, rows)
        return t_indptr, t_indices, edge + moved.index_select(0, t_indices)

    return _made(indptr, indices, weight, (len(rows), csr.cols), transposed)


def remapped(csr: CSR, remap: Tensor, cols: int) -> CSR:
    """See CSR.remapped."""
    if remap.shape != (csr.cols,):
        raise ValueError(f"CSR.remapped: expected remap of shape [{csr.cols}], got {list(remap.shape)}")
    if cols < 0:
        raise ValueError(f"CSR.remapped: expected cols of 0 or more, got {cols}")
    remap = _numbers("CSR.remapped: expected remap", remap, csr.indptr.dtype)
    indptr, indices, weight = _select(csr, remap=remap, new_cols=cols)
    entries = csr.with_weight(None)

    def transposed() -> Arrays:
        t = entries.transposed_structure()
        # Columns of one name one after the other, those without a name left out.
        order = torch.argsort(remap, stable=True)[int((remap < 0).sum()) :].to(remap.dtype)
        begins, t_indices, edge, _ = select_edges(t.indptr, t.indices, entries.rows, t.edge, rows=order)
        names = torch.arange(cols + 1, dtype=remap.dtype, device=remap.device)
        first = torch.searchsorted(remap.index_select(0, order), names)
        if len(indices) < entries.nnz:
            there = remap.index_select(0, entries.indices) >= 0
            edge = (there.cumsum(0, dtype=remap.dtype) - 1).index_select(0, edge)
        return begins.index_select(0, first), t_indices, edge

    return _made(indptr, indices, weight, (csr.rows, cols), transposed)


def _numbers(expected: str, numbers: Tensor, dtype: torch.dtype) -> Tensor:
    """In the index type of a graph; what does not fit there stays out of range."""
    if numbers.dtype not in (torch.int32, torch.int64):
        mend = ": mask.nonzero().squeeze(1) are those that a mask keeps" if numbers.dtype == torch.bool else ""
        raise TypeError(f"{expected} in int32 or int64, got {numbers.dtype}{mend}")
    if numbers.dtype == torch.int64 and dtype == torch.int32:
        there = torch.iinfo(dtype)
        numbers = numbers.clamp(there.min, there.max)
    return numbers.to(dtype)


def _select(
    csr: CSR,
    mask: Tensor | None = None,
    rows: Tensor | None = None,
    remap: Tensor | None = None,
    new_cols: int | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The entries that are left and their weights, which come along in the pass where no gradient is wanted."""
    weight = csr.stored_weight
    along = weight is not None and weight.dim() == 1 and not wanted(weight)
    indptr, indices, edge, left = select_edges(
        csr.indptr,
        csr.indices,
        csr.cols,
        csr.edge,
        weight.detach() if along and weight is not None else None,
        mask,
        rows,
        remap,
        new_cols,
        "none" if along or weight is None else "stored",
    )
    if along or weight is None:
        return indptr, indices, left if along else None
    return indptr, indices, weight.index_select(0, edge)


def _made(
    indptr: Tensor, indices: Tensor, weight: Tensor | None, shape: tuple[int, int], transposed: Callable[[], Arrays]
) -> CSR:
    return CSR._unchecked(Structure(indptr, indices, None), weight, shape, {"transpose": Later(transposed)})
