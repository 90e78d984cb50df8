"""Which items foretell each other, all at once? A linear model in closed form, dense in the items.

Steck, 2019, Embarrassingly shallow autoencoders for sparse data. With the items' counts G = X^T X,

    S = (G + l2 I)^-1,   W = I - S / diag(S),   diag(W) = 0
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from gnas_ext.errors import InputError
from gnas_ext.models.history import touched
from gnas_ext.models.matrix import interaction_matrix
from gnas_ext.ops.spmm import spmm

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from gnas_ext.data.interactions import Interactions
    from gnas_ext.graph.csr import CSR
    from gnas_ext.models.history import History

MAX_ITEMS = 20_000


@dataclass(frozen=True, eq=False)
class ItemWeights:
    """Scores an item by what each of the user's items says about it, in a dense table.

    Attributes:
        history: what each user touched, [n_users, n_items], int8 ones.
        weight: row i is what item i says about the others, [n_items, n_items], float32.
    """

    history: History
    weight: Tensor

    @property
    def n_users(self) -> int:
        """Users with a history, empty or not."""
        return int(self.history.shape[0])

    @property
    def n_items(self) -> int:
        """Items with weights."""
        return len(self.weight)

    def score(self, users: NDArray[np.int32]) -> Tensor:
        """Summed weights, [len(users), n_items], float32."""
        return self.score_history(touched(self.history, users))

    def score_history(self, mine: CSR) -> Tensor:
        """Summed weights of other histories, [mine.rows, n_items], float32."""
        return spmm(mine, self.weight)

    def size_bytes(self) -> int:
        """Bytes of the histories and the weights."""
        history = self.history
        return history.data.nbytes + history.indices.nbytes + history.indptr.nbytes + self.weight.nbytes


def fit_ease(
    train: Interactions, n_users: int, n_items: int, *, l2: float = 200.0, max_items: int = MAX_ITEMS
) -> ItemWeights:
    """Inverts the items' counts: items^3 steps, and twice items^2 floats at once (3.2 GB for 20,000).

    Args:
        train: the interactions; repeated pairs count once.
        n_users: users of the model.
        n_items: items of the model.
        l2: holds weights small, in users; above 0.
        max_items: more are refused.

    Raises:
        InputError: more items than that.
        ValueError: l2 not above 0.
    """
    if not 0 < l2 < np.inf:
        raise ValueError(f"fit_ease: expected l2 above 0, got {l2}")
    refuse_if_large(n_items, max_items)
    matrix = interaction_matrix(train, n_users, n_items)
    matrix.sort_indices()
    weight = torch.from_numpy((matrix.T @ matrix).toarray())
    weight.diagonal().add_(l2)
    weight = torch.cholesky_inverse(torch.linalg.cholesky(weight))
    weight /= -weight.diagonal().clone()
    weight.fill_diagonal_(0.0)
    return ItemWeights(matrix.astype(np.int8), weight)


def refuse_if_large(n_items: int, max_items: int = MAX_ITEMS) -> None:
    """InputError where a dense table of the items is too much."""
    if n_items > max_items:
        raise InputError(
            f"ease keeps a dense table of items x items: {n_items:,} items are {4 * n_items**2 / 1e9:.1f} GB, and at "
            f"most {max_items:,} are taken; slim is the same regression on each item's neighbours"
        )
