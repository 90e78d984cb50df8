"""Who is ranked, among which items? Those who are asked about, as a model of their own that `top_k_scores` takes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from gnas_ext.models.factors import FactorModel, ranked
from gnas_ext.ops.quantized_rows import QuantizedRows
from gnas_ext.ops.topk_scores import topk_scores

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from gnas_ext.graph.csr import CSR
    from gnas_ext.models.factors import Table
    from gnas_ext.models.graph_filter import GraphFilter

# Rows whose lengths are found at once, for they are float32 meanwhile.
_AT_ONCE = 1 << 16


@dataclass(frozen=True, eq=False)
class Asked:
    """Scores of the n-th of those who are asked about, by any model.

    Attributes:
        scores: of all items for some of them, [n, n_items], float32.
        n_users: how many they are.
        n_items: items that are scored.
        allow: bool, [n_items]: the items that may be recommended; None for all.
    """

    scores: Callable[[NDArray[np.int32]], Tensor]
    n_users: int
    n_items: int
    allow: Tensor | None

    def score(self, users: NDArray[np.int32]) -> Tensor:
        """The scores; -inf for what may not be recommended."""
        found = self.scores(users)
        if self.allow is not None:
            found[:, ~self.allow] = -torch.inf
        return found

    def size_bytes(self) -> int:
        """Nothing of its own."""
        return 0


@dataclass(frozen=True, eq=False)
class AskedHistories:
    """Histories that are asked about, ranked by a graph filter as it ranks its users: with the same scores.

    Attributes:
        model: the filter.
        mine: the histories, [n, n_items].
        allow: as `Asked` has it.
    """

    model: GraphFilter
    mine: CSR
    allow: Tensor | None

    @property
    def n_users(self) -> int:
        """How many histories there are."""
        return self.mine.rows

    @property
    def n_items(self) -> int:
        """Items of the filter."""
        return self.model.n_items

    def best(self, users: NDArray[np.int32], k: int, exclude: CSR | None) -> tuple[Tensor, Tensor]:
        """The k best items of some histories."""
        return self.model.best_of(self.mine.select_rows(torch.from_numpy(users).long()), k, exclude, self.allow)

    def score(self, users: NDArray[np.int32]) -> Tensor:
        """Their scores; -inf for what may not be recommended."""
        mine = self.mine.select_rows(torch.from_numpy(users).long())
        return Asked(lambda _: self.model.score_history(mine), len(users), self.n_items, self.allow).score(users)

    def size_bytes(self) -> int:
        """Nothing of its own."""
        return 0


class Shelf:
    """The items of two tables, and what is made of them once for every question; int8 rows stay as they are stored."""

    def __init__(self, model: FactorModel) -> None:
        self.model = model

    @cached_property
    def items(self) -> Tensor | QuantizedRows:
        """As `ops.topk_scores` takes them: int8 beside users of int8, else float32."""
        codes = None if self.model.user.codes() is None else self.model.item.codes()
        return self.model.item.float() if codes is None else codes

    @cached_property
    def unit(self) -> Tensor | QuantizedRows:
        """The items' rows, each of length 1, or 0 where it is zero; of int8 rows only the scales are others."""
        codes = self.model.item.codes()
        rows = self.model.item.float() if codes is None else codes.codes
        length = torch.cat([some.float().norm(dim=1) for some in torch.split(rows, _AT_ONCE)])
        inverse = torch.where(length > 0, 1 / length, 0.0)
        return rows * inverse[:, None] if codes is None else QuantizedRows(rows, inverse, None, 8, codes.width)

    def alike(self, item: int, k: int) -> tuple[Tensor, Tensor]:
        """Cosines and codes of the k items whose rows point most where an item's does, itself left out, [k] each."""
        unit, one = self.unit, slice(item, item + 1)
        if isinstance(unit, QuantizedRows):
            left: Tensor | QuantizedRows = QuantizedRows(unit.codes[one], unit.scale[one], None, 8, unit.width)
        else:
            left = unit[one]
        values, items = topk_scores(left, unit, k, allow=torch.arange(self.model.n_items) != item)
        found = items[0] >= 0
        return values[0][found], items[0][found]


@dataclass(frozen=True, eq=False)
class AskedRows:
    """The same for rows of users, ranked by the fused op: users x items is never in memory.

    Attributes:
        users: a row for each of those who are asked about.
        shelf: the items.
        allow: as in `Asked`.
    """

    users: Table
    shelf: Shelf
    allow: Tensor | None

    @property
    def n_users(self) -> int:
        """How many they are."""
        return len(self.users)

    @property
    def n_items(self) -> int:
        """Items that are ranked."""
        return self.shelf.model.n_items

    def score(self, users: NDArray[np.int32]) -> Tensor:
        """Scores of all items, [len(users), n_items]; only to find out whose are NaN."""
        model = self.shelf.model
        return FactorModel(self.users, model.item, model.prior).score(users)

    def best(self, users: NDArray[np.int32], k: int, exclude: CSR | None) -> tuple[Tensor, Tensor]:
        """The k best items of each."""
        items, rows = self.shelf.items, self.users.select(torch.from_numpy(users).long())
        left = rows.codes() if isinstance(items, QuantizedRows) else rows.float()
        assert left is not None
        return ranked(left, items, self.shelf.model.prior, k, exclude, self.allow)

    def size_bytes(self) -> int:
        """Nothing of its own."""
        return 0
