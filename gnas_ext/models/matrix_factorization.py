"""Two tables whose product is the log: implicit alternating least squares.

Hu, Koren and Volinsky, 2008, Collaborative Filtering for Implicit Feedback Datasets, in the form of Rendle, Krichene,
Zhang and Koren, 2022, Revisiting the Performance of iALS on Item Recommendation Benchmarks:

    sum over seen (u, i) of (1 - <u, i>)^2  +  unseen_weight * sum over all (u, i) of <u, i>^2
    +  regularization * sum over rows r of |r|^2
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from gnas_ext.models.factors import FactorModel, Table
from gnas_ext.models.matrix import interaction_matrix
from gnas_ext.models.systems import solve_each

if TYPE_CHECKING:
    from scipy import sparse
    from torch import Tensor

    from gnas_ext.data.interactions import Interactions

# Floats gathered at once: 64 MB.
_BLOCK_FLOATS = 16 << 20


def fit_matrix_factorization(
    train: Interactions,
    n_users: int,
    n_items: int,
    *,
    dim: int = 64,
    unseen_weight: float = 0.01,
    regularization: float = 3.0,
    iterations: int = 10,
    seed: int = 0,
) -> FactorModel:
    """Solves for users and items in turns, each exactly.

    Args:
        train: the interactions; repeated pairs count once.
        n_users: users of the model; a row without interactions is zero.
        n_items: items of the model; likewise.
        dim: floats a row.
        unseen_weight: how much a pair that was not seen pulls its score to zero, beside 1 for a seen pair.
        regularization: how much rows are held small.
        iterations: turns, users and items each.
        seed: of the item table that the first turn starts from. The same seed gives the same model.
    """
    if dim < 1 or iterations < 1 or not unseen_weight >= 0 or not regularization > 0:
        raise ValueError(
            "fit_matrix_factorization: expected dim >= 1, iterations >= 1, unseen_weight >= 0 and regularization > 0, "
            f"got {dim}, {iterations}, {unseen_weight} and {regularization}"
        )
    of_user = interaction_matrix(train, n_users, n_items)
    of_item = of_user.T.tocsr()
    items = torch.randn(n_items, dim, generator=torch.Generator().manual_seed(seed)) * (0.1 / dim**0.5)
    users = torch.zeros(n_users, dim)
    for _ in range(iterations):
        users = _solve(of_user, items, unseen_weight, regularization)
        items = _solve(of_item, users, unseen_weight, regularization)
    return FactorModel(Table(users), Table(items))


def _solve(seen: sparse.csr_array[np.float32], other: Tensor, unseen_weight: float, regularization: float) -> Tensor:
    """The best rows [rows, dim] for the given other side [cols, dim]: one small linear system a row."""
    rows, dim = seen.shape[0], other.shape[1]
    gram = unseen_weight * (other.T @ other)
    gram.diagonal().add_(regularization)
    counts = np.diff(seen.indptr)
    # Rows of like length stand together, so that padding them to one length costs little.
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    padded = torch.cat([other, other.new_zeros(1, dim)])
    solved = other.new_zeros(rows, dim)
    first = 0
    while first < len(order):
        longest = int(counts[order[first]])
        block = order[first : first + max(1, _BLOCK_FLOATS // (dim * max(longest, dim)))]
        place = np.arange(longest)
        inside = place < counts[block, None]
        index = np.full(inside.shape, len(other), dtype=np.int64)
        index[inside] = seen.indices[(seen.indptr[block, None] + place)[inside]]
        near = padded[torch.from_numpy(index)]
        system = torch.baddbmm(gram.expand(len(block), dim, dim), near.mT, near)
        solved[torch.from_numpy(block)] = solve_each(system, near.sum(1))
        first += len(block)
    return solved
