"""Which items are best for those who are asked about? Users by code, histories, everybody; codes of items come out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch

from gnas_ext.evaluate.rank import top_k_scores
from gnas_ext.models.coded import as_served
from gnas_ext.models.factors import FactorModel
from gnas_ext.models.graph_filter import GraphFilter
from gnas_ext.models.history import touched
from gnas_ext.recommend._asked import Asked, AskedHistories, AskedRows, Shelf
from gnas_ext.recommend.fold import FactorFold, fold_of, history_graph
from gnas_ext.recommend.similar import similar_items

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray
    from torch import Tensor

    from gnas_ext.evaluate.seen import SeenItems
    from gnas_ext.graph.csr import CSR
    from gnas_ext.models.base import HistoryModel, Model
    from gnas_ext.models.factors import Table

    Pair: TypeAlias = tuple[NDArray[np.int32], NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Lists:
    """Ranked items of several users.

    Attributes:
        users: who, [n], in the order asked for.
        items: codes of the best items, best first, [n, k], int32; -1 where no item is left.
        scores: of each, [n, k], float32; -inf where no item is left.
        known: bool, [n]: whether the user was in training; others have what is popular, scored in users.
    """

    users: pl.Series
    items: NDArray[np.int32]
    scores: NDArray[np.float32]
    known: NDArray[np.bool_]


class Ranking:
    """Lists of codes, each made the cheapest way that the model has.

    Every method gives items [n, k], int32, best first, -1 where none is left, and their scores [n, k], float32.

    Args:
        model: what scores.
        seen: training items of each user.
    """

    def __init__(self, model: Model, seen: SeenItems) -> None:
        self._model = model
        self.seen = seen

    @cached_property
    def model(self) -> Model:
        """What scores; codes are decoded once, for all questions, but for 8 bits."""
        return as_served(self._model)

    @cached_property
    def fold(self) -> HistoryModel:
        """The way from a history to scores (`recommend.fold`)."""
        return fold_of(self.model, self.seen)

    @cached_property
    def touched_by(self) -> NDArray[np.int64]:
        """Users that touched each item, [n_items]."""
        return np.bincount(self.seen.items, minlength=self.model.n_items)

    @cached_property
    def shelf(self) -> Shelf:
        """The items of two tables."""
        assert isinstance(self.model, FactorModel)
        return Shelf(self.model)

    def of_users(self, codes: NDArray[np.int32], k: int, exclude_seen: bool, allow: Tensor | None) -> Pair:
        """A list a user; two tables by the fused op, on int8 rows as they are stored."""
        if isinstance(self.model, FactorModel):
            rows = self.model.user.select(torch.from_numpy(codes).long())
            return self._of_rows(rows, self.seen.select(codes), k, exclude_seen, allow)
        if isinstance(self.model, GraphFilter):
            mine = self.seen.select(codes) if exclude_seen else None
            return _of_histories(self.model, touched(self.model.history, codes), mine, k, allow)
        seen = self.seen if exclude_seen else None
        if allow is None:
            return top_k_scores(self.model, codes, k, seen)
        return top_k_scores(Asked(self.model.score, self.model.n_users, self.model.n_items, allow), codes, k, seen)

    def of_history(self, mine: SeenItems, k: int, exclude_seen: bool, allow: Tensor | None) -> Pair:
        """A list for somebody who touched the items of one row, [1, k]."""
        graph, fold = history_graph(mine, self.model.n_items), self.fold
        if isinstance(fold, FactorFold):
            return self._of_rows(fold.rows(graph), mine, k, exclude_seen, allow)
        if isinstance(fold, GraphFilter):
            return _of_histories(fold, graph, mine if exclude_seen else None, k, allow)
        asked = Asked(lambda _: fold.score_history(graph), 1, self.model.n_items, allow)
        return top_k_scores(asked, np.zeros(1, np.int32), k, mine if exclude_seen else None)

    def popular(self, k: int, allow: Tensor | None) -> Pair:
        """A list for everybody: the items that most users touched, scored by their number, [1, k]."""
        counts = torch.from_numpy(self.touched_by.astype(np.float32))
        asked = Asked(lambda _: counts[None].clone(), 1, self.model.n_items, allow)
        return top_k_scores(asked, np.zeros(1, np.int32), k)

    def alike(self, item: int, k: int) -> Pair:
        """The items that are most like one, itself left out, [1, at most k]."""
        if isinstance(self.model, FactorModel):
            cosines, codes = self.shelf.alike(item, k)
            return codes[None].int().numpy(), cosines[None].numpy()
        items, scores = similar_items(self.model, self.fold, item, k)
        return items[None].astype(np.int32), scores[None]

    def _of_rows(self, rows: Table, mine: SeenItems, k: int, exclude_seen: bool, allow: Tensor | None) -> Pair:
        asked = AskedRows(rows, self.shelf, allow)
        return top_k_scores(asked, np.arange(len(rows), dtype=np.int32), k, mine if exclude_seen else None)


def _of_histories(model: GraphFilter, mine: CSR, seen: SeenItems | None, k: int, allow: Tensor | None) -> Pair:
    return top_k_scores(AskedHistories(model, mine, allow), np.arange(mine.rows, dtype=np.int32), k, seen)
