"""What is held out: how a log is cut into training, validation and test.

Whatever the cut, codes are given anew by first appearance in training, then validation, then test: nothing about
training, not even a code, depends on the rows that are held out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from gnas_ext.data.ids import by_first_appearance
from gnas_ext.data.interactions import Interactions, Split
from gnas_ext.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gnas_ext.data.interactions import Log

METHODS = ("temporal", "leave-last-out", "random")


def split_log(log: Log, method: str | None = None, *, valid: float = 0.1, test: float = 0.2, seed: int = 0) -> Split:
    """Cuts a log by the named method; by default in time, or at random where there are no times.

    Args:
        log: a cleaned log.
        method: "temporal", "leave-last-out" or "random".
        valid: the validation's share of all interactions, or of each user's for "random"; not for "leave-last-out".
        test: the test's share, likewise.
        seed: for "random".

    Raises:
        InputError: an unknown method, impossible shares, or a part that comes out empty.
    """
    if method is None:
        method = "temporal" if log.interactions.timestamp is not None else "random"
    if method == "temporal":
        return temporal_split(log, valid, test)
    if method == "leave-last-out":
        return leave_last_out(log)
    if method == "random":
        return random_split(log, valid, test, seed)
    raise InputError(f"split: expected one of {', '.join(METHODS)}, got {method!r}")


def temporal_split(log: Log, valid: float = 0.1, test: float = 0.2) -> Split:
    """The last interactions of all users are the test, those before them the validation.

    Interactions are counted in order of time, and cut at a time: rows of one time never fall into two parts, so a
    part may be a little larger than asked for.

    Args:
        log: a log with times.
        valid: the validation's share of all interactions; 0 for none.
        test: the test's share of all interactions; 0 for none.

    Raises:
        InputError: the log has no times, the shares are impossible, or a part that was asked for comes out empty.
    """
    _check_shares(valid, test)
    log_time = log.interactions.timestamp
    if log_time is None:
        raise InputError("temporal split: the log has no times; name their column with --timestamp, or split at random")
    order = np.argsort(log_time, kind="stable")
    time = log_time[order]
    n = len(time)
    test_from = cut_in_time(time, n - _count(test, n)) if test else n
    valid_from = cut_in_time(time, max(test_from - _count(valid, n), 0)) if valid else test_from
    parts = np.split(order, [valid_from, test_from])
    for name, share, part in zip(("training", "validation", "test"), (1, valid, test), parts, strict=True):
        if share and not len(part):
            raise InputError(
                f"temporal split: no {name} rows: {n:,} interactions with {len(np.unique(time)):,} different times "
                "leave nothing between the cuts; split at random or by leave-last-out"
            )
    method = f"temporal: last {100 * test:g}% test, {100 * valid:g}% before it validation"
    return _split(log, parts[0], parts[1], parts[2], method)


def leave_last_out(log: Log) -> Split:
    """Each user's last interaction is test, the one before it validation, the rest training.

    "Last" is by time, among equal times and without times by the log's order. Users with two interactions have no
    validation, users with one are in training only.

    Raises:
        InputError: no user has two interactions.
    """
    user, time = log.interactions.user, log.interactions.timestamp
    order = np.arange(len(user)) if time is None else np.argsort(time, kind="stable")
    from_end, count = _rank_from_end(user[order])
    test = (from_end == 0) & (count >= 2)
    valid = (from_end == 1) & (count >= 3)
    if not test.any():
        raise InputError("leave-last-out: no user has two interactions; each needs two or more")
    parts = (order[~(test | valid)], order[valid], order[test])
    return _split(log, *parts, "leave-last-out: each user's last interaction test, the one before it validation")


def random_split(log: Log, valid: float = 0.1, test: float = 0.2, seed: int = 0) -> Split:
    """A share of each user's interactions, drawn by a seed; each user keeps at least one for training.

    Shares of a few rows are rounded up or down by chance, so that they are right on average.

    Args:
        log: any log.
        valid: the validation's share of each user's interactions; 0 for none.
        test: the test's share of each user's interactions; 0 for none.
        seed: the same seed draws the same rows from the same log.

    Raises:
        InputError: the shares are impossible, or a part that was asked for comes out empty.
    """
    _check_shares(valid, test)
    drawn = draw(log.interactions.user, (test, valid), np.random.default_rng(seed))
    parts = [np.flatnonzero(drawn == part) for part in (0, 2, 1)]
    for name, share, part in zip(("validation", "test"), (valid, test), parts[1:], strict=True):
        if share and not len(part):
            raise InputError(f"random split: no {name} rows; the log is too small for {100 * share:g}% a user")
    method = f"random: {100 * test:g}% of each user's interactions test, {100 * valid:g}% validation, seed {seed}"
    return _split(log, parts[0], parts[1], parts[2], method)


def draw(user: NDArray[Any], shares: tuple[float, ...], rng: np.random.Generator) -> NDArray[np.int8]:
    """Draws shares of each user's rows.

    Returns:
        For each row 0 if it is left, k if it fell to the k-th share (from 1). Each user keeps a row.
    """
    shuffled = rng.permutation(len(user))
    rank = np.empty(len(user), dtype=np.int64)
    from_end, size = _rank_from_end(user[shuffled])
    rank[shuffled] = from_end
    count = np.empty_like(rank)
    count[shuffled] = size
    chance = rng.random(int(user.max(initial=-1)) + 1)[user]  # one number a user: all its shares round together
    part = np.zeros(len(user), dtype=np.int8)
    for k in range(len(shares), 0, -1):
        part[rank < np.minimum(np.floor(count * sum(shares[:k]) + chance), count - 1)] = k
    return part


def recode(parts: list[Interactions]) -> tuple[list[Interactions], NDArray[np.int64], NDArray[np.int64]]:
    """Gives codes anew by first appearance in the first part, then the second, and so on.

    Returns:
        The parts, and the old user and item code of each new one.
    """
    users, items = (np.concatenate([getattr(part, side) for part in parts]) for side in ("user", "item"))
    new_user, user_rows = by_first_appearance(users)
    new_item, item_rows = by_first_appearance(items)
    ends = np.cumsum([len(part) for part in parts])[:-1]
    recoded = [
        Interactions(user, item, part.timestamp)
        for user, item, part in zip(np.split(new_user, ends), np.split(new_item, ends), parts, strict=True)
    ]
    return recoded, users[user_rows].astype(np.int64), items[item_rows].astype(np.int64)


def _split(log: Log, train: NDArray[Any], valid: NDArray[Any], test: NDArray[Any], method: str) -> Split:
    parts, users, items = recode([log.interactions.select(rows) for rows in (train, valid, test)])
    return Split(
        parts[0],
        parts[1],
        parts[2],
        log.user_ids.gather(users),
        log.item_ids.gather(items),
        method,
        log.steps,
        log.guesses,
        log.items,
    )


def _check_shares(valid: float, test: float) -> None:
    if not (0 <= valid < 1 and 0 <= test < 1 and valid + test < 1):
        raise InputError(f"split: expected shares from 0 that leave some for training, got valid={valid}, test={test}")


def _count(share: float, n: int) -> int:
    """A share of n rows, rounded up, at least one; .7 * 10 is 7 rows, although its float is a little more."""
    return max(math.ceil(share * n - 1e-6), 1)


def cut_in_time(time: NDArray[np.int64], at: int) -> int:
    """The first row of the time at row `at`, of rows in order of time: a cut there keeps those of one time together."""
    return int(np.searchsorted(time, time[min(at, len(time) - 1)], side="left"))


def _rank_from_end(user: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each row, how many rows of its user come after it, and how many its user has."""
    count = np.bincount(user)
    order = np.argsort(user, kind="stable")
    ends = np.cumsum(count)[user[order]]
    from_end = np.empty(len(user), dtype=np.int64)
    from_end[order] = ends - 1 - np.arange(len(user))
    return from_end, count[user]
