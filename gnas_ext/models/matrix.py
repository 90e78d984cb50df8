"""Who touched what, as a sparse matrix of zeros and ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from gnas_ext.data.interactions import Interactions


def interaction_matrix(train: Interactions, n_users: int, n_items: int) -> sparse.csr_array[np.float32]:
    """The interactions as a matrix, [n_users, n_items], float32, 1 where there is at least one.

    Raises:
        ValueError: a code does not fit the shape.
    """
    for name, codes, size in (("user", train.user, n_users), ("item", train.item, n_items)):
        if len(codes) and not 0 <= int(codes.min()) <= int(codes.max()) < size:
            raise ValueError(
                f"interaction_matrix: expected {name} codes in 0 … {size - 1}, got {codes.min()} … {codes.max()}"
            )
    ones = np.ones(len(train), dtype=np.float32)
    matrix = sparse.csr_array((ones, (train.user, train.item)), shape=(n_users, n_items))
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix
