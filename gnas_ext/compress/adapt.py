"""Which recipe keeps most within given limits, and what is given up for them?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gnas_ext.compress.distil import DistilOptions
from gnas_ext.compress.ladder import ladder as ladder
from gnas_ext.compress.ladder import smaller
from gnas_ext.compress.lists import teach
from gnas_ext.evaluate.cost import human_bytes, latency_ms, timed_users
from gnas_ext.evaluate.evaluate import evaluate, judged_users
from gnas_ext.evaluate.seen import SeenItems
from gnas_ext.models.coded import as_served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from gnas_ext.compress.distil import Student
    from gnas_ext.compress.lists import Lists
    from gnas_ext.compress.recipe import Recipe
    from gnas_ext.data.interactions import Interactions
    from gnas_ext.models.base import Model
    from gnas_ext.models.factors import FactorModel


@dataclass(frozen=True)
class Limits:
    """What a model may cost.

    Attributes:
        bytes: of everything that is stored; infinite for no limit.
        latency_ms: a user, on this machine, as `evaluate.latency_ms` measures it.
    """

    bytes: float = math.inf
    latency_ms: float = math.inf

    @property
    def given(self) -> bool:
        """Whether there is one."""
        return math.isfinite(self.bytes) or math.isfinite(self.latency_ms)

    def excess(self, size: float, latency: float) -> float:
        """Its share of the limit that it is nearest to, or furthest beyond: 1 or less keeps to both."""
        return max(size / self.bytes, latency / self.latency_ms)

    def scaled(self, share: float) -> Limits:
        """The same milliseconds, and a share of the bytes."""
        return Limits(self.bytes * share, self.latency_ms)

    def __str__(self) -> str:
        """As people say it: "at most 2.00 MB and 0.2 ms a user"."""
        parts = [human_bytes(int(self.bytes))] if math.isfinite(self.bytes) else []
        if math.isfinite(self.latency_ms):
            parts.append(f"{self.latency_ms:g} ms a user")
        return f"at most {' and '.join(parts)}" if parts else "no limits"


@dataclass(frozen=True, eq=False)
class Tried:
    """A recipe and what came of it: the model, NDCG on validation, and whether it keeps to the limits."""

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
        k: length of the lists that were judged.
    """

    chosen: Tried | None
    tried: tuple[Tried, ...]
    ndcg_before: float
    limits: Limits = field(default_factory=Limits)
    k: int = 20

    def lines(self) -> list[str]:
        """What was given up, or how near the limits one came."""
        if self.chosen is not None:
            lost = self.chosen.ndcg / self.ndcg_before - 1 if self.ndcg_before else 0.0
            return [
                f"{human_bytes(self.chosen.bytes)} and {self.chosen.latency_ms:.3f} ms a user at NDCG@{self.k} "
                f"{self.chosen.ndcg:.4f} on validation, {lost:+.2%} of {self.ndcg_before:.4f}"
            ]
        if not self.tried:
            return ["out of reach: no recipe was given"]
        small = min(self.tried, key=lambda one: one.bytes)
        fast = min(self.tried, key=lambda one: one.latency_ms)
        return [
            f"out of reach of {len(self.tried)} recipes: the smallest takes {human_bytes(small.bytes)}, "
            f"the fastest {fast.latency_ms:.3f} ms a user"
        ]


def adapt(
    model: FactorModel,
    train: Interactions,
    valid: Interactions,
    limits: Limits,
    recipes: Iterable[Recipe] | None = None,
    teacher: Model | None = None,
    options: DistilOptions | None = None,
    k: int = 20,
    lists: Callable[[], Lists] | None = None,
    on_recipe: Callable[[Recipe], None] | None = None,
) -> Adapted:
    """Tries recipes and takes the best that keeps to the limits; goes on with smaller ones until one does.

    Milliseconds are of what is served: codes are decoded once, as an artefact does when it is loaded, but for 8 bits.

    Args:
        model: trained, float32.
        train: what it was trained on.
        valid: what recipes are judged by.
        limits: bytes and milliseconds.
        recipes: in the order to try, and no others; by default those of `ladder`, and where none of these keeps to the
            limits, one after the other of those that `smaller` makes of what was measured, down to the smallest there
            is.
        teacher: what students learn from; the model itself by default.
        options: of learning.
        k: length of the lists that are judged.
        lists: gives what the teacher says of its users, where not all of them are to be asked; called once, and only
            if a recipe teaches.
        on_recipe: called before each recipe.
    """
    options = options or DistilOptions()
    metric = f"ndcg@{k}"
    before = evaluate(model, train, valid, (k,))[metric]
    seen = SeenItems.from_interactions(train, model.n_users)
    users = timed_users(judged_users(model.n_users, train, valid))
    tried: list[Tried] = []
    said: Lists | None = None
    for recipe in _recipes(model, limits, tried) if recipes is None else recipes:
        if on_recipe is not None:
            on_recipe(recipe)
        if said is None and recipe.teaches:
            asked = teacher or model
            said = lists() if lists else teach(asked, train, options.best, options.drawn, options.seed)
        found = recipe.apply(model, train, teacher, options, said)
        ndcg = evaluate(found, train, valid, (k,))[metric]
        latency = latency_ms(as_served(found), users, k, seen)
        size = found.size_bytes()
        fits = limits.excess(size, latency) <= 1
        tried.append(Tried(recipe, found, ndcg, size, latency, fits))
    fitting = [one for one in tried if one.fits]
    chosen = max(fitting, key=lambda one: one.ndcg) if fitting else None
    return Adapted(chosen, tuple(tried), before, limits, k)


def _recipes(model: FactorModel, limits: Limits, tried: Sequence[Tried]) -> Iterator[Recipe]:
    """Those of `ladder`; then, until one of what was tried keeps to the limits, `smaller` ones, while there are any."""
    yield from ladder(model, limits)
    while not any(one.fits for one in tried):
        recipe = smaller(model, limits, tried)
        if recipe is None:
            return
        yield recipe
