"""How good lists are. Relevance is binary: an item is held out for the user, or it is not.

The seven metrics of accuracy give one number a user, [n], float64; their mean is what is reported. In their formulas R
are the user's held-out items, and h[j] is 1 where the item at place j = 1 … k of the list is in R. The definitions are
those of ranx (Bassani, 2022) and, but for MRR and NDCG, of Manning, Raghavan and Schütze, 2008, Introduction to
Information Retrieval, chapter 8. A user with nothing held out counts 0; a list shorter than k counts as filled with
misses.

The metrics of the catalogue give one number for all lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gnas_ext.evaluate.seen import SeenItems

    PerUser = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Hits:
    """Lists beside what was held out: all that the metrics of accuracy need.

    Attributes:
        at: whether the item at this place of the user's list is held out, [n, K], bool.
        relevant: number of the user's held-out items, [n], int64.
    """

    at: NDArray[np.bool_]
    relevant: NDArray[np.int64]

    def first(self, k: int) -> NDArray[np.bool_]:
        """The first k places, [n, k]."""
        _check_k(k, self.at.shape[1])
        return self.at[:, :k]


def find_hits(ranked: NDArray[np.int32], held_out: SeenItems) -> Hits:
    """Finds the held-out items in the lists.

    Args:
        ranked: item codes, best first, no item twice in a row, -1 for no item, [n, K].
        held_out: row n belongs to row n of `ranked`.
    """
    if len(ranked) != held_out.n_users:
        raise ValueError(f"find_hits: expected held-out items for {len(ranked)} lists, got {held_out.n_users}")
    stride = max(int(ranked.max(initial=0)), int(held_out.items.max(initial=0))) + 1
    held = held_out.rows() * stride + held_out.items
    listed = np.arange(len(ranked))[:, None] * stride + ranked
    place = np.searchsorted(held, listed)
    at = (ranked >= 0) & (np.append(held, -1)[place] == listed)
    return Hits(at, held_out.counts)


def recall_at_k(hits: Hits, k: int) -> PerUser:
    """Share of the held-out items that is in the list: sum h / |R|."""
    return _found(hits, k) / np.maximum(hits.relevant, 1)


def precision_at_k(hits: Hits, k: int) -> PerUser:
    """Share of the list that is held out: sum h / k."""
    return _found(hits, k) / k


def f1_at_k(hits: Hits, k: int) -> PerUser:
    """Harmonic mean of the user's precision and recall: 2 sum h / (k + |R|)."""
    return 2 * _found(hits, k) / (k + hits.relevant)


def hit_rate_at_k(hits: Hits, k: int) -> PerUser:
    """1 where the list has a held-out item at all."""
    return (_found(hits, k) > 0).astype(np.float64)


def mrr_at_k(hits: Hits, k: int) -> PerUser:
    """Reciprocal rank: 1 / place of the first held-out item, 0 without one (Voorhees, 1999)."""
    place: NDArray[np.intp] = hits.first(k).argmax(axis=1) + 1
    return hit_rate_at_k(hits, k) / place


def map_at_k(hits: Hits, k: int) -> PerUser:
    """Average precision: sum over hits of the precision up to there, / |R| (also where |R| > k)."""
    first = hits.first(k)
    precision = first.cumsum(axis=1) / np.arange(1, k + 1)
    gain: PerUser = (precision * first).sum(axis=1)
    return gain / np.maximum(hits.relevant, 1)


def ndcg_at_k(hits: Hits, k: int) -> PerUser:
    """Gain h[j] / log2(j + 1), summed, over the same sum for a list that starts with min(k, |R|) hits.

    Järvelin and Kekäläinen, 2002, Cumulated gain-based evaluation of IR techniques, with binary gains.
    """
    discount = 1 / np.log2(np.arange(2, k + 2))
    gain: PerUser = hits.first(k) @ discount
    ideal: PerUser = discount.cumsum()[np.clip(hits.relevant, 1, k) - 1]
    return gain / ideal


def coverage_at_k(ranked: NDArray[np.int32], k: int, n_items: int) -> float:
    """Share of the catalogue that is in at least one list.

    Ge, Delgado-Battenfeld and Jannach, 2010, Beyond accuracy: evaluating recommender systems by coverage and
    serendipity.
    """
    return float((_times_listed(ranked, k, n_items) > 0).mean()) if n_items else 0.0


def novelty_at_k(ranked: NDArray[np.int32], k: int, popularity: NDArray[np.int64], n_users: int) -> float:
    """Mean surprise of what is listed, in bits: -log2 of the share of users who touched the item in training.

    Zhou et al., 2010, Solving the apparent diversity-accuracy dilemma of recommender systems. An item that nobody
    touched counts as touched by one user. 0 where nothing is listed.

    Args:
        ranked: [n, K].
        k: places looked at.
        popularity: users who touched each item in training, [n_items].
        n_users: users in training.
    """
    listed = _times_listed(ranked, k, len(popularity))
    if not listed.any():
        return 0.0
    surprise = np.log2(max(n_users, 1)) - np.log2(np.maximum(popularity, 1))
    return float(listed @ surprise / listed.sum())


def gini_at_k(ranked: NDArray[np.int32], k: int, n_items: int) -> float:
    """How unequally the lists treat the catalogue: 0 where all items are listed equally often, 1 where only one is.

    Shani and Gunawardana, 2011, Evaluating recommendation systems. 0 where nothing is listed.
    """
    listed = np.sort(_times_listed(ranked, k, n_items))
    if n_items < 2 or not listed[-1]:
        return 0.0
    return float((2 * np.arange(1, n_items + 1) - n_items - 1) @ listed / ((n_items - 1) * listed.sum()))


def _check_k(k: int, width: int) -> None:
    if not 1 <= k <= width:
        raise ValueError(f"expected k in 1 … {width}, the length of the lists, got {k}")


def _found(hits: Hits, k: int) -> PerUser:
    found: PerUser = hits.first(k).sum(axis=1, dtype=np.float64)
    return found


def _times_listed(ranked: NDArray[np.int32], k: int, n_items: int) -> NDArray[np.int64]:
    _check_k(k, ranked.shape[1])
    first = ranked[:, :k]
    return np.bincount(first[first >= 0], minlength=n_items)
