"""What is a graph to the ops: a sparse matrix in compressed rows, checked once, with its transpose kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import torch

from gnas_ext.ops._keep import to_keep
from gnas_ext.ops.transpose import coo_to_csr, transpose

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from gnas_ext.graph.order import By, Order, Reordered

_INDEX_TYPES = (torch.int32, torch.int64)
_WEIGHT_TYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


class Structure(NamedTuple):
    """Which entries there are, without their weights.

    Attributes:
        indptr: [rows + 1], int32 or int64.
        indices: [nnz], indptr's dtype.
        edge: [nnz], where each entry's weight stands among the stored weights; None where the order is the same.
    """

    indptr: Tensor
    indices: Tensor
    edge: Tensor | None


Arrays = tuple["Tensor", "Tensor", "Tensor"]


class Later(NamedTuple):
    """A transpose that is made when it is first asked for.

    Attributes:
        make: its arrays, as `Structure` has them.
    """

    make: Callable[[], Arrays]

    def to(self, device: torch.device | str | None) -> Later:
        """The same elsewhere."""

        def moved() -> Arrays:
            indptr, indices, edge = self.make()
            return indptr.to(device), indices.to(device), edge.to(device)

        return Later(moved)


class Fact(NamedTuple):
    """What was found out about the entries, once; as true on every device.

    Attributes:
        holds: is it so?
    """

    holds: bool

    def to(self, device: torch.device | str | None) -> Fact:
        """Itself."""
        return self


Kept: TypeAlias = "Structure | Order | Later | Fact"


class CSR:
    """A sparse matrix of shape [rows, cols] in compressed rows: row i is a node, its columns are its neighbours.

    Duplicate entries are allowed (they add up), and columns need not be sorted within a row.

    Args:
        indptr: [rows + 1], int32 or int64: the entries of row i are indptr[i] … indptr[i+1]-1.
        indices: [nnz], same dtype: the column of each entry.
        weight: [nnz], or [nnz, heads], float32, float64, bfloat16 or float16; None for all ones. It may require a
            gradient.
        shape: (rows, cols); by default as many columns as the largest index asks for.

    Raises:
        TypeError: a dtype that is not listed above.
        ValueError: row pointers that do not begin at 0, decrease, or do not end at nnz; a column out of range;
            a length or device that does not fit. The message names the entry.
    """

    def __init__(
        self,
        indptr: Tensor,
        indices: Tensor,
        weight: Tensor | None = None,
        shape: tuple[int, int] | None = None,
    ) -> None:
        _check_types(indptr, indices, weight)
        if shape is None:
            shape = (len(indptr) - 1, int(indices.max()) + 1 if len(indices) else 0)
        _check_entries(indptr, indices, shape)
        self._set(Structure(indptr.contiguous(), indices.contiguous(), None), weight, shape, {})

    def _set(
        self,
        structure: Structure,
        weight: Tensor | None,
        shape: tuple[int, int],
        kept: dict[str, Kept],
    ) -> None:
        self._structure = structure
        self.stored_weight = weight
        self.shape = shape
        self._kept = kept

    @classmethod
    def _unchecked(
        cls,
        structure: Structure,
        weight: Tensor | None,
        shape: tuple[int, int],
        kept: dict[str, Kept],
    ) -> CSR:
        csr = cls.__new__(cls)
        csr._set(structure, weight, shape, kept)
        return csr

    @classmethod
    def from_coo(
        cls, row: Tensor, col: Tensor, weight: Tensor | None = None, shape: tuple[int, int] | None = None
    ) -> CSR:
        """From one (row, col) pair an entry, in any order; entries of a row keep their order.

        Args:
            row: [nnz], int32 or int64.
            col: [nnz], same dtype.
            weight: [nnz] or [nnz, heads], or None.
            shape: (rows, cols); by default what the largest indices ask for.
        """
        if row.dim() != 1 or row.shape != col.shape:
            raise ValueError(
                f"CSR.from_coo: expected row and col of one shape [nnz], got {list(row.shape)} and {list(col.shape)}"
            )
        if row.dtype not in _INDEX_TYPES or col.dtype != row.dtype:
            raise TypeError(
                f"CSR.from_coo: expected row and col both in int32 or both in int64, got {row.dtype} and {col.dtype}"
            )
        if weight is not None and weight.shape[:1] != row.shape:
            raise ValueError(f"CSR.from_coo: expected weight of shape [{len(row)}], got {list(weight.shape)}")
        if shape is None:
            shape = (int(row.max()) + 1 if len(row) else 0, int(col.max()) + 1 if len(col) else 0)
        try:
            indptr, indices, order = coo_to_csr(row, col, *shape)
        except RuntimeError:
            _check_ends(row, col, shape)
            raise
        _check_types(indptr, indices, weight)
        structure = Structure(indptr, indices, None)
        return cls._unchecked(structure, None if weight is None else weight.index_select(0, order), shape, {})

    @classmethod
    def from_edge_index(cls, edge_index: Tensor, weight: Tensor | None = None, nodes: int | None = None) -> CSR:
        """From PyG's edge_index, where messages flow from edge_index[0] to edge_index[1].

        A row is a target and its columns are the sources, so `spmm(csr, x)` aggregates what arrives at each node.

        Args:
            edge_index: [2, edges], int32 or int64.
            weight: [edges] or None.
            nodes: number of nodes; by default what the largest index asks for.
        """
        if edge_index.dim() != 2 or edge_index.shape[0] != 2:
            raise ValueError(
                f"CSR.from_edge_index: expected edge_index of shape [2, edges], got {list(edge_index.shape)}"
            )
        if nodes is None:
            nodes = int(edge_index.max()) + 1 if edge_index.numel() else 0
        return cls.from_coo(edge_index[1], edge_index[0], weight, (nodes, nodes))

    @classmethod
    def from_scipy(cls, matrix: Any) -> CSR:
        """From any scipy.sparse matrix or array; its values become the weights."""
        csr = matrix.tocsr()
        return cls(
            torch.from_numpy(csr.indptr), torch.from_numpy(csr.indices), torch.from_numpy(csr.data), tuple(csr.shape)
        )

    @classmethod
    def from_torch(cls, matrix: Tensor) -> CSR:
        """From a two-dimensional torch sparse CSR or COO tensor; its values become the weights."""
        if matrix.dim() != 2 or matrix.layout not in (torch.sparse_csr, torch.sparse_coo):
            raise ValueError(
                f"CSR.from_torch: expected a two-dimensional sparse CSR or COO tensor, got {matrix.layout} of shape "
                f"{list(matrix.shape)}"
            )
        if matrix.layout == torch.sparse_coo:
            entries = matrix.coalesce()
            rows, cols = matrix.shape
            row, col = entries.indices()
            return cls.from_coo(row, col, entries.values(), (rows, cols))
        rows, cols = matrix.shape
        return cls(matrix.crow_indices(), matrix.col_indices(), matrix.values(), (rows, cols))

    @property
    def indptr(self) -> Tensor:
        """Where each row begins, [rows + 1]."""
        return self._structure.indptr

    @property
    def indices(self) -> Tensor:
        """The column of each entry, [nnz]."""
        return self._structure.indices

    @property
    def edge(self) -> Tensor | None:
        """Where each entry's weight stands in `stored_weight`, [nnz]; None where the order is the same."""
        return self._structure.edge

    @property
    def weight(self) -> Tensor | None:
        """The weight of each entry, [nnz] or [nnz, heads], in the order of `indices`; None for all ones."""
        if self.stored_weight is None or self.edge is None:
            return self.stored_weight
        return self.stored_weight.index_select(0, self.edge)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.shape[0]

    @property
    def cols(self) -> int:
        """Number of columns."""
        return self.shape[1]

    @property
    def nnz(self) -> int:
        """Number of entries."""
        return len(self.indices)

    @property
    def device(self) -> torch.device:
        """Where the arrays are."""
        return self.indptr.device

    def degree(self) -> Tensor:
        """Entries a row, [rows], the index dtype."""
        return self.indptr[1:] - self.indptr[:-1]

    def row_index(self) -> Tensor:
        """The row of each entry, [nnz], the index dtype."""
        rows = torch.arange(self.rows, device=self.device, dtype=self.indptr.dtype)
        return torch.repeat_interleave(rows, self.degree().long(), output_size=self.nnz)

    def ascends(self) -> bool:
        """Do the columns of each row ascend, and does none come twice? Found once and kept."""
        kept = self._kept.get("ascends")
        if not isinstance(kept, Fact):
            kept = self._kept["ascends"] = Fact(bool(ascending(self.indptr, self.indices).all()))
        return kept.holds

    def transposed_structure(self) -> Structure:
        """The entries of the transpose and where each one's weight is stored; computed once and kept."""
        kept = self._kept.get("transpose")
        if not isinstance(kept, Structure):
            sort = Later(lambda: transpose(self.indptr, self.indices, self.cols))
            made, keeps = to_keep((kept if isinstance(kept, Later) else sort).make)
            kept = Structure(*made)
            if keeps:
                self._kept["transpose"] = kept
        return kept

    def t(self) -> CSR:
        """The transpose, [cols, rows]: computed once and kept. It reads this matrix's weights where they are stored."""
        kept: dict[str, Kept] = {"transpose": self._structure}
        return CSR._unchecked(self.transposed_structure(), self.stored_weight, (self.cols, self.rows), kept)

    def reordered(self, by: By = "degree") -> Reordered:
        """The graph with its nodes in an order that memory likes: found once and kept.

        Args:
            by: "degree": nodes with many entries first, so that what is read often is together. "community": nodes
                that label propagation finds together, no more than 4,096, side by side. A graph of shape [n, n] has
                one order for rows and columns, any other one for each.

        Returns:
            The graph in that order as `.csr`, with the weights of now (gradients flow to them), and `.enter(x)` and
            `.leave(out)`. spmm and the like give, to rounding, what they give without it.

        Raises:
            ValueError: by is unknown.

        Measure before use (`python -m benchmarks.locality`, docs/graphs.md): spmm prefetches rows, so where a graph has
        no communities an order gives little, and bringing x in and the result out costs about half a hop.
        """
        from gnas_ext.graph.order import reordered

        return reordered(self, by)

    def masked(self, mask: Tensor) -> CSR:
        """The graph of the entries that a mask keeps, smaller in memory: for a mask that is fixed.

        Args:
            mask: bool, [nnz], or packed (`ops.pack_mask`), in the order of the stored weights.

        Returns:
            The same shape; entries keep their order. Its transpose is made of this graph's kept one, not by sorting.

        Raises:
            ValueError: mask has another length or is elsewhere.
            TypeError: mask is neither of bool nor of uint8.

        Gradients of any order flow to the weights. `ops.spmm_masked` is for a mask that still moves.
        """
        from gnas_ext.graph.select import masked

        return masked(self, mask)

    def select_rows(self, rows: Tensor) -> CSR:
        """The graph of some rows, [len(rows), cols]: what those nodes receive, and nothing else.

        Args:
            rows: [count], int32 or int64: row i of the result is this row; a row may come twice.

        Raises:
            ValueError: rows is not one-dimensional.
            TypeError: rows is in another dtype.
            RuntimeError: a row is out of range.

        Gradients of any order flow to the weights.
        """
        from gnas_ext.graph.select import select_rows

        return select_rows(self, rows)

    def remapped(self, remap: Tensor, cols: int) -> CSR:
        """The graph with its columns renamed, [rows, cols]: rarely seen nodes fold into shared rows of x.

        Args:
            remap: [this graph's cols], int32 or int64: the new name of each column, from 0 to cols - 1; several may
                have one, whose entries then add up; -1 drops a column's entries. `graph.fold_rows` makes one.
            cols: the number of names.

        Raises:
            ValueError: remap has another length, or cols is negative.
            TypeError: remap is in another dtype.
            RuntimeError: a name is out of range.

        Gradients of any order flow to the weights. Rows fold as columns of the transpose: `csr.t().remapped(…).t()`.
        """
        from gnas_ext.graph.select import remapped

        return remapped(self, remap, cols)

    def with_weight(self, weight: Tensor | None) -> CSR:
        """The same entries with other weights, [nnz] or [nnz, heads], in the order of `indices`.

        A kept transpose is shared.
        """
        _check_types(self.indptr, self.indices, weight)
        if self.edge is None:
            return CSR._unchecked(self._structure, weight, self.shape, self._kept)
        edge, t = self.edge, self.transposed_structure()

        def transposed() -> Arrays:
            """Not sorted again: each entry of the other one, and where it stands here."""
            place = torch.empty_like(edge)
            place[edge.long()] = torch.arange(len(edge), dtype=edge.dtype, device=edge.device)
            return t.indptr, t.indices, place if t.edge is None else place.index_select(0, t.edge)

        entries = Structure(self.indptr, self.indices, None)
        return CSR._unchecked(entries, weight, self.shape, {"transpose": Later(transposed)})

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> CSR:
        """The same matrix on another device, with its weights in another dtype, or both."""

        def move(structure: Structure) -> Structure:
            return Structure(*(None if part is None else part.to(device) for part in structure))  # type: ignore[arg-type]

        weight = None if self.stored_weight is None else self.stored_weight.to(device=device, dtype=dtype)
        kept: dict[str, Kept] = {
            name: move(entry) if isinstance(entry, Structure) else entry.to(device)
            for name, entry in self._kept.items()
        }
        return CSR._unchecked(move(self._structure), weight, self.shape, kept)

    def __repr__(self) -> str:
        weight = "none" if self.stored_weight is None else str(self.stored_weight.dtype).removeprefix("torch.")
        index = str(self.indptr.dtype).removeprefix("torch.")
        return f"CSR(shape={self.shape}, nnz={self.nnz}, index={index}, weight={weight}, device={self.device})"


