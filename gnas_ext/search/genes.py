"""What can be chosen: a gene is a finite list of values, which of them lie side by side, and when it matters.

Continuous genes stand on a stated grid of levels: so every genotype is a short sequence of small integers, and "the
same genotype again" means something.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

Value: TypeAlias = bool | int | float | str | None
Conditions: TypeAlias = Mapping[str, Sequence[Value]]


@dataclass(frozen=True, repr=False)
class Gene(ABC):
    """A choice among finitely many values.

    `repr(gene)` says all that defines it; a journal compares spaces by it.

    Attributes:
        when: the gene matters only while each gene named here has one of the values given, as in
            `when={"prior": [True]}`. Otherwise it is dead: absent from the genotype, with token 0.
    """

    when: Conditions = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        for name, values in self.when.items():
            if isinstance(values, str) or not isinstance(values, Iterable) or not list(values):
                raise TypeError(f"when: expected a list of values for {name!r}, got {values!r}")

    @property
    @abstractmethod
    def values(self) -> Sequence[Value]:
        """All values, in order; a value's token is its place in this list plus one."""

    @property
    @abstractmethod
    def ordinal(self) -> bool:
        """Whether neighbours in `values` are alike, so that mutation should prefer them."""

    @abstractmethod
    def _definition(self) -> str: ...

    def index(self, value: object) -> int:
        """Place of a value in `values`; ValueError (without the gene's name) if it is not one of them."""
        for place, candidate in enumerate(self.values):
            # True == 1 in Python, but a flag and a number are different things to say in a recipe.
            if isinstance(candidate, bool) == isinstance(value, bool) and candidate == value:
                return place
        raise ValueError(f"expected one of {list(self.values)}, got {value!r}")

    def __repr__(self) -> str:
        when = f", when={ {name: list(values) for name, values in self.when.items()} }" if self.when else ""
        return f"{type(self).__name__}({self._definition()}{when})"


@dataclass(frozen=True, repr=False)
class Categorical(Gene):
    """One of some choices, such as `Categorical(["sum", "mean", "max"])`.

    Attributes:
        choices: different values: None, bool, int, float or str.
        ordered: whether neighbours in the list are alike, as in `Categorical([16, 32, 64], ordered=True)`.
    """

    choices: Sequence[Value]
    ordered: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.choices, str) or not len(self.choices):
            raise ValueError(f"Categorical: expected a list of at least one choice, got {self.choices!r}")
        for choice in self.choices:
            if not isinstance(choice, (bool, int, float, str, type(None))) or choice != choice:
                raise TypeError(f"Categorical: expected None, bool, int, float or str as a choice, got {choice!r}")
        if len(set(self.choices)) < len(self.choices):
            raise ValueError(f"Categorical: expected different choices, got {list(self.choices)}")

    @cached_property
    def values(self) -> Sequence[Value]:
        """The choices as they are given."""
        return tuple(self.choices)

    @property
    def ordinal(self) -> bool:
        """As it was said."""
        return self.ordered

    def _definition(self) -> str:
        return f"{list(self.choices)}" + (", ordered=True" if self.ordered else "")


@dataclass(frozen=True, repr=False)
class Integer(Gene):
    """A whole number from `low` to `high`, both included, in steps of `step`."""

    low: int
    high: int
    step: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for number in (self.low, self.high, self.step):
            if isinstance(number, bool) or not isinstance(number, int):
                raise TypeError(f"Integer: expected whole numbers, got {number!r}")
        if self.low > self.high or self.step < 1 or (self.high - self.low) % self.step:
            raise ValueError(f"Integer: expected low <= high, a whole number of steps >= 1 apart, got {self!r}")

    @cached_property
    def values(self) -> Sequence[Value]:
        """From low to high."""
        return range(self.low, self.high + 1, self.step)

    @property
    def ordinal(self) -> bool:
        """Always."""
        return True

    def index(self, value: object) -> int:
        """Place of a number in `values`; ValueError if it is none of them."""
        if isinstance(value, bool) or not isinstance(value, int) or value not in self.values:
            steps = f" in steps of {self.step}" if self.step > 1 else ""
            raise ValueError(f"expected a whole number from {self.low} to {self.high}{steps}, got {value!r}")
        return (value - self.low) // self.step

    def _definition(self) -> str:
        return f"{self.low}, {self.high}" + (f", step={self.step}" if self.step > 1 else "")


@dataclass(frozen=True, repr=False)
class _Grid(Gene):
    """A real number on a grid of `levels` from `low` to `high`, both included.

    Levels are rounded to six significant digits: short to read, and the same on every machine.
    """

    low: float
    high: float
    levels: int = 13

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"{type(self).__name__}: expected finite low < high, got {self!r}")
        if isinstance(self.levels, bool) or not isinstance(self.levels, int) or self.levels < 2:
            raise ValueError(f"{type(self).__name__}: expected at least 2 levels, got {self.levels!r}")
        if any(a >= b for a, b in zip(self.values, self.values[1:], strict=False)):
            raise ValueError(
                f"{type(self).__name__}: {self.levels} levels are too many to tell apart in six digits, in {self!r}"
            )

    @abstractmethod
    def _at(self, share: float) -> float:
        """The number at a share (0 to 1) of the way from low to high."""

    @cached_property
    def values(self) -> tuple[float, ...]:
        inner = (float(f"{self._at(place / (self.levels - 1)):.6g}") for place in range(1, self.levels - 1))
        return (float(self.low), *inner, float(self.high))

    @property
    def ordinal(self) -> bool:
        """Always."""
        return True

    def index(self, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            raise ValueError(f"expected a number from {self.low:g} to {self.high:g}, got {value!r}")
        place = min(range(self.levels), key=lambda level: abs(self.values[level] - value))
        # Half a unit in the sixth digit: what rounding a level costs at most.
        if not math.isclose(value, self.values[place], rel_tol=5e-6, abs_tol=1e-9 * (self.high - self.low)):
            raise ValueError(
                f"expected one of {self.levels} levels from {self.low:g} to {self.high:g}, got {value!r}; "
                f"the nearest is {self.values[place]:g}"
            )
        return place

    def _definition(self) -> str:
        return f"{self.low!r}, {self.high!r}, levels={self.levels}"


@dataclass(frozen=True, repr=False)
class Float(_Grid):
    """A real number on an even grid of `levels` from `low` to `high`, both included (six significant digits)."""

    def _at(self, share: float) -> float:
        return self.low + share * (self.high - self.low)


@dataclass(frozen=True, repr=False)
class LogFloat(_Grid):
    """A positive number on a grid of `levels` from `low` to `high`, each the same factor above the one before."""

    def __post_init__(self) -> None:
        if not self.low > 0:
            raise ValueError(f"LogFloat: expected low > 0, got {self.low!r}")
        super().__post_init__()

    def _at(self, share: float) -> float:
        return float(self.low * (self.high / self.low) ** share)
