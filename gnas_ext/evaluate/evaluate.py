"""What a model is worth on held-out interactions.

Judged are the users with at least one training interaction and at least one held-out one. All their held-out items
count, also items that the model cannot recommend because nobody touched them in training: these are missed. What a user
touched in training is left out of the user's list.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from gnas_ext.errors import InputError
from gnas_ext.evaluate import metrics
from gnas_ext.evaluate.rank import top_k
from gnas_ext.evaluate.seen import SeenItems

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from gnas_ext.data.interactions import Interactions
    from gnas_ext.models.base import Model

_ACCURACY: dict[str, Callable[[metrics.Hits, int], NDArray[np.float64]]] = {
    "recall": metrics.recall_at_k,
    "ndcg": metrics.ndcg_at_k,
    "precision": metrics.precision_at_k,
    "f1": metrics.f1_at_k,
    "mrr": metrics.mrr_at_k,
    "map": metrics.map_at_k,
    "hit_rate": metrics.hit_rate_at_k,
}


def evaluate(
    model: Model,
    train: Interactions,
    target: Interactions,
    ks: Sequence[int] = (20,),
    *,
    block: int = 1024,
    progress: Callable[[int], None] | None = None,
) -> dict[str, float]:
    """Ranks all items for all judged users and measures the lists.

    Args:
        model: what scores.
        train: all that the model may know: for the test, training and validation together.
        target: what is held out.
        ks: lengths of the lists; may exceed the number of items.
        block: users scored at once at most.
        progress: called after each block with the number of users in it.

    Returns:
        "recall@20", "ndcg@20", "precision@20", "f1@20", "mrr@20", "map@20", "hit_rate@20" (means over users),
        "coverage@20", "novelty@20" and "gini@20", and the same for each other k.

    Raises:
        InputError: there is nobody to judge, or the model scores with NaN.
        ValueError: no k, or one below 1.
    """
    return evaluate_with_spread(model, train, target, ks, block=block, progress=progress)[0]


def evaluate_with_spread(
    model: Model,
    train: Interactions,
    target: Interactions,
    ks: Sequence[int] = (20,),
    *,
    block: int = 1024,
    progress: Callable[[int], None] | None = None,
) -> tuple[dict[str, float], dict[str, float]]:
    """The figures of `evaluate`, and the standard error of those that are means over users, NaN for a single user.

    It says how far a mean may be off because these users were judged and not others like them; another seed of
    training is another matter.
    """
    if not ks or min(ks) < 1:
        raise ValueError(f"evaluate: expected list lengths ks of at least 1, got {list(ks)}")
    users = judged_users(model.n_users, train, target)
    if not len(users):
        raise InputError(_nobody(model.n_users, train, target))
    seen = SeenItems.from_interactions(train, model.n_users)
    held_out = SeenItems.from_interactions(target, model.n_users).select(users)
    ranked = top_k(model, users, max(ks), seen, block, progress)
    hits = metrics.find_hits(ranked, held_out)
    popularity = np.bincount(seen.items, minlength=model.n_items)[: model.n_items]
    training_users = int(np.count_nonzero(seen.counts))
    measured: dict[str, float] = {}
    spread: dict[str, float] = {}
    for k in ks:
        for name, metric in _ACCURACY.items():
            values = metric(hits, k)
            measured[f"{name}@{k}"] = float(values.mean())
            spread[f"{name}@{k}"] = float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else math.nan
        measured[f"coverage@{k}"] = metrics.coverage_at_k(ranked, k, model.n_items)
        measured[f"novelty@{k}"] = metrics.novelty_at_k(ranked, k, popularity, training_users)
        measured[f"gini@{k}"] = metrics.gini_at_k(ranked, k, model.n_items)
    return measured, spread


def judged_users(n_users: int, train: Interactions, target: Interactions) -> NDArray[np.int32]:
    """Users below n_users with a training and a held-out interaction, in order, int32."""
    both = (np.bincount(part.user, minlength=n_users)[:n_users] > 0 for part in (train, target))
    return np.flatnonzero(np.logical_and(*both)).astype(np.int32)


def _nobody(n_users: int, train: Interactions, target: Interactions) -> str:
    if not len(target):
        return "nobody to evaluate: no interactions are held out; hold out a larger share of the log"
    return (
        f"nobody to evaluate: none of the {len(np.unique(target.user))} users with held-out interactions is among the "
        f"{len(np.unique(train.user[train.user < n_users]))} with training interactions; hold out a smaller share of "
        "the log, or split it by user"
    )
