"""What a recommendation costs: measured milliseconds, and bytes that people can read."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from gnas_ext.evaluate.rank import top_k

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gnas_ext.evaluate.seen import SeenItems
    from gnas_ext.models.base import Model

_TIMED = 256


def latency_ms(
    model: Model, users: NDArray[np.int32], k: int = 20, seen: SeenItems | None = None, repeats: int = 7
) -> float:
    """Milliseconds a user to recommend, on the CPU with torch's threads.

    Timed is `top_k` for all given users together: scoring all items, leaving out seen ones, choosing k. Loading the
    model and compressing `seen` are not. After one untimed run: the median of `repeats` runs, divided by the users.
    """
    if not len(users) or repeats < 1:
        raise ValueError(f"latency_ms: expected users and repeats, got {len(users)} users and {repeats} repeats")
    top_k(model, users, k, seen)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        top_k(model, users, k, seen)
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds) / len(users)


def timed_users(judged: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
    """Whom models are timed with: 256 of the users that are judged, evenly spaced, or all where there are fewer."""
    places = np.linspace(0, len(judged) - 1, min(_TIMED, len(judged))).astype(np.int64)
    return judged[places].astype(np.int32)


def human_bytes(size: int) -> str:
    """Bytes in decimal units with three digits: 999 B, 18.1 MB."""
    if size < 1000:
        return f"{size} B"
    value, unit = size / 1e3, "kB"
    # 999.5 would print as 1000.
    for larger in ("MB", "GB"):
        if value >= 999.5:
            value, unit = value / 1e3, larger
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f} {unit}"
