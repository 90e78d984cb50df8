"""Which items each user touched: compressed rows, to leave out of a list or to judge it by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gnas_ext.data.interactions import Interactions


@dataclass(frozen=True, eq=False)
class SeenItems:
    """Items a user, sorted, each once.

    Attributes:
        indptr: the items of user u are `items[indptr[u]:indptr[u + 1]]`, [n_users + 1], int64.
        items: item codes, [indptr[-1]], int32.
    """

    indptr: NDArray[np.int64]
    items: NDArray[np.int32]

    @staticmethod
    def from_interactions(part: Interactions, n_users: int) -> SeenItems:
        """The items of users 0 … n_users-1; other users' interactions are left out."""
        kept = part.user < n_users
        # One integer a pair: sorting these sorts users, then items.
        stride = int(part.item.max(initial=0)) + 1
        pairs = np.sort(part.user[kept].astype(np.int64) * stride + part.item[kept])
        pairs = pairs[np.diff(pairs, prepend=-1) > 0]
        return SeenItems(_indptr(np.bincount(pairs // stride, minlength=n_users)), (pairs % stride).astype(np.int32))

    @property
    def n_users(self) -> int:
        """Rows."""
        return len(self.indptr) - 1

    @property
    def counts(self) -> NDArray[np.int64]:
        """Items a user, [n_users]."""
        return np.diff(self.indptr)

    def of(self, user: int) -> NDArray[np.int32]:
        """The items of one user, sorted; a view."""
        return self.items[self.indptr[user] : self.indptr[user + 1]]

    def select(self, users: NDArray[np.int32]) -> SeenItems:
        """The rows of the given users, in their order: row n of the result belongs to users[n]."""
        indptr = _indptr(self.counts[users])
        shift = np.repeat(self.indptr[users] - indptr[:-1], np.diff(indptr))
        return SeenItems(indptr, self.items[np.arange(indptr[-1]) + shift])

    def rows(self) -> NDArray[np.int64]:
        """The user of each entry of `items`, [len(items)]."""
        return np.repeat(np.arange(self.n_users), self.counts)


def _indptr(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts, dtype=np.int64)])
