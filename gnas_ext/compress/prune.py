"""Which columns and rows can go? Masks that training moves, a schedule that takes their time, and tables that shrink.

A column goes on both sides at once, or a product would still read it. Rows of a group keep their first columns, or
share one row: after `rotate` the first columns hold the most, so that rare rows need few of them.
"""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor, nn

from gnas_ext.compress.quantisers import Quantiser, to_length
from gnas_ext.models.coded import CodedModel, GroupedTable, Rows, pack_groups
from gnas_ext.models.factors import FactorModel, Table
from gnas_ext.models.pruned import Scores
from gnas_ext.ops import prune


def cubic(done: int, steps: int, first: int, last: int) -> int:
    """How many to keep after so many of the steps: fast at first, slower and slower (Zhu and Gupta, 2018).

    Args:
        done: steps so far, 0 … steps.
        steps: over which the number falls; 0 is all at once.
        first: kept at the beginning.
        last: kept at the end.
    """
    left = 1 - min(1.0, done / steps) if steps else 0.0
    return last + round((first - last) * left**3)


class ColumnMask(nn.Module):
    """Which columns of both tables are alive; the mask is a buffer, learned scores are a parameter.

    Args:
        width: columns there are.
        keep: columns that are left in the end.
        steps: calls of `advance` until then.
        scores: "magnitude", what both sides hold together, or "learned": by what the loss says of each column, alive
            or not (straight through; Bengio et al., 2013). These begin as magnitudes and fall where training moves a
            column towards zero: movement pruning (Sanh et al., 2020).
        threshold: 0 to take the number of the schedule; else a column goes if its magnitude is below this share of the
            largest, which the schedule comes to, and `keep` is the least that are left.
    """

    mask: Tensor

    def __init__(
        self, width: int, keep: int, steps: int = 0, scores: Scores = "magnitude", threshold: float = 0.0
    ) -> None:
        super().__init__()
        if not 1 <= keep <= width:
            raise ValueError(f"ColumnMask: expected keep in 1 … {width}, got {keep}")
        if scores not in get_args(Scores):
            raise ValueError(f"ColumnMask: expected scores 'magnitude' or 'learned', got {scores!r}")
        if not 0 <= threshold <= 1 or (threshold and scores == "learned"):
            raise ValueError(
                f"ColumnMask: expected threshold in 0 … 1, 0 with learned scores (they have no scale), got {threshold}"
            )
        self.threshold = threshold
        self.keep, self.steps, self.kind, self.done = keep, steps, scores, 0
        self.register_buffer("mask", torch.ones(width, dtype=torch.bool))
        self.scores = nn.Parameter(torch.ones(width), requires_grad=scores == "learned")

    def forward(self) -> Tensor:
        """The mask as numbers, [width], with a gradient to learned scores."""
        return prune.straight_through(self.scores, self.mask)

    @torch.no_grad()
    def begin(self, user: Tensor, item: Tensor) -> None:
        """Scores by magnitude, the largest 1, [n, width] each: where learned ones begin."""
        self.scores.copy_((user.square().mean(0) * item.square().mean(0)).sqrt())
        self.scores.div_(self.scores.max().clamp(min=1e-12))

    @torch.no_grad()
    def advance(self, user: Tensor, item: Tensor) -> None:
        """Takes the next step of the schedule; [n, width] each."""
        self.done += 1
        if self.kind == "magnitude":
            self.begin(user, item)
        if self.threshold:
            left = 1 - min(1.0, self.done / self.steps) if self.steps else 0.0
            lowest = self.threshold * (1 - left**3) * float(self.scores.max())
            kept = max(self.keep, int((self.scores >= lowest).sum()))
        else:
            kept = cubic(self.done, self.steps, len(self.mask), self.keep)
        self.mask.copy_(prune.keep_largest(self.scores, count=kept))


class Masked(Quantiser):
    """Rows of one side with the columns of a mask that are dead as zeros; the other side's then do not count.

    Args:
        columns: shared by both sides. It advances when this side looks at all rows, but for the first time, when
            nothing was learned yet.
        other: the other side, whose rows magnitude looks at too: as it learns, or rows that stay, [m, width]. None
            where the other side is the one that advances the mask.
        length: of all rows; 0 for none.
    """

    def __init__(self, columns: ColumnMask, other: Masked | Tensor | None, length: float = 0.0) -> None:
        super().__init__()
        self.columns, self.length = columns, length
        self._other = [other]  # in a list, so that it is no part of this module
        self._looks = 0
        self._rows: Tensor | None = None

    def forward(self, rows: Tensor, index: Tensor) -> Tensor:
        """The rows of an index, dead columns zero."""
        return to_length(rows.index_select(0, index) * self.columns(), self.length)

    def refresh(self, rows: Tensor) -> None:
        """A step of the schedule."""
        self._rows = rows.detach()
        (other,) = self._other
        if other is not None:
            beside = other._rows if isinstance(other, Masked) else other
            assert beside is not None, "the other side looks at its rows first"
            (self.columns.advance if self._looks else self.columns.begin)(self._rows, beside)
        self._looks += 1

    def store(self, rows: Tensor) -> Rows:
        """Float32, still as wide; `compact` takes the zeros away."""
        return Table(to_length(rows.detach() * self.columns.mask, self.length))


