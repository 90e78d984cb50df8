"""What must a found model beat? Classics without a graph, and plain LightGCN trained by the same code."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

from gnas_ext.data.interactions import n_items, n_users
from gnas_ext.evaluate.evaluate import evaluate
from gnas_ext.models.itemknn import fit_item_knn
from gnas_ext.models.popularity import fit_decayed_popularity, fit_popularity, fit_recent_popularity
from gnas_ext.search.recommender import Objective, lightgcn_recipes, recommender_space
from gnas_ext.search.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gnas_ext.data.interactions import Split
    from gnas_ext.models.base import Model
    from gnas_ext.search.study import Study
    from gnas_ext.train.loop import Epoch

LIGHTGCN = "LightGCN, 64 floats, plain"
# Of training LightGCN where the search did not, if it takes less.
_SECONDS = 60.0
_HALF_LIVES_DAYS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


def classics(split: Split) -> list[tuple[str, Callable[[], Model]]]:
    """Popularity and ItemKNN by name, each to be fitted on training and validation when it is its turn."""
    train = split.train_and_valid
    users, items = n_users(train), n_items(train)
    fits: list[tuple[str, Callable[[], Model]]] = [("popularity", lambda: fit_popularity(train, users, items))]
    if train.timestamp is not None:
        days = _best_half_life(split)
        fits += [
            ("recent popularity (last quarter)", lambda: fit_recent_popularity(train, users, items, share=0.25)),
            (
                f"decayed popularity ({days:g} days)",
                lambda: fit_decayed_popularity(train, users, items, half_life_days=days),
            ),
        ]
    return [*fits, ("ItemKNN", lambda: fit_item_knn(train, users, items))]


def best_plain_lightgcn(
    split: Split, study: Study, seed: int, epochs: int, on_epoch: Callable[[Epoch], None] | None = None
) -> Trial:
    """The trial of LightGCN as its authors have it, uncompressed, whose learning rate was best on validation.

    The recipes are the first trials of a search of graph models; those that a short search did not reach are not tried.
    Where it reached none, they are trained now, as many as a minute is enough for, and one at least.
    """
    space = recommender_space(split.train)
    recipes = lightgcn_recipes(space)
    tried = [trial for trial in study.complete if trial.genotype.as_dict() in recipes]
    if tried:
        return max(tried, key=lambda trial: trial.values[0])
    objective = Objective(split, epochs=epochs, seed=seed, on_epoch=on_epoch)
    began = time.monotonic()
    for number, recipe in enumerate(recipes):
        if number and time.monotonic() - began > _SECONDS * number / (number + 1):
            break  # another one would take longer
        genotype = space.genotype(recipe)
        outcome = objective(genotype)
        values = tuple(cast("Sequence[float]", outcome.values))
        tried.append(Trial(number, genotype, "complete", values, attributes=outcome.attributes))
    return max(tried, key=lambda trial: trial.values[0])


def _best_half_life(split: Split) -> float:
    """The half-life whose popularity ranks validation best."""
    users, items = n_users(split.train), n_items(split.train)

    def ndcg(days: float) -> float:
        model = fit_decayed_popularity(split.train, users, items, half_life_days=days)
        return evaluate(model, split.train, split.valid)["ndcg@20"]

    return max(_HALF_LIVES_DAYS, key=ndcg)
