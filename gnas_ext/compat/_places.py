"""Where does an index of any shape send the entries along a dimension? As rows of one matrix, whatever the shapes."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Literal

import torch

from gnas_ext.ops import ScatterPlan, gather_rows, scatter, scatter_arg

if TYPE_CHECKING:
    from torch import Tensor

Extreme = Literal["max", "min"]


def broadcast(index: Tensor, shape: tuple[int, ...], dim: int) -> Tensor:
    """The index with as many dimensions as `shape`: a single dimension is `dim`, missing ones are the last."""
    if index.dim() == 1:
        index = index.reshape(*(1 for _ in range(dim)), -1)
    return index.reshape(*index.shape, *(1 for _ in range(len(shape) - index.dim())))


class Places:
    """An index over the entries of tensors of one shape.

    Where the index is the same over all dimensions behind `dim`, the entries are rows of a matrix, those of one batch
    behind those of another. Where it is not, every element is an entry of its own.

    Args:
        shape: of the tensors whose entries it places.
        index: int64 or int32; it broadcasts to shape as torch-scatter's does.
        dim: the dimension that the index places along.
        size: of that dimension in results; by default what the largest index asks for.

    Attributes:
        shape: of results.
        entries: size of `dim` in the tensors; as a position it means: none.
    """

    def __init__(self, shape: tuple[int, ...], index: Tensor, dim: int, size: int | None) -> None:
        dim = dim + len(shape) if dim < 0 else dim
        if size is None:
            size = int(index.max()) + 1 if index.numel() else 0
        self.source, self.dim, self.entries = shape, dim, shape[dim]
        self.shape = (*shape[:dim], size, *shape[dim + 1 :])
        self.index, self.by_row = self._flat_index(broadcast(index, shape, dim), size)
        self.total = size * prod(shape[:dim]) if self.by_row else prod(self.shape)
        self._plan: ScatterPlan | None = None

    def _flat_index(self, index: Tensor, size: int) -> tuple[Tensor, bool]:
        shape, dim = self.source, self.dim
        by_row = all(
            n == 1 or step == 0 for n, step in zip(index.shape[dim + 1 :], index.stride()[dim + 1 :], strict=True)
        )
        batches, width = prod(shape[:dim]), prod(shape[dim + 1 :])
        if by_row:
            for behind in range(len(shape) - 1, dim, -1):
                index = index.select(behind, 0) if index.shape[behind] else index.new_zeros(index.shape[:behind])
            if batches == 1:
                return index.expand(shape[: dim + 1]).reshape(-1), True  # the op itself checks what it is given
        _check(index, size)
        if by_row:
            first = torch.arange(batches, device=index.device).reshape(*shape[:dim], 1) * size
            return (index.expand(shape[: dim + 1]) + first).reshape(-1), True
        rows = index.expand(shape).movedim(dim, 0).reshape(shape[dim], batches * width)
        return (rows * (batches * width) + torch.arange(batches * width, device=index.device)).reshape(-1), False

    def flat(self, x: Tensor) -> Tensor:
        """The entries of x as rows."""
        if self.by_row:
            return x.reshape(self.index.shape[0], prod(self.source[self.dim + 1 :]))
        return x.movedim(self.dim, 0).reshape(-1, 1)

    def _result(self, rows: Tensor) -> Tensor:
        if self.by_row:
            return rows.reshape(self.shape)
        moved = (self.shape[self.dim], *self.shape[: self.dim], *self.shape[self.dim + 1 :])
        return rows.reshape(moved).movedim(0, self.dim)

    def reduce(self, x: Tensor, how: Literal["sum", "mean"]) -> Tensor:
        """Sum or mean of the entries at each place; the mean of integers is rounded down."""
        flat = self.flat(x)
        if flat.is_floating_point():
            return self._result(scatter(flat, self.index, self.total, how, self._plan))
        total = self._result(flat.new_zeros(self.total, flat.shape[1]).index_add_(0, self.index, flat))
        return total if how == "sum" else total.div(self.count().clamp(min=1), rounding_mode="floor").to(x.dtype)

    def arg(self, x: Tensor, how: Extreme) -> tuple[Tensor, Tensor]:
        """Max or min of the entries at each place, zero where there is none, and the position of each along `dim`."""
        flat = self.flat(x)
        if flat.is_floating_point():
            if self._plan is None:
                self._plan = ScatterPlan(self.index, self.total)
            value, arg = scatter_arg(flat, self.index, self.total, how, self._plan)
        else:
            value, arg = integer_extreme(flat, self.index, self.total, how)
        entries = max(self.entries, 1)
        if self.by_row:
            position = arg.remainder(entries)
        else:
            position = arg.div(prod(self.source) // entries or 1, rounding_mode="floor")
        return self._result(value), self._result(torch.where(arg < 0, self.entries, position))

    def spread(self, x: Tensor) -> Tensor:
        """Gives each entry what stands at its place in x, of the shape of results."""
        if self.by_row:
            rows = x.reshape(self.total, prod(self.source[self.dim + 1 :]))
        else:
            rows = x.movedim(self.dim, 0).reshape(-1, 1)
        value = gather_rows(rows, self.index) if rows.is_floating_point() else rows[self.index.long()]
        if self.by_row:
            return value.reshape(self.source)
        moved = (self.source[self.dim], *self.source[: self.dim], *self.source[self.dim + 1 :])
        return value.reshape(moved).movedim(0, self.dim)

    def count(self) -> Tensor:
        """How many entries go to each place, int64; it broadcasts to the shape of results."""
        ones = torch.ones_like(self.index, dtype=torch.int64)
        count = ones.new_zeros(self.total).index_add_(0, self.index, ones)
        if self.by_row:
            return count.reshape(*self.shape[: self.dim + 1], *(1 for _ in self.shape[self.dim + 1 :]))
        return self._result(count)


def integer_extreme(flat: Tensor, index: Tensor, total: int, how: Extreme) -> tuple[Tensor, Tensor]:
    """Max or min by row of integers and the first entry that has it, zero and -1 where there is none."""
    full = index.long().unsqueeze(1).expand_as(flat)
    value = flat.new_zeros(total, flat.shape[1])
    value = value.scatter_reduce(0, full, flat, "amax" if how == "max" else "amin", include_self=False)
    none = flat.shape[0]
    entry = torch.arange(none, device=flat.device).unsqueeze(1)
    first = torch.where(flat == value[index.long()], entry, none)
    arg = torch.full_like(value, none, dtype=torch.int64).scatter_reduce(0, full, first, "amin")
    return value, torch.where(arg == none, -1, arg)


def _check(index: Tensor, size: int) -> None:
    """With several batches in one matrix, an index that is out of range would name a row of the next one."""
    if index.numel() == 0:
        return
    inside = (index.min() >= 0) & (index.max() < size)
    if index.device.type != "cpu":
        torch._assert_async(inside, "an index is out of bounds")
    elif not inside:
        raise RuntimeError(
            f"expected an index of 0 or more and less than {size}, got {int(index.min())} … {int(index.max())}"
        )
