"""In which order is a model made small? A recipe: a few named steps, which a genotype can name.

Recipe((Columns(48), Distil(epochs=4), Codes(20, 20, epochs=8)))
"""

from __future__ import annotations

import json
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any

from gnas_ext.compress.distil import DistilOptions
from gnas_ext.compress.order import Made, follow
from gnas_ext.compress.step import Context
from gnas_ext.compress.steps import STEPS, Bits
from gnas_ext.errors import InputError
from gnas_ext.models.factors import FactorModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gnas_ext.compress.distil import Student
    from gnas_ext.compress.lists import Lists
    from gnas_ext.compress.step import Step
    from gnas_ext.data.interactions import Interactions
    from gnas_ext.models.base import Model

# A recipe without steps.
_NOTHING = "float32"


@dataclass(frozen=True)
class Recipe:
    """Steps in their order; `Recipe(())` leaves a model as it is."""

    steps: tuple[Step, ...]

    @property
    def teaches(self) -> bool:
        """Whether a step asks the teacher for its lists."""
        return any(step.teaches for step in self.steps)

    def apply(
        self,
        model: FactorModel,
        train: Interactions,
        teacher: Model | None = None,
        options: DistilOptions | None = None,
        lists: Lists | None = None,
        on_epoch: Callable[[int, float], None] | None = None,
    ) -> Student:
        """Takes the steps, in any order (`order.follow`): after codes rows are stored in codes again.

        Args:
            model: trained, float32 or int8.
            train: the touches that it was trained on.
            teacher: what students learn from; the model itself by default.
            options: of learning; each step has its own passes and learning rate.
            lists: what `teach` said of the teacher, where it was asked before.
            on_epoch: called after each pass of each step.

        Raises:
            InputError: the model is in codes, rare rows are shared twice, or a step cannot store groups of rows.
        """
        context = Context(train, teacher or model, options or DistilOptions(), lists, on_epoch)
        if not isinstance(model, FactorModel):
            raise InputError(f"recipe: expected a model of float32 or int8 rows, got a {type(model).__name__}")
        # Rows that were trained in int8 stay so.
        made = Made(model, None if model.user.scale is None else Bits(8))
        for step in self.steps:
            made = follow(step, made, context)
        return made.model

    def __str__(self) -> str:
        """In words that `parse` reads, defaults left out: "columns keep=48 > distil > codes user_bytes=20 …"."""
        return " > ".join(map(_told, self.steps)) or _NOTHING

    @classmethod
    def parse(cls, text: str) -> Recipe:
        """The recipe that was told as `str` tells one.

        Raises:
            InputError: a step or one of its options is unknown, has no such value, or one is missing.
        """
        genes: list[dict[str, Any]] = []
        for step in [] if text == _NOTHING else text.split(" > "):
            try:
                name, *options = step.split()
                pairs = [(key, json.loads(value)) for key, value in map(_pair, options)]
                if len(dict(pairs)) < len(pairs):
                    raise ValueError
                genes.append({"step": name, **dict(pairs)})
            except ValueError:
                raise InputError(
                    f"recipe: {step!r}: expected options such as keep=48 after its name, each once"
                ) from None
        return cls.from_genes(genes)

    def genes(self) -> list[dict[str, Any]]:
        """The recipe as plain values, for a genotype or a file; `from_genes` reads them."""
        return [{"step": type(step).__name__.lower(), **vars(step)} for step in self.steps]

    @classmethod
    def from_genes(cls, genes: Sequence[Mapping[str, Any]]) -> Recipe:
        """The recipe of a list of steps, such as [{"step": "codes", "user_bytes": 20, "item_bytes": 20}].

        Raises:
            InputError: a step or one of its options is unknown, has no such value, or one is missing.
        """
        steps = []
        for gene in genes:
            options = dict(gene)
            name = options.pop("step", None)
            if name not in STEPS:
                raise InputError(f"recipe: expected a step of {', '.join(STEPS)}, got {name!r}")
            try:
                steps.append(STEPS[name](**options))
            except (TypeError, ValueError) as error:
                raise InputError(f"recipe: {name}: {error}") from error
        return cls(tuple(steps))


def _told(step: Any) -> str:
    values = [(field.name, getattr(step, field.name), field.default) for field in fields(step)]
    said = [f"{name}={json.dumps(value)}" for name, value, default in values if default is MISSING or value != default]
    return " ".join([type(step).__name__.lower(), *said])


def _pair(option: str) -> tuple[str, str]:
    name, equals, value = option.partition("=")
    if not equals:
        raise ValueError
    return name, value
