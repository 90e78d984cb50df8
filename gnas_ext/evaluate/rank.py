"""Which k items each user gets: all items are ranked, in blocks of users, never users x items at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from gnas_ext.errors import InputError
from gnas_ext.graph.csr import CSR
from gnas_ext.models.base import Ranker
from gnas_ext.models.largest import largest

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from gnas_ext.evaluate.seen import SeenItems
    from gnas_ext.models.base import Model

# Bytes of a block of scores. Below 32 MB malloc gives the same memory again; above, each block is mapped anew.
_BLOCK_BYTES = 24 << 20
# Users at once for a model that ranks by itself: the call's own cost is lost in so many, and lists are small.
_RANKED_AT_ONCE = 8192


def top_k(
    model: Model,
    users: NDArray[np.int32],
    k: int,
    seen: SeenItems | None = None,
    block: int = 1024,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.int32]:
    """The items of `top_k_scores`, without their scores."""
    return top_k_scores(model, users, k, seen, block, progress)[0]


def top_k_scores(
    model: Model,
    users: NDArray[np.int32],
    k: int,
    seen: SeenItems | None = None,
    block: int = 1024,
    progress: Callable[[int], None] | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Ranks all items for each user and keeps the first k.

    Of equal scores the smaller item code comes first, so a list repeats exactly. A score of -inf means "never". A model
    that is a `Ranker`, as all with two tables of rows, is asked for its best items; of any other all scores are sorted.

    Args:
        model: what scores.
        users: codes of the users, [n]; any order, repeats allowed. Those without training items are ranked like others.
        k: length of the lists; may exceed the number of items.
        seen: items to leave out; a row for each of the model's users. Items that the model does not know are ignored.
        block: users scored at once at most; fewer where the catalogue is large (24 MB of scores). A Ranker gets 8,192.
        progress: called after each block with the number of users in it.

    Returns:
        Item codes, best first, [n, k], int32, and their scores, [n, k], float32; -1 and -inf where no item is left.

    Raises:
        InputError: the model scores a user with NaN.
        ValueError: k or block below 1, or a user code that the model or `seen` does not have.
    """
    if k < 1 or block < 1:
        raise ValueError(f"top_k: expected k and block of at least 1, got k={k}, block={block}")
    known = model.n_users if seen is None else min(model.n_users, seen.n_users)
    if len(users) and not 0 <= int(users.min()) <= int(users.max()) < known:
        raise ValueError(f"top_k: expected user codes in 0 … {known - 1}, got {users.min()} … {users.max()}")
    ranked = np.full((len(users), k), -1, dtype=np.int32)
    values = np.full((len(users), k), -np.inf, dtype=np.float32)
    if not model.n_items:
        return ranked, values
    step = max(1, min(block, _BLOCK_BYTES // (4 * model.n_items)))
    if isinstance(model, Ranker):
        step = _RANKED_AT_ONCE
    for first in range(0, len(users), step):
        some = users[first : first + step]
        exclude = None if seen is None else _excluded(seen.select(some), model.n_items)
        scores, items = _best(model, some, min(k, model.n_items), exclude)
        rows = slice(first, first + len(some))
        ranked[rows, : items.shape[1]] = items.numpy()
        values[rows, : items.shape[1]] = scores.numpy()
        if progress is not None:
            progress(len(some))
    return ranked, values


def _best(model: Model, users: NDArray[np.int32], k: int, exclude: CSR | None) -> tuple[Tensor, Tensor]:
    if isinstance(model, Ranker):
        try:
            return model.best(users, k, exclude)
        except ValueError:
            # All that can be wrong by now is a NaN: the scores say whose.
            for user in range(len(users)):
                _checked_scores(model, users[user : user + 1])
            raise
    scores = _checked_scores(model, users)
    if exclude is not None:
        scores[exclude.row_index().long(), exclude.indices.long()] = -torch.inf
    values, items = largest(scores, k)
    return values, items.masked_fill_(values == -torch.inf, -1)


def _excluded(mine: SeenItems, n_items: int) -> CSR:
    """What each user has seen of the items that there are, as a graph."""
    indptr, items = mine.indptr, mine.items
    known = items < n_items
    if not known.all():
        indptr = np.concatenate([[0], np.cumsum(known)])[indptr]
        items = items[known]
    return CSR(torch.from_numpy(indptr), torch.from_numpy(items.astype(np.int64)), None, (mine.n_users, n_items))


def _checked_scores(model: Model, users: NDArray[np.int32]) -> Tensor:
    scores = model.score(users)
    if scores.shape != (len(users), model.n_items) or scores.dtype != torch.float32:
        raise ValueError(
            f"top_k: expected {type(model).__name__}.score to return float32 [{len(users)}, {model.n_items}], "
            f"got {scores.dtype} {list(scores.shape)}"
        )
    # A maximum keeps NaN, and is several times as fast as isnan on every score.
    nan = scores.amax(1).isnan()
    if nan.any():
        raise InputError(
            f"{type(model).__name__} scores user {users[int(nan.nonzero()[0])]} with NaN: "
            "its numbers are not finite; did training diverge?"
        )
    return scores
