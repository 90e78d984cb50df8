"""Whom is to be recommended what? Ids in, a table of items with their titles out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
import torch

from gnas_ext.errors import InputError
from gnas_ext.evaluate.seen import SeenItems
from gnas_ext.recommend.explain import Explanation, explain_popular, explain_score
from gnas_ext.recommend.ids import IdTable
from gnas_ext.recommend.ranking import Lists, Ranking

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from torch import Tensor

    from gnas_ext.models.base import HistoryModel, Model
    from gnas_ext.recommend.ids import Id
    from gnas_ext.recommend.manifest import Manifest
    from gnas_ext.recommend.ranking import Pair


Unknown = Literal["error", "popular"]


class Recommender:
    """A trained model together with the ids of its log; `load` makes one.

    Args:
        model: scores by code.
        user_ids: the id behind each user code, [n_users].
        titles: an item a row in code order: columns `item`, `title`, `genres`; null where they are not known.
        seen: training items of each user.
        manifest: what the artefact says about itself.

    Ids are found as in the log: 7 also finds the string id "7", and "7" the number 7. Methods may be called from
    several threads at once.
    """

    def __init__(
        self, *, model: Model, user_ids: pl.Series, titles: pl.DataFrame, seen: SeenItems, manifest: Manifest
    ) -> None:
        self.model = model
        self.seen = seen
        self.titles = titles
        self.manifest = manifest
        self._ranking = Ranking(model, seen)
        self._users = IdTable(user_ids, "user")
        self._items = IdTable(titles.get_column("item"), "item")

    @property
    def n_users(self) -> int:
        """Users that it can serve."""
        return self.model.n_users

    @property
    def n_items(self) -> int:
        """Items that it can recommend."""
        return self.model.n_items

    @property
    def user_ids(self) -> pl.Series:
        """The id behind each user code."""
        return self._users.ids

    def item(self, item: Id) -> tuple[Id, str | None]:
        """The id as the log has it, and the title; None where it is not known.

        Raises:
            InputError: an unknown item.
        """
        id_, title = self.titles.select("item", "title").row(int(self._items.codes([item])[0]))
        return id_, title

    @property
    def touched_by(self) -> NDArray[np.int64]:
        """Users that touched each item in training, [n_items]: what unknown users are recommended by."""
        return self._ranking.touched_by

    def recommend(
        self,
        users: Id | Iterable[Id],
        k: int = 20,
        exclude_seen: bool = True,
        filter_items: Iterable[Id] | None = None,
        items: Iterable[Id] | None = None,
        unknown: Unknown = "error",
    ) -> pl.DataFrame:
        """The k best items for each user.

        Args:
            users: an id or several.
            k: items a user; there are fewer where the catalogue, or what is left of it, is smaller.
            exclude_seen: leave out what the user has touched in training.
            filter_items: leave these out, too.
            items: recommend only of these; None for all.
            unknown: what users get that were not in training: "error" refuses them; "popular" gives them the items
                that most users touched, and says so in a column `source`.

        Returns:
            A row an item: `user` and `item` in the log's own types, `rank` from 1 (Int32), `score` (Float32; higher
            is better, comparable within a user), `title` (null where it is not known). Users in the order given,
            items from best to worst, equal scores in order of code. With unknown="popular" also `source`: "model", or
            "popular", where the score is a number of users; and `user` is a string where one was asked for that the
            log's type cannot hold.

        Raises:
            InputError: an unknown user (unless they get what is popular) or item, or k below 1.
        """
        lists = self.rank(users, k, exclude_seen, filter_items, items, unknown)
        table = self._table(lists.users, (lists.items, lists.scores))
        if unknown == "error":
            return table
        source = np.where(lists.known, "model", "popular")[np.nonzero(lists.items >= 0)[0]]
        return table.with_columns(source=pl.Series(source, dtype=pl.String))

    def rank(
        self,
        users: Id | Iterable[Id],
        k: int = 20,
        exclude_seen: bool = True,
        filter_items: Iterable[Id] | None = None,
        items: Iterable[Id] | None = None,
        unknown: Unknown = "error",
    ) -> Lists:
        """The lists of `recommend` as arrays of codes, a row a user; rows of `titles` are what the codes stand for."""
        _check_k("recommend", k)
        if unknown not in ("error", "popular"):
            raise InputError(f"recommend: expected unknown='error' or 'popular', got {unknown!r}")
        allow = self._allowed(filter_items, items)
        k = min(k, self.n_items)
        if unknown == "error":
            codes = self._users.codes(users)
            found = self._ranking.of_users(codes, k, exclude_seen, allow)
            return Lists(self.user_ids.gather(codes), *found, np.ones(len(codes), dtype=bool))
        asked, codes = self._users.find(users)
        known = codes >= 0
        chosen, scores = np.empty((len(codes), k), np.int32), np.empty((len(codes), k), np.float32)
        chosen[known], scores[known] = self._ranking.of_users(codes[known], k, exclude_seen, allow)
        if not known.all():
            chosen[~known], scores[~known] = self._ranking.popular(k, allow)
        return Lists(asked, chosen, scores, known)

    def recommend_for_items(
        self,
        history: Id | Iterable[Id],
        k: int = 20,
        exclude_seen: bool = True,
        filter_items: Iterable[Id] | None = None,
        items: Iterable[Id] | None = None,
    ) -> pl.DataFrame:
        """The k best items for somebody who was not in training, from what they touched; nothing is trained.

        A model of histories scores this one; a model of two tables is given a row that `recommend.fold` makes of the
        items. The order of the history does not matter, and an item counts once.

        Args:
            history: ids of one item or more.
            k: as in `recommend`, and so are the others.
            exclude_seen: leave out what is in the history.
            filter_items: leave these out, too.
            items: recommend only of these.

        Returns:
            A row an item: `rank`, `item`, `score`, `title`, as in `recommend`.

        Raises:
            InputError: no item, an unknown one, k below 1, or a model that cannot be asked so.
        """
        _check_k("recommend_for_items", k)
        allow = self._allowed(filter_items, items)
        mine = self._history("recommend_for_items", history)
        return self._table(None, self._ranking.of_history(mine, min(k, self.n_items), exclude_seen, allow))

    def similar(self, item: Id, k: int = 20) -> pl.DataFrame:
        """The k items that are most like one, as the model sees it (`recommend.similar`).

        Args:
            item: its id.
            k: how many; there are fewer where the model knows of fewer.

        Returns:
            A row an item: `rank` from 1, `item`, `score`, `title`; the item itself is not among them. Tables of rows
            score by cosine, -1 … 1; others in their own unit.

        Raises:
            InputError: an unknown item, k below 1, or a model that knows nothing of pairs of items.
        """
        _check_k("similar", k)
        code = int(self._items.codes([item])[0])
        return self._table(None, self._ranking.alike(code, min(k, self.n_items)))

    def explain(self, user: Id, item: Id, unknown: Unknown = "error") -> Explanation:
        """Why does the item have its score for this user? What each touched item contributes, with titles.

        Args:
            user: an id.
            item: an id; the user may have touched it.
            unknown: as in `recommend`; "popular" says how many users touched the item.

        Returns:
            What sums to what says `recommend.explain`.

        Raises:
            InputError: an unknown user or item, or a model that cannot be asked.
        """
        code = int(self._items.codes([item])[0])
        if unknown == "popular" and self._users.find([user])[1][0] < 0:
            return explain_popular(code, int(self.touched_by[code]), self.titles)
        who = self._users.codes([user])
        mine = self.seen.select(who)
        return explain_score(self._ranking.model, self.fold, mine, int(who[0]), code, self.titles, self.user_ids)

    def explain_for_items(self, history: Id | Iterable[Id], item: Id) -> Explanation:
        """The same for somebody who was not in training and touched these items.

        Raises:
            InputError: no item, an unknown one, or a model that cannot be asked.
        """
        mine = self._history("explain_for_items", history)
        code = int(self._items.codes([item])[0])
        return explain_score(self._ranking.model, self.fold, mine, None, code, self.titles, self.user_ids)

    @property
    def fold(self) -> HistoryModel:
        """The way from a history to scores; for two tables it is fitted when it is first asked for.

        Raises:
            InputError: the model has none.
        """
        return self._ranking.fold

    def _history(self, method: str, history: Id | Iterable[Id]) -> SeenItems:
        codes = np.unique(self._items.codes(history))
        if not len(codes):
            raise InputError(f"{method}: expected the ids of one item or more, got none")
        return SeenItems(np.array([0, len(codes)]), codes)

    def _allowed(self, filter_items: Iterable[Id] | None, items: Iterable[Id] | None) -> Tensor | None:
        """Which items may be recommended, bool [n_items]; None for all."""
        if filter_items is None and items is None:
            return None
        allow = torch.ones(self.n_items, dtype=torch.bool)
        if items is not None:
            allow[:] = False
            allow[torch.from_numpy(self._items.codes(items)).long()] = True
        if filter_items is not None:
            allow[torch.from_numpy(self._items.codes(filter_items)).long()] = False
        return allow

    def _table(self, users: pl.Series | None, lists: Pair) -> pl.DataFrame:
        items, scores = lists
        row, column = np.nonzero(items >= 0)
        known = self.titles[items[row, column]]
        columns = {
            "rank": pl.Series(column + 1, dtype=pl.Int32),
            "item": known.get_column("item"),
            "score": scores[row, column],
            "title": known.get_column("title"),
        }
        return pl.DataFrame(columns if users is None else {"user": users.gather(row), **columns})


def _check_k(method: str, k: int) -> None:
    if k < 1:
        raise InputError(f"{method}: expected k of 1 or more, got {k}")