def ascending(indptr: Tensor, indices: Tensor) -> Tensor:
    """For each entry, [nnz]: is its column above that of the entry before it, or is it the first of its row?"""
    above = indices[1:] > indices[:-1]
    ascends = torch.cat([above.new_ones(min(len(indices), 1)), above])
    begins = indptr[:-1]
    ascends[begins[begins < len(indices)].long()] = True
    return ascends


def _check_types(indptr: Tensor, indices: Tensor, weight: Tensor | None) -> None:
    if indptr.dtype not in _INDEX_TYPES or indices.dtype != indptr.dtype:
        raise TypeError(
            f"CSR: expected indptr and indices both in int32 or both in int64, got {indptr.dtype} and {indices.dtype}"
        )
    if indptr.dim() != 1 or len(indptr) == 0:
        raise ValueError(f"CSR: expected indptr of shape [rows + 1], got {list(indptr.shape)}")
    if indices.dim() != 1:
        raise ValueError(f"CSR: expected indices of shape [nnz], got {list(indices.shape)}")
    if indices.device != indptr.device:
        raise ValueError(f"CSR: indptr is on {indptr.device}, indices on {indices.device}: move one with .to()")
    if weight is None:
        return
    if weight.dtype not in _WEIGHT_TYPES:
        raise TypeError(f"CSR: expected weight in float32, float64, bfloat16 or float16, got {weight.dtype}")
    if weight.dim() not in (1, 2) or weight.shape[0] != len(indices):
        raise ValueError(
            f"CSR: expected weight of shape [{len(indices)}], one an entry, or [{len(indices)}, heads], got "
            f"{list(weight.shape)}"
        )
    if weight.device != indptr.device:
        raise ValueError(f"CSR: indptr is on {indptr.device}, weight on {weight.device}: move one with .to()")


