"""What goes together: items liked by the same users (Deshpande and Karypis, 2004, Item-based top-N recommendation)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from scipy import sparse

from gnas_ext.models.largest import largest
from gnas_ext.models.matrix import interaction_matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from gnas_ext.data.interactions import Interactions
    from gnas_ext.graph.csr import CSR

# Bytes of a block of similarities: items x items never stands in memory.
_BLOCK_BYTES = 24 << 20


@dataclass(frozen=True, eq=False)
class ItemKNN:
    """Scores an item by its similarity to what the user touched, summed over the user's items.

    Attributes:
        history: what each user touched, [n_users, n_items], int8 ones.
        similarity: the nearest neighbours of each item, [n_items, n_items], float32, no diagonal.
    """

    history: sparse.csr_array[np.int8]
    similarity: sparse.csr_array[np.float32]

    @property
    def n_users(self) -> int:
        """Users with a history, empty or not."""
        return int(self.history.shape[0])

    @property
    def n_items(self) -> int:
        """Items with a list of neighbours, empty or not."""
        return int(self.similarity.shape[0])

    def score(self, users: NDArray[np.int32]) -> Tensor:
        """Summed similarities, [len(users), n_items], float32."""
        return self._summed(self.history[users])

    def score_history(self, mine: CSR) -> Tensor:
        """Summed similarities of other histories, [mine.rows, n_items], float32."""
        ones = np.ones(mine.nnz, dtype=np.int8)
        return self._summed(sparse.csr_array((ones, mine.indices.numpy(), mine.indptr.numpy()), shape=mine.shape))

    def size_bytes(self) -> int:
        """Bytes of both sparse matrices: values, columns and row pointers."""
        return sum(
            part.nbytes
            for matrix in (self.history, self.similarity)
            for part in (matrix.data, matrix.indices, matrix.indptr)
        )

    def _summed(self, history: sparse.csr_array[np.int8]) -> Tensor:
        summed = cast("sparse.csr_array[np.float32]", history @ self.similarity)
        return torch.from_numpy(summed.toarray())


def fit_item_knn(
    train: Interactions, n_users: int, n_items: int, *, neighbours: int = 100, shrinkage: float = 10.0
) -> ItemKNN:
    """Finds each item's nearest neighbours by cosine with shrinkage.

    similarity(i, j) = users of both / (sqrt(users of i * users of j) + shrinkage)

    Args:
        train: the interactions; repeated pairs count once.
        n_users: users of the model.
        n_items: items of the model.
        neighbours: kept per item; of equally similar ones those with the smaller code.
        shrinkage: in users: how much a similarity that few users vouch for is held down.
    """
    if neighbours < 1 or not shrinkage >= 0:
        raise ValueError(f"fit_item_knn: expected neighbours >= 1 and shrinkage >= 0, got {neighbours} and {shrinkage}")
    history = interaction_matrix(train, n_users, n_items)
    touched_by = history.T.tocsr()
    norm = np.sqrt(np.diff(touched_by.indptr)).astype(np.float32)
    step = max(1, _BLOCK_BYTES // (4 * max(1, n_items)))
    blocks = []
    for first in range(0, n_items, step):
        together = touched_by[first : first + step] @ history
        item = first + np.repeat(np.arange(together.shape[0]), np.diff(together.indptr))
        together.data /= norm[item] * norm[together.indices] + np.float32(shrinkage)
        together.data[item == together.indices] = 0.0
        values, columns = largest(torch.from_numpy(together.toarray()), min(neighbours, n_items))
        blocks.append(_rows(values.numpy(), columns.numpy(), n_items))
    return ItemKNN(history.astype(np.int8), cast("sparse.csr_array[np.float32]", sparse.vstack(blocks, format="csr")))


def _rows(values: NDArray[np.float32], columns: NDArray[np.int64], n_items: int) -> sparse.csr_array[np.float32]:
    """Lists of neighbours as sparse rows, without those of similarity zero, columns in order."""
    kept = values > 0
    # int32, or SciPy makes the indices int64 too.
    indptr = np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(np.int32)
    block = cast(
        "sparse.csr_array[np.float32]",
        sparse.csr_array((values[kept], columns[kept].astype(np.int32), indptr), shape=(len(values), n_items)),
    )
    block.sort_indices()
    return block