class Leading(Quantiser):
    """Rows of which only the first columns are kept.

    Args:
        keep: how many.
        length: of all rows; 0 for none.
    """

    def __init__(self, keep: int, length: float = 0.0) -> None:
        super().__init__()
        self.keep, self.length = keep, length

    def forward(self, rows: Tensor, index: Tensor) -> Tensor:
        """The rows of an index, zeros on the right."""
        some = rows.index_select(0, index)
        kept = to_length(some[:, : self.keep], self.length)
        return nn.functional.pad(kept, (0, some.shape[1] - kept.shape[1]))

    def store(self, rows: Tensor) -> Rows:
        """A narrow table."""
        return Table(to_length(rows.detach()[:, : self.keep], self.length).contiguous())


class Shared(Quantiser):
    """All rows are their mean: one row for those that are too rare to have their own."""

    def forward(self, rows: Tensor, index: Tensor) -> Tensor:
        """That row, once for each of an index."""
        return rows.mean(0, keepdim=True).expand(len(index), -1)

    def store(self, rows: Tensor) -> Rows:
        """A table of one row."""
        return Table(rows.detach().mean(0, keepdim=True))


def prune_columns(model: FactorModel, keep: int) -> FactorModel:
    """The columns that hold most, by magnitude on both sides: a float32 model that is `keep` columns wide.

    Args:
        model: float32 or int8.
        keep: columns, 1 … width.
    """
    user, item = model.user.float(), model.item.float()
    columns = ColumnMask(user.shape[1], keep)
    columns.advance(user, item)
    return compact(model, columns.mask)


def compact(model: FactorModel, mask: Tensor) -> FactorModel:
    """The model without its dead columns: narrower tables, the same scores as with zeros there.

    Args:
        model: float32 or int8.
        mask: [width], bool.
    """
    width = model.user.width
    if mask.shape != (width,) or mask.dtype != torch.bool:
        raise ValueError(f"compact: expected mask of shape [{width}] in bool, got {list(mask.shape)} in {mask.dtype}")
    return FactorModel(Table(model.user.float()[:, mask]), Table(model.item.float()[:, mask]), model.prior)


def fold_rows(model: FactorModel, cold_users: Tensor, cold_items: Tensor) -> CodedModel:
    """Cold rows of each side become one, their mean in float32; the others stay as they are.

    Args:
        model: float32 or int8.
        cold_users: [n_users], bool.
        cold_items: [n_items], bool.
    """
    return CodedModel(
        _folded(model.user, cold_users),
        _folded(model.item, cold_items),
        None if model.prior is None else Table(model.prior[:, None]),
    )


def prune_weights(model: FactorModel, keep: float) -> FactorModel:
    """The largest entries of both tables by magnitude, the others zero: no byte less and no time saved by itself.

    Args:
        model: float32 or int8.
        keep: share of the entries of each table.
    """

    def pruned(table: Table) -> Table:
        rows = table.float()
        return Table(rows * prune.keep_largest(rows.abs(), fraction=keep))

    return FactorModel(pruned(model.user), pruned(model.item), model.prior)


def sparse_bytes(model: FactorModel) -> int:
    """Bytes of a model's entries that are not zero: float32, and a bit for each entry that says which; the prior."""
    tables = model.user.float(), model.item.float()
    entries = sum(4 * int(table.count_nonzero()) + -(-table.numel() // 8) for table in tables)
    return entries + (0 if model.prior is None else model.prior.nbytes)


def _folded(table: Table, cold: Tensor) -> Rows:
    if cold.shape != (len(table),) or cold.dtype != torch.bool:
        raise ValueError(f"fold_rows: expected a bool a row, [{len(table)}], got {list(cold.shape)} in {cold.dtype}")
    if not cold.any():
        return table
    own, shared = (side.nonzero()[:, 0] for side in (~cold, cold))
    mean = Table(table.float(shared).mean(0, keepdim=True))
    return GroupedTable(pack_groups(cold), (table.select(own), mean), len(table))
