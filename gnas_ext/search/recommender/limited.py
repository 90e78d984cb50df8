"""What if the best is too large or too slow? It is made to keep to the limits, and taken if it is still the better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gnas_ext.compress.adapt import adapt
from gnas_ext.compress.recipe import Recipe
from gnas_ext.models.factors import FactorModel
from gnas_ext.search.recommender.build import build
from gnas_ext.search.recommender.compression import with_recipe
from gnas_ext.search.recommender.finals import beyond
from gnas_ext.search.recommender.whole import plain

if TYPE_CHECKING:
    from gnas_ext.compress.adapt import Adapted, Limits
    from gnas_ext.data.interactions import Split
    from gnas_ext.search.recommender.finals import Finalist
    from gnas_ext.search.study import Study
    from gnas_ext.search.trial import Trial


@dataclass(frozen=True, eq=False)
class Limited:
    """What limits made of the choice.

    Attributes:
        limits: bytes of the model, and milliseconds a user.
        best: the trial that would have been chosen without them.
        kept: whether what was chosen keeps to them, as measured on validation.
        adapted: what recipes made of `best`'s model; None where it kept to the limits, was no better than what did, or
            has no tables of rows.
        recipe: the one that was taken for `best`'s model, instead of another trial; None for none.
    """

    limits: Limits
    best: Trial
    kept: bool
    adapted: Adapted | None = None
    recipe: Recipe | None = None

    def lines(self) -> list[str]:
        """Whether the limits are kept, and what was given up for them."""
        if self.kept and self.adapted is None:
            return [f"{self.limits}: kept"]
        told = [] if self.adapted is None else [f"trial {self.best.number} made smaller: {self.adapted.lines()[0]}"]
        return [f"{self.limits}: {'kept' if self.kept else 'out of reach, this is the nearest'}", *told]


def limit(study: Study, chosen: Finalist, split: Split, limits: Limits, k: int, seed: int) -> Limited:
    """Compares the one that was chosen, within limits if any is, with the best beyond them, made smaller.

    Args:
        study: all trials.
        chosen: of those that keep to the limits; where none does, the nearest.
        split: training and validation.
        limits: to keep to.
        k: length of the lists that are judged.
        seed: of the search.
    """
    kept = beyond(chosen.trial, limits) <= 1
    tables = [trial for trial in study.complete if beyond(trial, limits) > 1 and "codes" in plain(trial.genotype)]
    better = [trial for trial in tables if not kept or trial.values[0] > chosen.mean]
    if not better:
        return Limited(limits, study.best, kept)
    best = max(better, key=lambda trial: (trial.values[0], -trial.number))
    genotype, passes = with_recipe(plain(best.genotype), Recipe(())), max(1, int(best.attributes["best_epoch"]))
    built = build(genotype, split.train, epochs=passes, seed=seed)
    assert isinstance(built.model, FactorModel)
    adapted = adapt(built.model, split.train, split.valid, limits, k=k)
    if adapted.chosen is not None and (not kept or adapted.chosen.ndcg > chosen.mean):
        return Limited(limits, best, True, adapted, adapted.chosen.recipe)
    if not kept and adapted.tried:
        nearest = min(adapted.tried, key=lambda one: limits.excess(one.bytes, one.latency_ms))
        if limits.excess(nearest.bytes, nearest.latency_ms) < beyond(chosen.trial, limits):
            return Limited(limits, best, False, adapted, nearest.recipe)
    return Limited(limits, best, kept, adapted)
