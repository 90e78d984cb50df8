"""Ranges of any shape that need not cover all entries, as segments of one matrix that do."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import torch

from gnas_ext.ops import gather_segments

if TYPE_CHECKING:
    from torch import Tensor


class Segments:
    """Ranges along one dimension of tensors of one shape.

    All batches stand behind each other in one matrix; what lies before the first and behind the last range of each
    becomes a segment too, which results leave out.

    Args:
        shape: of the tensors that are cut: [x0, …, entries, …].
        indptr: [x0, …, rows + 1], ascending; leading dimensions of size 1 broadcast.

    Attributes:
        indptr: of the segments, gaps among them.
    """

    def __init__(self, shape: tuple[int, ...], indptr: Tensor) -> None:
        self.source, self.dim = shape, indptr.dim() - 1
        self.entries = shape[self.dim]
        self.count = max(indptr.shape[-1] - 1, 0)
        self.shape = (*shape[: self.dim], self.count, *shape[self.dim + 1 :])
        batches = prod(shape[: self.dim])
        self.given = indptr.expand(*shape[: self.dim], -1)
        rows = self.given.reshape(batches, -1)
        # Where that costs nothing: on CUDA, looking would mean to wait for the device.
        self.gaps = not (
            rows.device.type == "cpu"
            and batches == 1
            and rows.shape[1] > 0
            and int(rows[0, 0]) == 0
            and int(rows[0, -1]) == self.entries
        )
        if self.gaps:
            starts = torch.cat([rows.new_zeros(batches, 1), rows], 1)
            starts = starts + torch.arange(batches, device=rows.device).unsqueeze(1).to(rows.dtype) * self.entries
            last = starts.new_full((1,), batches * self.entries)
            self.indptr = torch.cat([starts.reshape(-1), last])
        else:
            self.indptr = rows.reshape(-1)
        self.total = self.indptr.shape[0] - 1

    def flat(self, x: Tensor) -> Tensor:
        """The entries of x as rows of a matrix."""
        return x.reshape(prod(self.source[: self.dim + 1]), prod(self.source[self.dim + 1 :]))

    def result(self, rows: Tensor) -> Tensor:
        """A row a segment, without those of the gaps."""
        if self.gaps:
            rows = rows.reshape(-1, self.count + 2, rows.shape[1])[:, 1 : self.count + 1]
        return rows.reshape(self.shape)

    def positions(self, arg: Tensor) -> Tensor:
        """Entries of the matrix as positions along the dimension; for none, its size."""
        return torch.where(arg < 0, self.entries, arg.remainder(max(self.entries, 1)))

    def index(self) -> Tensor:
        """The segment of each entry."""
        segments = torch.arange(self.total, device=self.indptr.device)
        lengths = (self.indptr[1:] - self.indptr[:-1]).long()
        return torch.repeat_interleave(segments, lengths, output_size=prod(self.source[: self.dim + 1]))

    def lengths(self) -> Tensor:
        """Entries a range; it broadcasts to the shape of results."""
        lengths = self.given[..., 1:] - self.given[..., :-1]
        return lengths.reshape(*lengths.shape, *(1 for _ in self.shape[self.dim + 1 :]))

    def spread(self, x: Tensor) -> Tensor:
        """Gives each entry what its range has in x, of the shape of results; zero in gaps."""
        width = prod(self.source[self.dim + 1 :])
        rows = x.reshape(-1, width) if width else x.reshape(prod(self.shape[: self.dim + 1]), 0)
        if self.gaps:
            batched = rows.reshape(prod(self.shape[: self.dim]), self.count, width)
            rows = torch.nn.functional.pad(batched, (0, 0, 1, 1)).reshape(-1, width) if width else rows
        if not rows.is_floating_point():
            return rows[self.index()].reshape(self.source)
        return gather_segments(rows, self.indptr, prod(self.source[: self.dim + 1])).reshape(self.source)

    def covered(self) -> Tensor:
        """Which entries lie in a range; it broadcasts to the shape of the tensors that are cut."""
        number = self.index() % (self.count + 2) if self.gaps else self.index() + 1
        inside = (number >= 1) & (number <= self.count)
        return inside.reshape(*self.source[: self.dim + 1], *(1 for _ in self.source[self.dim + 1 :]))