def _check_ends(row: Tensor, col: Tensor, shape: tuple[int, int]) -> None:
    for name, index, kind, size in (("row", row, "rows", shape[0]), ("col", col, "columns", shape[1])):
        wrong = ((index < 0) | (index >= size)).nonzero()
        if len(wrong):
            entry = int(wrong[0])
            raise ValueError(f"CSR.from_coo: {name}[{entry}] is {int(index[entry])}, but the shape has {size} {kind}")


def _check_entries(indptr: Tensor, indices: Tensor, shape: tuple[int, int]) -> None:
    rows, cols = shape
    if rows < 0 or cols < 0:
        raise ValueError(f"CSR: expected a shape of two sizes of 0 or more, got {shape}")
    if len(indptr) != rows + 1:
        raise ValueError(f"CSR: expected indptr of shape [{rows + 1}] for {rows} rows, got {list(indptr.shape)}")
    if int(indptr[0]) != 0:
        raise ValueError(f"CSR: indptr[0] is {int(indptr[0])}, expected 0")
    falls = (indptr[1:] < indptr[:-1]).nonzero()
    if len(falls):
        row = int(falls[0])
        raise ValueError(
            f"CSR: indptr decreases after row {row}: indptr[{row}] is {int(indptr[row])}, indptr[{row + 1}] is "
            f"{int(indptr[row + 1])}"
        )
    if int(indptr[-1]) != len(indices):
        raise ValueError(f"CSR: indptr ends at {int(indptr[-1])}, but there are {len(indices)} indices")
    if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < cols:
        entry = int(((indices < 0) | (indices >= cols)).nonzero()[0])
        raise ValueError(f"CSR: indices[{entry}] is {int(indices[entry])}, but the shape has {cols} columns")
