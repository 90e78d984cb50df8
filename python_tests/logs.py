"""Small logs with something to learn: users of two tastes, popular items, and a fashion that changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from gnas_ext.data import Interactions, Log, split_log

if TYPE_CHECKING:
    from gnas_ext.data import Split

DAY = 86_400


def touches(n_users: int = 40, n_items: int = 30, each: int = 12, seed: int = 0, times: bool = True) -> Interactions:
    """Every user touches `each` items, mostly of their own taste (user and item codes of one parity), in time order."""
    rng = np.random.default_rng(seed)
    alike = np.arange(n_users)[:, None] % 2 == np.arange(n_items) % 2
    liking = np.where(alike, 1.0, 0.05) / (1 + np.arange(n_items)) ** 0.5
    user = np.repeat(np.arange(n_users), each).astype(np.int32)
    item = np.concatenate([rng.choice(n_items, each, replace=False, p=row / row.sum()) for row in liking])
    # Larger codes are touched later.
    time = np.sort(rng.integers(0, 100 * DAY, len(user)))
    order = np.argsort(item + rng.normal(0, n_items, len(item)))
    rows = Interactions(user[order], item[order].astype(np.int32), 1_500_000_000 + time)
    return rows if times else Interactions(rows.user, rows.item)


def log(seed: int = 0, times: bool = True) -> Log:
    """The touches with ids: user 3 is "u3"."""
    rows = touches(seed=seed, times=times)
    users, items = int(rows.user.max()) + 1, int(rows.item.max()) + 1
    return Log(rows, pl.Series([f"u{code}" for code in range(users)]), pl.Series([f"i{code}" for code in range(items)]))


def split(seed: int = 0, times: bool = True) -> Split:
    """The log cut in time, or at random where it has no times."""
    return split_log(log(seed, times))
