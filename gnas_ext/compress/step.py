"""What is a step of a recipe, what does it work with, and what may its options be?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch

from gnas_ext.compress.distil import DistilOptions, Student, distil
from gnas_ext.compress.lists import Lists, teach
from gnas_ext.models.factors import FactorModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from gnas_ext.data.interactions import Interactions
    from gnas_ext.models.base import Model


@dataclass(eq=False)
class Context:
    """What steps work with: the log, the teacher, and its lists, asked for once.

    Attributes:
        train: the touches.
        teacher: what students learn from.
        options: how they learn; a step has its own number of passes and learning rate.
        lists: the teacher's, once they were asked for.
        on_epoch: called after each pass.
    """

    train: Interactions
    teacher: Model
    options: DistilOptions
    lists: Lists | None = None
    on_epoch: Callable[[int, float], None] | None = None

    def taught(self) -> Lists:
        """The teacher's lists."""
        if self.lists is None:
            self.lists = teach(self.teacher, self.train, self.options.best, self.options.drawn, self.options.seed)
        return self.lists

    def distil(
        self, start: FactorModel, epochs: int, lr: float, told: Mapping[str, Any] | None = None, **how: Any
    ) -> Student:
        """A student of the teacher; `told`: options of the step itself."""
        options = replace(self.options, epochs=epochs, lr=lr, **(told or {}))
        return distil(self.teacher, start, self.train, options, lists=self.taught(), on_epoch=self.on_epoch, **how)

    def degrees(self, model: Student) -> tuple[Tensor, Tensor]:
        """Touches of each user and item."""
        return (
            torch.bincount(torch.from_numpy(self.train.user).long(), minlength=model.n_users)[: model.n_users],
            torch.bincount(torch.from_numpy(self.train.item).long(), minlength=model.n_items)[: model.n_items],
        )


class Step(Protocol):
    """One step of a recipe.

    Attributes:
        stores: whether rows are in codes after it.
        shares: whether rows are in groups in float32 after it.
    """

    stores: ClassVar[bool]
    shares: ClassVar[bool]

    @property
    def teaches(self) -> bool:
        """Whether it asks the teacher for its lists."""
        ...

    @property
    def idle(self) -> bool:
        """Whether it does nothing."""
        ...

    def takes(self, model: Student) -> bool:
        """Whether it can be made of the model."""
        ...

    def in_sight_of(self, storing: Step) -> tuple[Step, dict[str, Any]] | None:
        """A storing step that does both at once, and options of learning; None where there is none."""
        ...

    def __call__(self, model: Any, context: Context) -> Student:
        """The model after it."""
        ...


# What options of steps may be: a whole number or not, from the least (above it where that is refused) to the most.
_WHOLE = {"keep": 1, "epochs": 0, "rounds": 0, "solves": 0, "user_bytes": 1, "item_bytes": 1, "rare_bytes": 1}
_ABOVE_ZERO = ("lr", "ridge", "temperature")
WEIGHTS = ("regression", "alignment", "touches")
# What a step may leave to the options of the recipe.
_LEFT_OPEN = ("solves", "temperature", *WEIGHTS)
_SHARES = ("top", "threshold", "share", "rare_share")
_CHOICES: Mapping[str, tuple[object, ...]] = {
    "bits": (32, 8, 4, 2),
    "popular_bits": (8, 4, 2),
    "rare_bits": (8, 4, 2),
    "book_bits": (16, 8),
    "scores": ("magnitude", "learned"),
    "stochastic": (False, True),
    "calibrated": (False, True),
}


class Checked:
    """A step whose options are looked at before anything is trained."""

    stores: ClassVar[bool] = False
    shares: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            wanted = _refused(name, value)
            if wanted:
                raise ValueError(f"{type(self).__name__.lower()}: expected {name} to be {wanted}, got {value!r}")

    @property
    def teaches(self) -> bool:
        """Whether it asks the teacher for its lists."""
        return bool(getattr(self, "epochs", 0))

    @property
    def idle(self) -> bool:
        """Whether it does nothing."""
        return False

    def takes(self, model: Student) -> bool:
        """Whether it can be made of the model: rows in one table a side."""
        return isinstance(model, FactorModel)

    def in_sight_of(self, storing: Step) -> tuple[Step, dict[str, Any]] | None:
        """Nothing is learned, so nothing with codes in sight."""
        return None


def _refused(name: str, value: object) -> str:
    """What an option should be, if it is not."""
    if value is None and name in _LEFT_OPEN:
        return ""
    if name in _CHOICES:
        found = value in _CHOICES[name] and isinstance(value, type(_CHOICES[name][0]))
        return "" if found else f"one of {', '.join(map(str, _CHOICES[name]))}"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if name in _WHOLE:
        found = isinstance(value, int) and number and value >= _WHOLE[name]
        return "" if found else f"a whole number from {_WHOLE[name]}"
    if name in _SHARES:
        return "" if isinstance(value, int | float) and number and 0 <= value <= 1 else "from 0 to 1"
    if name in WEIGHTS:
        return "" if isinstance(value, int | float) and number and 0 <= value < math.inf else "0 or more"
    assert name in _ABOVE_ZERO, f"an option without a rule: {name}"
    return "" if isinstance(value, int | float) and number and 0 < value < math.inf else "above 0"
