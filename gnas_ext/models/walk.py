"""Where does a short walk from the user's items end? Three steps over the graph, popular ends held down, few kept.

Paudel, Christoffel, Newell and Bernstein, 2017, Updatable, accurate, diverse, and scalable recommendations for
interactive applications (RP3beta); its item–item form:

    W[i, j] = sum over users v of (1 / d_i)^source (1 / d_v)^user (1 / d_j)^target,   then W^power, the largest kept

RP3beta is source = user = alpha, target = beta; `normalize` then brings each row to a sum of 1, as the implementation
of Ferrari Dacrema et al., 2021, A troubling analysis of reproducibility and progress in recommender systems research,
may. Turbo-CF's linear filter (Park et al., 2024) is source = target = 1 - alpha, user = 2 alpha, with its power.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse

from gnas_ext.graph.csr import CSR
from gnas_ext.graph.product import spspmm_topk
from gnas_ext.models.graph_filter import degrees
from gnas_ext.models.history import touched
from gnas_ext.models.itemknn import ItemKNN
from gnas_ext.models.matrix import interaction_matrix

if TYPE_CHECKING:
    from gnas_ext.data.interactions import Interactions


def fit_rp3beta(
    train: Interactions,
    n_users: int,
    n_items: int,
    *,
    alpha: float = 1.0,
    beta: float = 0.6,
    neighbours: int = 100,
    normalize: bool = False,
) -> ItemKNN:
    """The walk of RP3beta.

    Args:
        train: the interactions; repeated pairs count once.
        n_users: users of the model.
        n_items: items of the model.
        alpha: power of each step's probability.
        beta: how much popular items are held down.
        neighbours: kept per item.
        normalize: as in `fit_walk`.

    Raises:
        ValueError: neighbours below 1, or a power that is not finite.
    """
    return fit_walk(
        train, n_users, n_items, source=alpha, user=alpha, target=beta, neighbours=neighbours, normalize=normalize
    )


def fit_walk(
    train: Interactions,
    n_users: int,
    n_items: int,
    *,
    source: float,
    user: float,
    target: float,
    power: float = 1.0,
    neighbours: int = 100,
    keep_self: bool = False,
    normalize: bool = False,
) -> ItemKNN:
    """The walk with a power for each node that it passes.

    Args:
        train: the interactions; repeated pairs count once.
        n_users: users of the model.
        n_items: items of the model.
        source: power of the degree of the item that it starts from.
        user: power of the degree of the user between.
        target: power of the degree of the item that it ends at.
        power: of each entry of W, above 0.
        neighbours: kept per item; of equal ones those with the smaller code.
        keep_self: whether an item is among its own neighbours.
        normalize: whether what is kept of an item is brought to a sum of 1, so that every touched item says as much.

    Raises:
        ValueError: neighbours below 1, power not above 0, or a power that is not finite.
    """
    if neighbours < 1 or not power > 0 or not np.isfinite([source, user, target, power]).all():
        raise ValueError(
            "fit_walk: expected neighbours >= 1, power above 0 and finite powers, got "
            f"{neighbours}, {power}, and {source}, {user}, {target}"
        )
    matrix = interaction_matrix(train, n_users, n_items)
    matrix.sort_indices()
    history = matrix.astype(np.int8)
    user_degree, item_degree = degrees(history)
    entries = touched(history)
    users, items = entries.row_index().long(), entries.indices.long()
    to_users = CSR(entries.indptr, entries.indices, item_degree[items] ** -source, entries.shape).t()
    to_items = entries.with_weight(user_degree[users] ** -user * item_degree[items] ** -target)
    walk = spspmm_topk(to_users, to_items, min(neighbours, n_items), exclude_diagonal=not keep_self)
    assert walk.weight is not None
    weight = walk.weight if power == 1 else walk.weight**power
    if normalize:
        of_row = walk.row_index().long()
        weight = weight / torch.zeros(n_items).index_add_(0, of_row, weight)[of_row]
    parts = (weight.numpy(), walk.indices.numpy(), walk.indptr.numpy())
    similarity = sparse.csr_array(parts, shape=walk.shape)
    similarity.sort_indices()
    return ItemKNN(history, similarity)
