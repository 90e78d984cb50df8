"""Does a trial's model keep to limits, and will it still when it has learned from validation too?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gnas_ext.data.interactions import n_items, n_users
from gnas_ext.search.recommender.whole import plain

if TYPE_CHECKING:
    from gnas_ext.compress.adapt import Limits
    from gnas_ext.data.interactions import Interactions, Split
    from gnas_ext.search.trial import Trial


@dataclass(frozen=True)
class Bounds:
    """Limits, and how much smaller a trial's model must be, which has seen training alone.

    Attributes:
        limits: of what is handed over.
        rows: share of the users and items that training has: tables grow with these.
        touches: share of the touches: histories and item weights grow with them, at least.
    """

    limits: Limits
    rows: float = 1.0
    touches: float = 1.0

    @classmethod
    def of(cls, limits: Limits | None, split: Split) -> Bounds | None:
        """Of a split; None without limits."""
        if limits is None or not limits.given:
            return None
        both = split.train_and_valid
        return cls(limits, _rows(split.train) / _rows(both), len(split.train) / len(both))

    @property
    def tables(self) -> Limits:
        """Of a model of two tables that has seen training alone."""
        return self.limits.scaled(self.rows)

    def beyond(self, trial: Trial) -> float:
        """How far a trial's model is beyond them; 1 or less keeps to them. One that was not timed is taken for fast."""
        share = self.rows if has_tables(trial) else min(self.rows, self.touches)
        return self.limits.scaled(share).excess(trial.attributes["bytes"], trial.attributes.get("ms", 0.0))


def has_tables(trial: Trial) -> bool:
    """Whether a trial's model is two tables of rows, which recipes can make smaller."""
    return "codes" in plain(trial.genotype)


def _rows(part: Interactions) -> int:
    return n_users(part) + n_items(part)
