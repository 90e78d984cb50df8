"""Which recipe keeps most within given limits, and what is given up for them?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from gnas_ext.compress.recipe import Codes, Recipe
from gnas_ext.evaluate.cost import human_bytes, latency_ms
from gnas_ext.evaluate.evaluate import evaluate, judged_users
from gnas_ext.evaluate.seen import SeenItems

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gnas_ext.compress.distil import DistilOptions, Student
    from gnas_ext.data.interactions import Interactions
    from gnas_ext.models.base import Model
    from gnas_ext.models.factors import FactorModel

_METRIC = "ndcg@20"
# Users that are timed together.
_TIMED = 256


@dataclass(frozen=True)
class Limits:
    """What a model may cost.

    Attributes:
        bytes: of everything that is stored; infinite for no limit.
        latency_ms: a user, on this machine, as `evaluate.latency_ms` measures it.
    """

    bytes: float = math.inf
    latency_ms: float = math.inf


@dataclass(frozen=True, eq=False)
class Tried:
    """A recipe and what came of it: the model, NDCG@20 on validation, and whether it keeps to the limits."""

    recipe: Recipe
    model: Student
    ndcg: float
    bytes: int
    latency_ms: float
    fits: bool


@dataclass(frozen=True, eq=False)
class Adapted:
    """What was chosen.

    Attributes:
        chosen: of those that keep to the limits the one of most NDCG; None where none does.
        tried: all, in their order.
        ndcg_before: of the model that was to be compressed.
        limits: that were given.
    """

    chosen: Tried | None
    tried: tuple[Tried, ...]
    ndcg_before: float
    limits: Limits = field(default_factory=Limits)

    def lines(self) -> list[str]:
        """What was given up, or how near the limits one came."""
        if self.chosen is not None:
            lost = self.chosen.ndcg / self.ndcg_before - 1 if self.ndcg_before else 0.0
            return [
                f"{human_bytes(self.chosen.bytes)} and {self.chosen.latency_ms:.3f} ms a user at NDCG@20 "
                f"{self.chosen.ndcg:.4f} on validation, {lost:+.2%} of {self.ndcg_before:.4f}"
            ]
        if not self.tried:
            return ["out of reach: no recipe was given"]
        small = min(self.tried, key=lambda one: one.bytes)
        fast = min(self.tried, key=lambda one: one.latency_ms)
        return [
            f"out of reach of {len(self.tried)} recipes: the smallest takes {human_bytes(small.bytes)} (limit "
            f"{self.limits.bytes:,.0f}), the fastest {fast.latency_ms:.3f} ms a user (limit {self.limits.latency_ms:g})"
        ]


def adapt(
    model: FactorModel,
    train: Interactions,
    valid: Interactions,
    limits: Limits,
    recipes: Iterable[Recipe] | None = None,
    teacher: Model | None = None,
    options: DistilOptions | None = None,
) -> Adapted:
    """Tries recipes and takes the best that keeps to the limits.

    Args:
        model: trained, float32.
        train: what it was trained on.
        valid: what recipes are judged by.
        limits: bytes and milliseconds.
        recipes: in the order to try; by default those of `ladder`.
        teacher: what students learn from; the model itself by default.
        options: of learning.
    """
    before = evaluate(model, train, valid)[_METRIC]
    seen = SeenItems.from_interactions(train, model.n_users)
    users = judged_users(model.n_users, train, valid)[:_TIMED].astype(np.int32)
    tried = []
    for recipe in ladder(model, limits.bytes) if recipes is None else recipes:
        found = recipe.apply(model, train, teacher, options)
        ndcg = evaluate(found, train, valid)[_METRIC]
        latency = latency_ms(found, users, 20, seen, repeats=3)
        size = found.size_bytes()
        fits = size <= limits.bytes and latency <= limits.latency_ms
        tried.append(Tried(recipe, found, ndcg, size, latency, fits))
    fitting = [one for one in tried if one.fits]
    chosen = max(fitting, key=lambda one: one.ndcg) if fitting else None
    return Adapted(chosen, tuple(tried), before, limits)


def ladder(model: FactorModel, most_bytes: float, epochs: int = 6) -> list[Recipe]:
    """Recipes for a number of bytes: nothing at all where that fits, else as many bytes a row as do.

    Nearest codes; those that rank as the teacher does; and learned ones that leave rare items fewer bytes, so that
    others have more.
    """
    found = [Recipe(())] if model.size_bytes() <= most_bytes else []
    width, rows = model.user.width, model.n_users + model.n_items
    shared = 2 * (512 * width + 4 * width + 4) + (model.n_items + 520 if model.prior is not None else 0)
    most = min(width, int((most_bytes - shared) // rows)) if math.isfinite(most_bytes) else width
    least = -(-width // 16)
    if most < least:
        return found
    found += [Recipe((Codes(most, most),)), Recipe((Codes(most, most, solves=1),))]
    # Half of the items give up a quarter of their bytes for the other half, if there is room for a quarter more.
    quarter = most // 4
    if quarter and most + quarter <= width and most - quarter >= least:
        spare = shared + 512 * width + rows * most + rows // 4
        if spare <= most_bytes:
            rare = Codes(most, most + quarter, epochs=epochs, rare_share=0.5, rare_bytes=most - quarter)
            found.append(Recipe((rare,)))
    return found
