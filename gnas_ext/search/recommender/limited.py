"""What if the best is too large or too slow? It is made to keep to the limits, and taken if it is still the better."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from gnas_ext.compress.adapt import adapt
from gnas_ext.compress.distil import DistilOptions
from gnas_ext.compress.recipe import Recipe
from gnas_ext.evaluate.cost import human_bytes
from gnas_ext.models.factors import FactorModel
from gnas_ext.search.recommender.bounds import has_tables
from gnas_ext.search.recommender.build import build
from gnas_ext.search.recommender.compression import lists_of, with_recipe
from gnas_ext.search.recommender.finals import CLOSE
from gnas_ext.search.recommender.whole import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from gnas_ext.compress.adapt import Adapted, Limits
    from gnas_ext.data.interactions import Split
    from gnas_ext.search.recommender.bounds import Bounds
    from gnas_ext.search.recommender.finals import Finalist
    from gnas_ext.search.study import Study
    from gnas_ext.search.trial import Trial
    from gnas_ext.train.loop import Epoch


@dataclass(frozen=True, eq=False)
class Limited:
    """What limits made of the choice.

    Attributes:
        limits: bytes of the model, and milliseconds a user.
        best: the trial whose model was made smaller; without `adapted`, the best of all.
        fits: whether what was chosen keeps to them, as measured on validation.
        adapted: what recipes made of `best`'s model; None where none was better than what keeps to the limits, or had
            tables of rows.
        recipe: the one that was taken for `best`'s model, instead of another trial; None for none.
        size_bytes: of the model that is handed over; 0 until there is one.
    """

    limits: Limits
    best: Trial
    fits: bool
    adapted: Adapted | None = None
    recipe: Recipe | None = None
    size_bytes: int = 0

    @property
    def kept(self) -> bool:
        """Whether the model that is handed over keeps to the limits."""
        return self.fits and self.size_bytes <= self.limits.bytes

    def lines(self) -> list[str]:
        """Whether the limits are kept, and what was given up for them."""
        if self.kept:
            state = "kept"
        elif self.fits:
            state = f"kept by training alone; with validation the model takes {human_bytes(self.size_bytes)}"
        else:
            state = "out of reach, this is the nearest"
        found = [f"{self.limits}: {state}"]
        if self.adapted is not None:
            found.append(f"trial {self.best.number} made smaller{self._outcome(self.adapted)}")
        return found

    def _outcome(self, adapted: Adapted) -> str:
        if self.recipe is None and self.fits:
            return " is not within them" if adapted.chosen is None else " is no better than what was chosen"
        return f": {adapted.lines()[0]}"


def limit(
    study: Study,
    chosen: Finalist,
    split: Split,
    bounds: Bounds,
    *,
    k: int,
    seed: int,
    seconds: float = math.inf,
    on_epoch: Callable[[Epoch], None] | None = None,
    on_recipe: Callable[[Recipe], None] | None = None,
) -> Limited:
    """Compares the one that was chosen, within limits if any is, with the best beyond them, made smaller.

    The latter is taken where it is better by more than half a percent on validation, with the search's seed.

    Args:
        study: all trials.
        chosen: of those that keep to the limits; where none does, the nearest.
        split: training and validation.
        bounds: what to keep to.
        k: length of the lists that are judged.
        seed: of the search.
        seconds: of training the best anew, at most.
        on_epoch: called after each pass of that.
        on_recipe: called before each recipe.
    """
    limits = bounds.limits
    beyond = bounds.beyond(chosen.trial)
    fits, wanted = beyond <= 1, chosen.scores[0] / CLOSE
    tables = [trial for trial in study.complete if bounds.beyond(trial) > 1 and has_tables(trial)]
    better = [trial for trial in tables if not fits or trial.values[0] > wanted]
    if not better:
        return Limited(limits, study.best, fits)
    best = max(better, key=lambda trial: (trial.values[0], -trial.number))
    passes = max(1, int(best.attributes["best_epoch"]))
    genotype = with_recipe(plain(best.genotype), Recipe(()))
    try:
        model = build(genotype, split.train, epochs=passes, seconds=seconds, seed=seed, on_epoch=on_epoch).model
    except TimeoutError:  # its teacher, which was there when it was a trial, is made anew here
        return Limited(limits, study.best, fits)
    assert isinstance(model, FactorModel)
    options = DistilOptions(seed=seed)
    adapted = adapt(
        model,
        split.train,
        split.valid,
        bounds.tables,
        options=options,
        k=k,
        lists=partial(lists_of, model, split.train, options),
        on_recipe=on_recipe,
    )
    if adapted.chosen is not None and (not fits or adapted.chosen.ndcg > wanted):
        return Limited(limits, best, True, adapted, adapted.chosen.recipe)
    if not fits:
        excess = {one.recipe: bounds.tables.excess(one.bytes, one.latency_ms) for one in adapted.tried}
        nearest = min(excess, key=lambda recipe: excess[recipe], default=None)
        if nearest is not None and excess[nearest] < beyond:
            return Limited(limits, best, False, adapted, nearest)
    return Limited(limits, best, fits, adapted)
