"""What a log is once it is read: parallel arrays of who touched what, and the ids behind their codes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    IntCodes = NDArray[np.int32]
    Seconds = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Interactions:
    """Who touched what, and when.

    Attributes:
        user: code of the user, [n], int32.
        item: code of the item, [n], int32.
        timestamp: Unix time in seconds, [n], int64; None where the log has no times.
    """

    user: IntCodes
    item: IntCodes
    timestamp: Seconds | None = None

    def __len__(self) -> int:
        return len(self.user)

    def select(self, rows: NDArray[Any]) -> Interactions:
        """The given rows: a boolean mask of length n, or row numbers."""
        return Interactions(self.user[rows], self.item[rows], None if self.timestamp is None else self.timestamp[rows])

    @staticmethod
    def concatenate(parts: list[Interactions]) -> Interactions:
        """All rows of all parts, in order; times are kept only where every part has them."""
        times = [part.timestamp for part in parts]
        kept = [time for time in times if time is not None]
        return Interactions(
            np.concatenate([part.user for part in parts]),
            np.concatenate([part.item for part in parts]),
            np.concatenate(kept) if len(kept) == len(times) else None,
        )


@dataclass(frozen=True)
class Step:
    """One step of the cleaning: what it did and how many rows it cost."""

    name: str
    rows_before: int
    rows_after: int
    note: str = ""


@dataclass(frozen=True, eq=False)
class Log:
    """A cleaned log.

    Attributes:
        interactions: one row a (user, item) pair, in order of time where there are times, else in file order.
        user_ids: the id behind each user code, as it stood in the file (strings keep leading zeros).
        item_ids: the id behind each item code.
        steps: what reading and cleaning did, in order.
        guesses: what was guessed about the file ("user: column 'userId'").
        items: optional facts about items, one row an item: `item` (its id), `title`, `genres`.
    """

    interactions: Interactions
    user_ids: pl.Series
    item_ids: pl.Series
    steps: tuple[Step, ...] = ()
    guesses: tuple[str, ...] = ()
    items: pl.DataFrame | None = None


@dataclass(frozen=True, eq=False)
class Split:
    """A log cut into training, validation and test.

    Codes follow first appearance in training, then validation, then test, so that the codes seen in training
    are 0 … n-1 and nothing about training depends on what is held out.

    Attributes:
        train, valid, test: the three parts; `valid` or `test` may be empty.
        user_ids, item_ids: the id behind each code.
        method: how it was cut, for people ("temporal: last 20% test, 10% before it validation").
        items: as in `Log`.
    """

    train: Interactions
    valid: Interactions
    test: Interactions
    user_ids: pl.Series
    item_ids: pl.Series
    method: str
    steps: tuple[Step, ...] = ()
    guesses: tuple[str, ...] = ()
    items: pl.DataFrame | None = field(default=None)

    @property
    def train_and_valid(self) -> Interactions:
        """What the final model is trained on."""
        return Interactions.concatenate([self.train, self.valid])


def n_users(part: Interactions) -> int:
    """Rows that a user table needs for this part (codes are 0 … n-1)."""
    return int(part.user.max()) + 1 if len(part) else 0


def n_items(part: Interactions) -> int:
    """Rows that an item table needs for this part."""
    return int(part.item.max()) + 1 if len(part) else 0
