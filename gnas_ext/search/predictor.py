"""How good will a genotype be? A Gaussian process over its features, learnt from the finished trials.

Two genotypes are alike as far as their feature vectors point the same way. Losses are ranks, so that a single failure
or a skewed scale counts for no more than its place. How fast likeness wears off, and how noisy losses are, is chosen by
how well the ranks of trials that are left out are predicted; again whenever there are twice as many.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gnas_ext.search.features import Vector
    from gnas_ext.search.selection import Losses

    Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

# The likeness of vectors whose angle has the cosine c is exp((c - 1) / reach).
REACHES = (0.3, 1.0, 3.0)
NOISES = (0.03, 0.1, 0.3)
# From this many on, only the better half is learnt from further.
MOST = 512
# With fewer, a prediction says nothing.
LEAST = 8


class Predictor:
    """Learns from trials in order; the same trials in the same order make the same predictor.

    Attributes:
        correlation: of the ranks of losses with what the other trials predicted, when settings were last chosen.
    """

    def __init__(self) -> None:
        self._vectors: list[Vector] = []
        self._losses: list[Losses] = []
        # Features x trials, and the factor of their likeness; both with room for more.
        self._x: Array = np.zeros((64, 64))
        # Column by column, as LAPACK reads it.
        self._room: Array = np.zeros((64, 64), order="F")
        self._reach, self._noise = REACHES[1], NOISES[1]
        self._chosen_at = 0
        self.correlation = 0.0
        self._weights: Array | None = None

    def __len__(self) -> int:
        """How many trials it has learnt from."""
        return len(self._vectors)

    @property
    def _factor(self) -> Array:
        return self._room[: len(self), : len(self)]

    def learn(self, vector: Vector, losses: Losses) -> None:
        """Takes in the features and the losses of one trial."""
        from scipy.linalg import solve_triangular

        if len(self) + 1 >= MOST:
            self._forget()
        known = len(self)
        self._room = _with_room(self._room, known + 1, known + 1)
        like = self._likeness([vector])[0] if known else np.zeros(0)
        self._x = _with_room(self._x, int(vector.columns.max(initial=0)) + 1, known + 1)
        self._x[vector.columns, known] = vector.values
        across = solve_triangular(self._factor, like, lower=True, check_finite=False) if known else like
        self._room[known, :known] = across
        self._room[known, known] = math.sqrt(max(1.0 + self._noise - float(across @ across), 1e-9))
        self._vectors.append(vector)
        self._losses.append(losses)
        self._weights = None
        if len(self) >= 2 * self._chosen_at:
            self._choose()

    def predict(self, vectors: Sequence[Vector]) -> Array:
        """What losses to expect, one row a genotype and one column an objective, as normal scores of ranks."""
        from scipy.linalg import cho_solve

        if self._weights is None:
            self._weights = cho_solve((self._factor, True), normal_scores(self._losses), check_finite=False)
        return np.asarray(self._likeness(vectors) @ self._weights)

    def _choose(self) -> None:
        """Takes the settings under which trials that are left out are ranked best by the others."""
        from scipy.linalg import cho_solve, cholesky
        from scipy.linalg.lapack import dpotri

        count = len(self)
        target = normal_scores(self._losses)
        ranks = _ranks(self._losses)
        best = -np.inf
        for reach in REACHES:
            self._reach = reach
            likeness = self._likeness(self._vectors)
            for noise in NOISES:
                factor = cholesky(likeness + noise * np.eye(count), lower=True, check_finite=False)
                lower, _ = dpotri(factor, lower=1)
                weights = cho_solve((factor, True), target, check_finite=False)
                left_out = target - weights / np.diag(lower)[:, None]
                correlation = np.mean([_correlation(a, b) for a, b in zip(_ranks(left_out).T, ranks.T, strict=True)])
                if correlation > best:
                    best, chosen = float(correlation), (reach, noise)
                    self._room[:count, :count] = factor
        self._reach, self._noise = chosen
        self._chosen_at = count
        self.correlation = best

    def _forget(self) -> None:
        """Keeps the better half."""
        order = np.argsort(np.max(_ranks(self._losses), axis=1), kind="stable")
        kept = [int(place) for place in np.sort(order[: len(order) // 2])]
        self._x = np.ascontiguousarray(self._x[:, kept])
        self._vectors = [self._vectors[place] for place in kept]
        self._losses = [self._losses[place] for place in kept]
        self._choose()

    def _likeness(self, vectors: Sequence[Vector]) -> Array:
        """Of each vector to each trial."""
        # Their columns, also those that no trial has, in the order in which they come: so the bits do not depend on
        # what else was seen.
        columns = np.concatenate([vector.columns for vector in vectors])
        places = np.array(list(dict.fromkeys(columns.tolist())), dtype=np.int64)
        self._x = _with_room(self._x, int(places.max(initial=0)) + 1, len(self))
        place_of = np.empty(len(self._x), dtype=np.int64)
        place_of[places] = np.arange(len(places))
        dense = np.zeros((len(vectors), len(places)))
        rows = np.repeat(np.arange(len(vectors)), [len(vector.columns) for vector in vectors])
        dense[rows, place_of[columns]] = np.concatenate([vector.values for vector in vectors])
        likeness = dense @ self._x[places, : len(self)]
        likeness -= 1
        likeness /= self._reach
        return np.asarray(np.exp(likeness, out=likeness))


def _with_room(array: Array, rows: int, columns: int) -> Array:
    """The array, or a larger one that begins with it, with at least so many rows and columns."""
    if rows <= array.shape[0] and columns <= array.shape[1]:
        return array
    needed = zip(array.shape, (rows, columns), strict=True)
    order: Literal["C", "F"] = "C" if array.flags.c_contiguous else "F"
    larger = np.zeros([2 * need if need > have else have for have, need in needed], order=order)
    larger[: array.shape[0], : array.shape[1]] = array
    return larger


def normal_scores(losses: Sequence[Losses] | Array) -> Array:
    """Each column's ranks as quantiles of the normal distribution."""
    from scipy.special import ndtri

    return np.asarray(ndtri((_ranks(losses) - 0.5) / len(losses)))


def _ranks(losses: Sequence[Losses] | Array) -> Array:
    """Each column's ranks from 1 on, equal ones shared."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(np.asarray(losses, dtype=np.float64), axis=0))


def _correlation(a: Array, b: Array) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else 0.0
