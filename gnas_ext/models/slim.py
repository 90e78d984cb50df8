"""Which few items, weighed how, foretell an item? A sparse linear model.

Ning and Karypis, 2011, SLIM: Sparse Linear Methods for top-N recommender systems, in its form with feature selection
(fsSLIM): the column of an item may weigh only the items that share most users with it, by cosine. With the columns X of
those, and y of the item,

    minimise over w:  1/2 |y - X w|^2  +  l2 / 2 |w|^2  +  l1 |w|_1,   w >= 0 where wanted

Without l1 and bound that is the regression of EASE^R (Steck, 2019) on the chosen items alone: one small linear system.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gnas_ext.models.itemknn import ItemKNN
from gnas_ext.models.matrix import interaction_matrix
from gnas_ext.models.systems import solve_each
from gnas_ext.models.walk import fit_walk

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse
    from torch import Tensor

    from gnas_ext.data.interactions import Interactions

# Floats of the small systems that are solved at once: 32 MB.
_BLOCK_FLOATS = 8 << 20
_SWEEPS = 50
_STILL = 1e-5
# Seconds after which it is clear how long the rest takes.
_TELLING = 5.0


def fit_slim(
    train: Interactions,
    n_users: int,
    n_items: int,
    *,
    neighbours: int = 100,
    l1: float = 0.0,
    l2: float = 100.0,
    positive: bool = False,
    seconds: float = math.inf,
) -> ItemKNN:
    """Solves for the weights of each item, on the neighbours that foretell it.

    Args:
        train: the interactions; repeated pairs count once.
        n_users: users of the model.
        n_items: items of the model.
        neighbours: items that one item's column may weigh.
        l1: pulls weights to zero, in users.
        l2: holds weights small, in users; above 0.
        positive: no weight below zero, as SLIM has it.
        seconds: that solving may take; whether it does shows after its first systems.

    Raises:
        TimeoutError: it would take longer than `seconds`.
        ValueError: neighbours below 1, l1 below 0, or l2 not above 0.
    """
    if neighbours < 1 or not l1 >= 0 or not 0 < l2 < np.inf:
        raise ValueError(f"fit_slim: expected neighbours >= 1, l1 >= 0 and l2 > 0, got {neighbours}, {l1} and {l2}")
    # The cosine of two items is a walk between them.
    near = fit_walk(train, n_users, n_items, source=0.5, user=0.0, target=0.5, neighbours=neighbours)
    matrix = interaction_matrix(train, n_users, n_items)
    counts = np.diff(near.similarity.indptr)
    # Items with as many candidates stand together: their systems are of one size. The largest, which are most of the
    # work, come first, and tell how long the rest takes.
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    together = (matrix.T @ matrix).tocsr()
    together.sort_indices()
    weight = np.zeros(len(near.similarity.data), dtype=np.float32)
    watch = _Watch(int((counts.astype(np.int64) ** 2).sum()), seconds)
    for some in _of_one_size(order, counts):
        place = near.similarity.indptr[some][:, None] + np.arange(counts[some[0]])
        chosen = near.similarity.indices[place]
        gram = torch.from_numpy(_among(together, chosen))
        wanted = torch.from_numpy(_entries(together, chosen, some[:, None]))
        gram.diagonal(dim1=1, dim2=2).add_(l2)
        weight[place] = _solve(gram, wanted, l1, positive).numpy()
        watch.done(gram.numel())
    # Candidates stand in rows; what foretells an item is its column.
    similarity = near.similarity.copy()
    similarity.data = weight
    columns = similarity.T.tocsr()
    columns.eliminate_zeros()
    columns.sort_indices()
    return ItemKNN(near.history, columns)


class _Watch:
    """Ends what would take too long, as soon as that shows.

    Args:
        work: in all, in entries of systems.
        seconds: that it may take.
    """

    def __init__(self, work: int, seconds: float) -> None:
        self._work, self._done, self._seconds = work, 0, seconds
        self._began = time.monotonic()

    def done(self, work: int) -> None:
        """So much more is.

        Raises:
            TimeoutError: at this rate, all of it takes too long.
        """
        self._done += work
        passed = time.monotonic() - self._began
        # At first a rate says little: what is called for the first time is slow.
        if self._done == self._work or passed < min(_TELLING, self._seconds / 20):
            return
        whole = passed * self._work / self._done
        if whole > self._seconds:
            raise TimeoutError(
                f"fit_slim: this would take {whole:,.0f} s, and may take {self._seconds:,.0f}; take fewer neighbours, "
                "or l1=0 with positive=False, which is solved directly"
            )


def _of_one_size(order: NDArray[np.int64], counts: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The items in blocks, each of items with equally many candidates, no larger than memory allows."""
    blocks = []
    for group in np.split(order, np.flatnonzero(np.diff(counts[order])) + 1):
        if len(group):
            step = max(1, _BLOCK_FLOATS // int(counts[group[0]]) ** 2)
            blocks += [group[first : first + step] for first in range(0, len(group), step)]
    return blocks


def _among(matrix: sparse.csr_array[np.float32], chosen: NDArray[Any]) -> NDArray[np.float32]:
    """Entries of a symmetric matrix, each block's chosen rows by chosen columns, [blocks, count, count].

    One half is looked up, which is what takes long.
    """
    count = chosen.shape[1]
    row, column = np.triu_indices(count)
    half = _entries(matrix, chosen[:, row], chosen[:, column])
    whole = np.empty((len(chosen), count, count), dtype=np.float32)
    whole[:, row, column] = half
    whole[:, column, row] = half
    return whole


def _entries(matrix: sparse.csr_array[np.float32], row: NDArray[Any], col: NDArray[Any]) -> NDArray[np.float32]:
    """Entries of a matrix with sorted columns, at broadcast places; 0 where there is none."""
    row, col = np.broadcast_arrays(row, col)
    picked: NDArray[np.float32] = np.asarray(matrix[row.ravel(), col.ravel()], dtype=np.float32)
    return picked.reshape(row.shape)


def _solve(gram: Tensor, wanted: Tensor, l1: float, positive: bool) -> Tensor:
    """The best weights of each system, [items, neighbours]: directly, or by cyclic coordinate descent."""
    if l1 == 0 and not positive:
        return solve_each(gram, wanted)
    weight = torch.zeros_like(wanted)
    diagonal = gram.diagonal(dim1=1, dim2=2)
    for _ in range(_SWEEPS):
        moved = 0.0
        for place in range(weight.shape[1]):
            old = weight[:, place].clone()
            pull = wanted[:, place] - (gram[:, place] * weight).sum(1) + diagonal[:, place] * old
            shrunk = (pull.abs() - l1).clamp_(min=0) * pull.sign()
            weight[:, place] = (shrunk.clamp_(min=0) if positive else shrunk) / diagonal[:, place]
            moved = max(moved, float((weight[:, place] - old).abs().max()))
        if moved < _STILL:
            break
    return weight
