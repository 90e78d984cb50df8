"""What a raw log loses on its way to a clean one: each step counted, none silent.

Cleaning looks at the whole log, also at what is later held out: of two equal pairs the later one stays, and a k-core
counts all interactions. That is how published figures are made. What must not look ahead starts after the split.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from gnas_ext.data.ids import by_first_appearance
from gnas_ext.data.interactions import Interactions, Log, Step
from gnas_ext.data.times import MICROS
from gnas_ext.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gnas_ext.data.interactions import IntCodes, Seconds


@dataclass(frozen=True)
class Options:
    """What the caller asks for.

    Attributes:
        min_rating: the lowest rating that counts as an interaction.
        k_core: interactions that each user and each item must have; None, 0 and 1 ask for nothing.
        start, end: microseconds since 1970; from `start` to before `end`.
    """

    min_rating: float | None = None
    k_core: int | None = None
    start: int | None = None
    end: int | None = None

    def __post_init__(self) -> None:
        if self.k_core is not None and self.k_core < 0:
            raise InputError(f"k_core: expected a whole number from 0, got {self.k_core}")
        if self.min_rating is not None and not np.isfinite(self.min_rating):
            raise InputError(f"min_rating: expected a number, got {self.min_rating}")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise InputError("start: expected a time before end; the range holds nothing")


@dataclass(frozen=True, eq=False)
class Raw:
    """Rows as they stand in a file, without those that are no interaction.

    Attributes:
        path: the file, for errors.
        user, item: codes in order of first appearance, [n], int32.
        micros: microseconds since 1970, [n], int64, where the log has times.
        rating: [n], float64, where ratings are asked for.
        user_ids, item_ids: the id behind each code.
        steps, guesses: what was done and guessed so far.
    """

    path: str
    user: IntCodes
    item: IntCodes
    micros: NDArray[np.int64] | None
    rating: NDArray[np.float64] | None
    user_ids: pl.Series
    item_ids: pl.Series
    steps: tuple[Step, ...] = ()
    guesses: tuple[str, ...] = ()

    def select(self, rows: NDArray[Any]) -> Raw:
        """The given rows: a mask or row numbers."""
        return replace(
            self,
            user=self.user[rows],
            item=self.item[rows],
            micros=None if self.micros is None else self.micros[rows],
            rating=None if self.rating is None else self.rating[rows],
        )


def clean(raw: Raw, options: Options) -> Log:
    """Time range, duplicates, rating threshold and k-core, in this order.

    Raises:
        InputError: a step drops all rows, or at the end only one user or one item is left.
    """
    for step in raw.steps:
        _refuse_if_empty(raw.path, step, _MENDS[step.name])
    if raw.micros is not None and (raw.micros[1:] < raw.micros[:-1]).any():
        order = pl.DataFrame({"micros": raw.micros}).select(pl.arg_sort_by("micros", maintain_order=True)).to_series()
        raw = raw.select(order.to_numpy())
    if options.start is not None or options.end is not None:
        raw = _apply(raw, "time range", _in_range(raw, options), "from start to before end")
    kept = "the last by time is kept" if raw.micros is not None else "the last in the file is kept"
    last = last_of_each_pair(raw.user, raw.item)
    raw = _apply(raw, "duplicates", last, "" if last.all() else kept)
    if options.min_rating is not None and raw.rating is not None:
        raw = _apply(raw, "rating threshold", raw.rating >= options.min_rating, f"at least {options.min_rating:g}")
    if options.k_core is not None and options.k_core > 1:
        mask, rounds = k_core(raw.user, raw.item, options.k_core)
        times = "round" if rounds == 1 else "rounds"
        raw = _apply(raw, f"{options.k_core}-core", mask, f"each user and item has {options.k_core}; {rounds} {times}")
    return _log(raw)


def last_of_each_pair(user: IntCodes, item: IntCodes) -> NDArray[np.bool_]:
    """A mask of the rows that are the last of their (user, item) pair."""
    pair = user.astype(np.int64) * (int(item.max(initial=0)) + 1) + item
    return pl.Series(pair).is_last_distinct().to_numpy()


def k_core(user: IntCodes, item: IntCodes, k: int) -> tuple[NDArray[np.bool_], int]:
    """The largest part of the log in which each user and each item has at least k rows.

    Returns:
        A mask of its rows, and how many rounds over users and items it took.
    """
    rows = np.arange(len(user))
    rounds = 0
    while True:
        rounds += 1
        before = len(rows)
        for side in (user, item):
            codes = side[rows]
            rows = rows[np.bincount(codes)[codes] >= k] if len(codes) else rows
        if len(rows) == before:
            break
    mask = np.zeros(len(user), dtype=np.bool_)
    mask[rows] = True
    return mask, rounds


_MENDS = {
    "bad lines": "check the separator (--sep) and the columns",
    "missing values": "check which columns are named (--user, --item, --timestamp, --rating)",
    "time range": "check --start and --end",
    "rating threshold": "lower --min-rating",
    "k-core": "lower --k-core, or keep more before it",
    "duplicates": "",
}


def _in_range(raw: Raw, options: Options) -> NDArray[np.bool_]:
    if raw.micros is None:
        raise InputError(f"{raw.path}: start and end need times; name their column with --timestamp")
    mask = np.ones(len(raw.micros), dtype=np.bool_)
    if options.start is not None:
        mask &= raw.micros >= options.start
    if options.end is not None:
        mask &= raw.micros < options.end
    return mask


def _apply(raw: Raw, name: str, mask: NDArray[np.bool_], note: str) -> Raw:
    step = Step(name, len(mask), int(mask.sum()), note)
    _refuse_if_empty(raw.path, step, _MENDS["k-core" if name.endswith("-core") else name])
    kept = raw if mask.all() else raw.select(mask)
    return replace(kept, steps=(*raw.steps, step))


def _refuse_if_empty(path: str, step: Step, mend: str) -> None:
    if step.rows_before == 0:
        raise InputError(f"{path}: the file holds no interactions, only a header; expected a line an interaction")
    if step.rows_after == 0:
        raise InputError(f"{path}: the step '{step.name}' dropped all {step.rows_before:,} rows; {mend}")


def _log(raw: Raw) -> Log:
    user, user_rows = by_first_appearance(raw.user)
    item, item_rows = by_first_appearance(raw.item)
    user_ids = raw.user_ids.gather(raw.user[user_rows])
    item_ids = raw.item_ids.gather(raw.item[item_rows])
    for side, ids in (("user", user_ids), ("item", item_ids)):
        if len(ids) == 1:
            raise InputError(
                f"{raw.path}: only one {side} is left, {ids[0]!r}; a recommender needs two or more. "
                f"Check --{side}, --min-rating and --k-core"
            )
    seconds: Seconds | None = None if raw.micros is None else raw.micros // MICROS
    return Log(Interactions(user, item, seconds), user_ids, item_ids, raw.steps, raw.guesses)
