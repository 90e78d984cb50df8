"""Which entries of a graph are left? Those that a mask keeps, of the rows that were named, under new columns.

Two passes at the speed of memory, in parallel: one counts, one compacts. What comes out is a graph like any other, so
that every op works on it as it is.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor

import gnas_ext._native  # noqa: F401  (registers the op)

Places = Literal["stored", "kept", "none"]
Selected = tuple[Tensor, Tensor, Tensor, Tensor]


def select_edges(
    indptr: Tensor,
    indices: Tensor,
    cols: int,
    edge: Tensor | None = None,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    rows: Tensor | None = None,
    remap: Tensor | None = None,
    new_cols: int | None = None,
    places: Places = "stored",
) -> Selected:
    """The compressed rows of the live entries; entries of a row keep their order.

    Args:
        indptr: [rows + 1], int32 or int64.
        indices: [nnz], same dtype.
        cols: number of columns.
        edge: [nnz], same dtype: where each entry's weight and bit stand; None where the order is the same.
        weight: [nnz], float32, float64, bfloat16 or float16: weights that are to be compacted in the same pass.
        mask: uint8, [ceil(nnz / 8)]: a bit a stored weight, little-endian, as `pack_mask` makes it; entry e is left
            where bit edge[e] is set. None keeps all.
        rows: [count], indptr's dtype: row i of the result is this row of the graph; a row may come twice. None takes
            all, in order.
        remap: [cols], indptr's dtype: the new name of each column, several may have one; -1 drops the column's entries.
        new_cols: with remap, below which its names are.
        places: what the third result counts: "stored", among all stored weights; "kept", among those that the mask
            keeps (not with rows or remap); "none", nothing: it is empty.

    Returns:
        indptr [rows + 1 or count + 1]; indices [left]; edge [left], where each entry's weight stands, or [0]; and
        weight [left], the weights in the order of the entries, or [0] where none came.

    Raises:
        ValueError: a shape or device does not fit, or places is unknown or not possible.
        TypeError: a dtype is another one.
        RuntimeError: an index, a row or a name is out of range, or indptr is not that of nnz entries.

    No gradient: index with `edge` where the weights need one. Repeats exactly, whatever the number of threads.
    Allocates what comes out, so on CUDA it waits for the device.
    """
    new_cols = cols if new_cols is None else new_cols
    _select_out(indptr, indices, edge, weight, mask, rows, remap, cols, places)
    result: Selected = torch.ops.gnas_ext.select_edges(
        indptr, indices, edge, weight, mask, rows, remap, cols, new_cols, places
    )
    return result


def _select_out(
    indptr: Tensor,
    indices: Tensor,
    edge: Tensor | None,
    weight: Tensor | None,
    mask: Tensor | None,
    rows: Tensor | None,
    remap: Tensor | None,
    cols: int,
    places: str,
) -> None:
    """The contract of select_edges: what is refused."""
    nnz = indices.shape[0]
    check_mask("select_edges", mask, nnz, indptr.device)
    if places not in get_args(Places):
        raise ValueError(f"select_edges: expected places in {', '.join(get_args(Places))}, got {places!r}")
    if places == "kept" and (mask is None or rows is not None or remap is not None):
        raise ValueError("select_edges: places 'kept' counts the mask's bits: expected a mask, no rows and no remap")
    for name, index, size in (("edge", edge, nnz), ("rows", rows, None), ("remap", remap, cols)):
        if index is None:
            continue
        if index.dim() != 1 or (size is not None and index.shape[0] != size):
            raise ValueError(
                f"select_edges: expected {name} of shape [{'count' if size is None else size}], got {list(index.shape)}"
            )
        if index.dtype != indptr.dtype:
            raise TypeError(f"select_edges: expected {name} in indptr's dtype {indptr.dtype}, got {index.dtype}")
    if weight is not None and weight.shape != (nnz,):
        raise ValueError(f"select_edges: expected weight of shape [{nnz}], got {list(weight.shape)}")


def check_mask(op: str, mask: Tensor | None, nnz: int, device: torch.device) -> None:
    """Refuses what is not a packed mask of nnz entries."""
    if mask is None:
        return
    if mask.dtype != torch.uint8:
        raise TypeError(f"{op}: expected mask in uint8, got {mask.dtype}: pack_mask(mask) makes it")
    if mask.dim() != 1 or mask.shape[0] != (nnz + 7) // 8:
        raise ValueError(f"{op}: expected mask of shape [{(nnz + 7) // 8}], a bit an entry, got {list(mask.shape)}")
    if mask.device != device:
        raise ValueError(f"{op}: mask is on {mask.device}, the graph on {device}: move one with .to()")


def _select_fake(
    indptr: Tensor,
    indices: Tensor,
    edge: Tensor | None,
    weight: Tensor | None,
    mask: Tensor | None,
    rows: Tensor | None,
    remap: Tensor | None,
    cols: int,
    new_cols: int,
    places: str,
) -> Selected:
    _select_out(indptr, indices, edge, weight, mask, rows, remap, cols, places)
    left: Any = torch.library.get_ctx().new_dynamic_size()
    return (
        indptr.new_empty(indptr.shape[0] if rows is None else rows.shape[0] + 1),
        indices.new_empty(left),
        indices.new_empty(0 if places == "none" else left),
        indices.new_empty(0, dtype=torch.float32) if weight is None else weight.new_empty(left),
    )


torch.library.register_fake("gnas_ext::select_edges", _select_fake)
