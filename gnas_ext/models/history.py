"""What did each user touch? The rows that history-based models multiply."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import torch

from gnas_ext.graph.csr import CSR, Structure

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from scipy import sparse

    History: TypeAlias = "sparse.csr_array[np.int8]"


def touched(history: History, users: NDArray[np.int32] | None = None) -> CSR:
    """Rows of a history as a graph without weights, [len(users), n_items]; all of them by default.

    Raises:
        RuntimeError: a user has no row.
    """
    structure = Structure(torch.from_numpy(history.indptr), torch.from_numpy(history.indices), None)
    whole = CSR._unchecked(structure, None, history.shape, {})
    return whole if users is None else whole.select_rows(torch.from_numpy(users))
