"""What everybody likes, ever or lately: the lists that every other model must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from gnas_ext.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from gnas_ext.data.interactions import Interactions, Seconds
    from gnas_ext.graph.csr import CSR

_DAY = 86_400.0


@dataclass(frozen=True, eq=False)
class Popularity:
    """Scores an item the same for every user.

    Attributes:
        weight: score of each item, [n_items], float32.
        n_users: users that it knows.
    """

    weight: Tensor
    n_users: int

    @property
    def n_items(self) -> int:
        """Items with a weight."""
        return len(self.weight)

    def score(self, users: NDArray[np.int32]) -> Tensor:
        """The weights, once a user, [len(users), n_items], float32."""
        return self.weight.repeat(len(users), 1)

    def score_history(self, mine: CSR) -> Tensor:
        """The weights, once a row, [mine.rows, n_items], float32."""
        return self.weight.repeat(mine.rows, 1)

    def size_bytes(self) -> int:
        """Bytes of the weights."""
        return self.weight.nbytes


def fit_popularity(train: Interactions, n_users: int, n_items: int) -> Popularity:
    """Scores an item by its number of interactions."""
    return Popularity(torch.from_numpy(_counts(train.item, n_items).astype(np.float32)), n_users)


def fit_recent_popularity(train: Interactions, n_users: int, n_items: int, *, share: float = 0.25) -> Popularity:
    """Scores an item by its interactions among the last `share` of all, equal ones by all their interactions.

    The weight is the place in that order, from 0 for the least popular items: exact, however large the counts.

    Raises:
        InputError: the log has no times.
        ValueError: the share is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"fit_recent_popularity: expected a share in (0, 1], got {share}")
    order = np.argsort(_times(train, "recent popularity"), kind="stable")
    recent = order[len(order) - round(share * len(order)) :]
    overall = _counts(train.item, n_items)
    pairs = _counts(train.item[recent], n_items) * (int(overall.max(initial=0)) + 1) + overall
    _, place = np.unique(pairs, return_inverse=True)
    return Popularity(torch.from_numpy(place.astype(np.float32)), n_users)


def fit_decayed_popularity(train: Interactions, n_users: int, n_items: int, *, half_life_days: float) -> Popularity:
    """Scores an item by its interactions, each worth half as much for every half-life that it is old.

    Raises:
        InputError: the log has no times.
        ValueError: the half-life is not positive.
    """
    counts = decayed_counts(train, n_items, half_life_days)
    return Popularity(torch.from_numpy(counts.astype(np.float32)), n_users)


def decayed_counts(interactions: Interactions, n_items: int, half_life_days: float) -> NDArray[np.float64]:
    """Interactions of each item, each worth 0.5 ** (age / half-life), [n_items]; age 0 is the last interaction.

    Raises:
        InputError: the log has no times.
        ValueError: the half-life is not positive, or an item code is n_items or more.
    """
    if not half_life_days > 0:
        raise ValueError(f"decayed_counts: expected half_life_days above 0, got {half_life_days}")
    times = _times(interactions, "a half-life")
    age = ((times.max() if len(times) else 0) - times) / _DAY
    return _counts(interactions.item, n_items, 0.5 ** (age / half_life_days))


def _times(interactions: Interactions, what: str) -> Seconds:
    if interactions.timestamp is None:
        raise InputError(f"{what} needs the times of the interactions, and this log has none; use plain popularity")
    return interactions.timestamp


def _counts(items: NDArray[np.int32], n_items: int, weight: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Sum of weights (or number) of each item, float64: exact up to 2**53."""
    counts = np.bincount(items, weight, minlength=n_items).astype(np.float64)
    if len(counts) > n_items:
        raise ValueError(f"expected item codes below n_items={n_items}, got {len(counts) - 1}")
    return counts
