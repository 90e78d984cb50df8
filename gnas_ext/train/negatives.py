"""Which items is a touch to be ranked above, and how many do they stand for?"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from gnas_ext.graph.subgraph import coalesce
from gnas_ext.ops.sample_negatives import sample_negatives

if TYPE_CHECKING:
    from gnas_ext.graph.csr import CSR
    from gnas_ext.train.options import TrainOptions


class Shared(NamedTuple):
    """Items that a whole batch is shown.

    Attributes:
        items: [drawn], int64.
        row, column: pairs that do not count: the item of this column is not to be ranked below that row's, row by row;
            [pairs], int64 each.
        bias: what is added to an item's scores, [1, drawn]; None for nothing.
    """

    items: Tensor
    row: Tensor
    column: Tensor
    bias: Tensor | None


class Sampler:
    """Draws negatives for batches of a log.

    Args:
        item: the item of each touch, [touches], int64.
        known: the graph of who touched what, in any order, touches once or more; its weights are not looked at.
        options: where from, how many, whether known items are avoided and scores corrected.
        generator: draws.
    """

    def __init__(self, item: Tensor, known: CSR, options: TrainOptions, generator: torch.Generator) -> None:
        self.item = item
        # What draws around known items, and finds them, wants each once and in order.
        self.known = coalesce(known.with_weight(None)).with_weight(None) if options.avoid_known else known
        self.options = options
        self.generator = generator
        self._counts = torch.bincount(item, minlength=known.cols)
        self._cumulative = self._counts.cumsum(0)

    def own(self, users: Tensor, touched: Tensor) -> Tensor:
        """An item for each touch, [batch], int64. Where a user who touched all items is to get an unknown one: any.

        Args:
            users: of the batch, [batch], int64.
            touched: their items, [batch], int64.
        """
        drawn = self._by(self.options.negatives_from, touched, len(users))
        if not self.options.avoid_known:
            return drawn
        known = self._knows(users, drawn)
        seed = int(torch.randint(1 << 62, (1,), generator=self.generator))
        index = self.known.indices.dtype
        # Again by popularity unless all items are alike.
        weights = None if self.options.negatives_from == "uniform" else self._cumulative
        again = sample_negatives(users[known].to(index), 1, self.known, weights, seed)[:, 0].long()
        drawn[known] = torch.where(again < 0, drawn[known], again)
        return drawn

    def shared(self, users: Tensor, touched: Tensor) -> Shared:
        """Items for a whole batch.

        Args:
            users: of the batch, [batch], int64.
            touched: their items, [batch], int64.
        """
        source, count = self.options.negatives_from, min(self.options.negatives, self.known.cols)
        drawn = touched if source == "batch" else self._by(source, touched, count)
        row, column = self._apart(users, touched, drawn)
        return Shared(drawn, row, column, self._bias(drawn))

    def _by(self, source: str, touched: Tensor, count: int) -> Tensor:
        even = {"uniform": count, "mixed": count // 2}.get(source, 0)
        among = touched if source == "batch" else self.item
        drawn = torch.randint(self.known.cols, (even,), generator=self.generator)
        return torch.cat([drawn, among[torch.randint(len(among), (count - even,), generator=self.generator)]])

    def _knows(self, users: Tensor, items: Tensor) -> Tensor:
        """Whether each user touched each item, [batch], bool."""
        keys = self._keys
        wanted = users * self.known.cols + items
        return keys[torch.searchsorted(keys, wanted).clamp_(max=len(keys) - 1)] == wanted

    @cached_property
    def _keys(self) -> Tensor:
        """One number a pair of the log, ascending, as users and, of a user, items do."""
        return self.known.row_index().long() * self.known.cols + self.known.indices.long()

    def _bias(self, drawn: Tensor) -> Tensor | None:
        """The logarithm of how many items each stands for: -log(draws * its share of them)."""
        if not self.options.corrected:
            return None
        half = len(drawn) // 2 / len(drawn)
        even = {"uniform": 1.0, "popularity": 0.0, "batch": 0.0, "mixed": half}[self.options.negatives_from]
        if even == 1:
            return torch.full((1, 1), math.log(self.known.cols / len(drawn)))
        share = even / self.known.cols + (1 - even) * self._counts[drawn].double() / len(self.item)
        return -(share * len(drawn)).log().float()[None]

    def _apart(self, users: Tensor, touched: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """Where a drawn item is the touched one, or, if known ones are avoided, one that the user touched."""
        if self.options.avoid_known:
            mine = self.known.select_rows(users)
            row, item = mine.row_index().long(), mine.indices.long()
        else:
            row, item = torch.arange(len(touched)), touched
        order = drawn.argsort(stable=True)
        ascending = drawn[order]
        first = torch.searchsorted(ascending, item)
        times = torch.searchsorted(ascending, item, right=True) - first
        pair = torch.repeat_interleave(times)
        within = torch.arange(len(pair)) - (times.cumsum(0) - times)[pair]
        return row[pair], order[first[pair] + within]
