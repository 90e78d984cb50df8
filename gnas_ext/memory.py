"""Where do large outputs on the CPU live? In a pool, so that memory that is free again need not be mapped again.

Outputs of 4 MiB and more of the ops are blocks of huge pages, and so are the copies of large features that an op makes
while it runs. When the last tensor that uses a block is gone the block is kept for the next output, up to a limit.
`GNAS_EXT_POOL_BYTES` sets the limit from outside; 0 switches the pool off.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import gnas_ext._native  # noqa: F401  (torch first)
from gnas_ext import _C


class PoolStats(NamedTuple):
    """What the pool holds.

    Attributes:
        limit: bytes that may be kept unused.
        kept: bytes that are.
        in_use: bytes that tensors hold.
        reused: outputs that found a kept block.
        mapped: outputs that had to map one.
    """

    limit: int
    kept: int
    in_use: int
    reused: int
    mapped: int


def stats() -> PoolStats:
    """What the pool holds now."""
    return PoolStats(**_C.pool_stats())


def set_limit(bytes: int) -> None:  # noqa: A002
    """How much unused memory the pool may keep, in all threads; by default an eighth of the machine's, at most 2 GiB.

    Args:
        bytes: 0 or more; 0 switches the pool off. What is kept above it goes back to the system at once.

    Raises:
        ValueError: bytes is negative.
    """
    if bytes < 0:
        raise ValueError(f"set_limit: expected bytes of 0 or more, got {bytes}")
    _C.pool_set_limit(bytes)


def trim() -> int:
    """Gives what is unused back to the system; how many bytes that was."""
    return _C.pool_trim()


if "GNAS_EXT_POOL_BYTES" in os.environ:
    try:
        set_limit(int(os.environ["GNAS_EXT_POOL_BYTES"]))
    except ValueError:
        raise ValueError(
            f"GNAS_EXT_POOL_BYTES={os.environ['GNAS_EXT_POOL_BYTES']}: expected a number of bytes, 0 or more"
        ) from None
