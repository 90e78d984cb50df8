"""What one evaluation was and gave."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from gnas_ext.search.genotype import Genotype

Origin: TypeAlias = Literal["initial", "random", "mutation", "crossover", "decoder", "promotion"]
State: TypeAlias = Literal["complete", "failed"]


@dataclass(frozen=True)
class Outcome:
    """What an evaluation may return where numbers alone do not say enough.

    Attributes:
        values: one number an objective, or a single number.
        attributes: further facts to keep with the trial (metrics, a learning curve): what JSON can hold, under names.
            Tuples become lists; NaN and infinities become None, for JSON has none.
        spared: seconds of work that an earlier evaluation had done for this one; they count as its own, for who plans
            with them cannot know what will be at hand.
    """

    values: float | Sequence[float]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    spared: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "attributes", as_json(self.attributes, "attributes"))


@dataclass(frozen=True)
class Trial:
    """One evaluated genotype. Trials are equal when all but the seconds is.

    Attributes:
        number: 0 for the first of the study.
        genotype: what was evaluated.
        state: "complete", or "failed".
        values: one number an objective; empty if it failed.
        reason: why it failed, in one line; empty if it did not.
        seconds: how long the evaluation took, or would have taken without what earlier ones had done for it.
        origin: "initial" (handed to the search), "random", "mutation", "crossover", "decoder", or "promotion"
            (evaluated before, at a lower fidelity).
        parents: numbers of the trials that it comes from: none, one or two.
        attributes: what the evaluation said besides.
        fidelity: what share of a full evaluation it was; 1 unless `evolve` was told of fidelities.
    """

    number: int
    genotype: Genotype
    state: State
    values: tuple[float, ...] = ()
    reason: str = ""
    seconds: float = field(default=0.0, compare=False)
    origin: Origin = "random"
    parents: tuple[int, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict, hash=False)
    fidelity: float = 1.0


def as_json(value: Any, name: str) -> Any:
    """The value as it comes back from JSON; TypeError naming the part that JSON cannot hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [as_json(item, f"{name}[{place}]") for place, item in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: as_json(item, f"{name}[{key!r}]") for key, item in value.items()}
    raise TypeError(
        f"{name}: expected what JSON can hold (numbers, str, None, lists, dicts by str), got {type(value).__name__}"
    )
