"""Which recipe keeps most within given limits, and what is given up for them?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gnas_ext.compress.distil import DistilOptions
from gnas_ext.compress.lists import teach
from gnas_ext.compress.recipe import Recipe
from gnas_ext.compress.steps import Bits, Codes, Columns, Distil
from gnas_ext.evaluate.cost import human_bytes, latency_ms, timed_users
from gnas_ext.evaluate.evaluate import evaluate, judged_users
from gnas_ext.evaluate.seen import SeenItems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gnas_ext.compress.distil import Student
    from gnas_ext.compress.lists import Lists
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
    """Tries recipes and takes the best that keeps to the limits.

    Args:
        model: trained, float32.
        train: what it was trained on.
        valid: what recipes are judged by.
        limits: bytes and milliseconds.
        recipes: in the order to try; by default those of `ladder`.
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
    for recipe in ladder(model, limits) if recipes is None else recipes:
        if on_recipe is not None:
            on_recipe(recipe)
        if said is None and recipe.teaches:
            asked = teacher or model
            said = lists() if lists else teach(asked, train, options.best, options.drawn, options.seed)
        found = recipe.apply(model, train, teacher, options, said)
        ndcg = evaluate(found, train, valid, (k,))[metric]
        latency = latency_ms(found, users, k, seen)
        size = found.size_bytes()
        fits = limits.excess(size, latency) <= 1
        tried.append(Tried(recipe, found, ndcg, size, latency, fits))
    fitting = [one for one in tried if one.fits]
    chosen = max(fitting, key=lambda one: one.ndcg) if fitting else None
    return Adapted(chosen, tuple(tried), before, limits, k)


def ladder(model: FactorModel, limits: Limits, epochs: int = 6) -> list[Recipe]:
    """Recipes for a number of bytes: nothing at all where that fits, else as many bytes a row as do.

    Nearest codes; those that rank as the teacher does; and learned ones that leave rare items fewer bytes, so that
    others have more. Then rows of as many bits as there is room for, of all columns or, where that is too much, of the
    half, quarter or eighth of them that holds most: codes take longer to score with, and few rows do not pay for their
    codebooks. Where milliseconds are limited, narrower rows follow in any case. Where there is room for nothing, it is
    the smallest of those.
    """
    found = [Recipe(())] if model.size_bytes() <= limits.bytes else []
    found += _codes(model, limits.bytes, epochs)
    rows = _rows(model, limits.bytes, epochs)
    found += rows if math.isfinite(limits.latency_ms) else rows[:1]
    return found or [Recipe((Columns(max(1, model.user.width // 8)), Distil(epochs), Bits(2, epochs=epochs)))]


def _codes(model: FactorModel, most_bytes: float, epochs: int) -> list[Recipe]:
    width, rows = model.user.width, model.n_users + model.n_items
    shared = 2 * (512 * width + 4 * width + 4) + (model.n_items + 520 if model.prior is not None else 0)
    most = min(width, int((most_bytes - shared) // rows)) if math.isfinite(most_bytes) else width
    least = -(-width // 16)
    if most < least:
        return []
    found = [Recipe((Codes(most, most),)), Recipe((Codes(most, most, solves=1),))]
    # Half of the items give up a quarter of their bytes for the other half, if there is room for a quarter more.
    quarter = most // 4
    if quarter and most + quarter <= width and most - quarter >= least:
        spare = shared + 512 * width + rows * most + rows // 4
        if spare <= most_bytes:
            rare = Codes(most, most + quarter, epochs=epochs, rare_share=0.5, rare_bytes=most - quarter)
            found.append(Recipe((rare,)))
    return found


def _rows(model: FactorModel, most_bytes: float, epochs: int) -> list[Recipe]:
    width, rows = model.user.width, model.n_users + model.n_items
    prior = model.n_items + 520 if model.prior is not None else 0
    found = []
    for keep in dict.fromkeys(max(1, width // part) for part in (1, 2, 4, 8)):
        # Of 8 bits a row has a scale, of fewer a zero besides, four bytes each.
        sizes = {bits: rows * (keep * bits / 8 + (4 if bits == 8 else 8)) + prior for bits in (8, 4, 2)}
        fits = [bits for bits, size in sizes.items() if size <= most_bytes]
        if fits:
            less = (Columns(keep), Distil(epochs)) if keep < width else ()
            found.append(Recipe((*less, Bits(fits[0], epochs=epochs if fits[0] < 8 else 0))))
    return found
