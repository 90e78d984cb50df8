"""How does a log become a graph? Users are rows, items are columns, and each touch is an edge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from gnas_ext.graph.csr import CSR
from gnas_ext.graph.normalize import normalize

if TYPE_CHECKING:
    from numpy.typing import NDArray


def bipartite(
    user: NDArray[np.int32],
    item: NDArray[np.int32],
    n_users: int,
    n_items: int,
    weight: NDArray[np.float32] | None = None,
    user_exponent: float = 0.5,
    item_exponent: float = 0.5,
) -> CSR:
    """The normalised graph of who touched what.

    Args:
        user: [n], int32, the user of each touch.
        item: [n], int32, its item.
        n_users: users; codes are below it.
        n_items: items; likewise.
        weight: [n], float32, how much a touch counts, 0 or more; None for 1.
        user_exponent: an edge is divided by its user's weighted degree, 1 at least, to this power.
        item_exponent: and by its item's to this one; 0.5 and 0.5 is LightGCN (He et al., 2020).

    Returns:
        Shape [n_users, n_items], float32 weights, int32 indices. `spmm(graph, items)` carries what items know to
        users, `spmm(graph.t(), users)` the other way.
    """
    values = torch.ones(len(user)) if weight is None else torch.from_numpy(weight)
    touched = CSR.from_coo(torch.from_numpy(user), torch.from_numpy(item), values, (n_users, n_items))
    # Where all edges have faded the degree is near zero, and dividing by it would make old news loud again.
    return normalize(touched, user_exponent, item_exponent, least_degree=1.0)


def decay(timestamp: NDArray[np.int64], half_life_days: float) -> NDArray[np.float32]:
    """What is left of a touch at the time of the last one: 0.5 ** (age / half-life), [n], float32.

    Args:
        timestamp: [n], Unix seconds.
        half_life_days: days after which a touch counts half; math.inf for no decay.
    """
    age_days: NDArray[np.float64] = (timestamp.max() - timestamp) / 86_400
    return np.exp2(-age_days / half_life_days).astype(np.float32)
