"""Whom is to be recommended what? Ids in, a table of items with their titles out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from gnas_ext.errors import InputError
from gnas_ext.evaluate.rank import top_k_scores
from gnas_ext.recommend.ids import IdTable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gnas_ext.evaluate.seen import SeenItems
    from gnas_ext.models.base import Model
    from gnas_ext.recommend.ids import Id
    from gnas_ext.recommend.manifest import Manifest


class Recommender:
    """A trained model together with the ids of its log; `load` makes one.

    Args:
        model: scores by code.
        user_ids: the id behind each user code, [n_users].
        titles: an item a row in code order: columns `item`, `title`, `genres`; null where they are not known.
        seen: training items of each user.
        manifest: what the artefact says about itself.
    """

    def __init__(
        self, *, model: Model, user_ids: pl.Series, titles: pl.DataFrame, seen: SeenItems, manifest: Manifest
    ) -> None:
        self.model = model
        self.seen = seen
        self.titles = titles
        self.manifest = manifest
        self._users = IdTable(user_ids, "user")

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

    def recommend(self, users: Id | Iterable[Id], k: int = 20, exclude_seen: bool = True) -> pl.DataFrame:
        """The k best items for each user.

        Args:
            users: an id or several, as in the log. 7 also finds the string id "7", and "7" the number 7.
            k: items a user; there are fewer where the catalogue, or what the user has not seen of it, is smaller.
            exclude_seen: leave out what the user has touched in training.

        Returns:
            A row an item: `user` and `item` in the log's own types, `rank` from 1 (Int32), `score` (Float32; higher
            is better, comparable within a user), `title` (null where it is not known). Users in the order given,
            items from best to worst, equal scores in order of code.

        Raises:
            InputError: an unknown user, or k below 1.
        """
        if k < 1:
            raise InputError(f"recommend: expected k of 1 or more, got {k}")
        codes = self._users.codes(users)
        seen = self.seen if exclude_seen else None
        items, scores = top_k_scores(self.model, codes, min(k, self.n_items), seen)
        user, column = np.nonzero(items >= 0)
        chosen = items[user, column]
        known = self.titles[chosen]
        return pl.DataFrame(
            {
                "user": self.user_ids.gather(codes[user]),
                "rank": pl.Series(column + 1, dtype=pl.Int32),
                "item": known.get_column("item"),
                "score": scores[user, column],
                "title": known.get_column("title"),
            }
        )
