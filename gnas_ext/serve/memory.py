"""Who keeps memory that a reload has freed? The allocators; each gives it back when it is asked in its own way.

Loading takes more than an artefact keeps. Of what is free again, the C library, Arrow and Polars each hold some for the
next request, a thread at a time, so that a process that has reloaded holds tens of megabytes more than one that has
just begun. That levels off after a few reloads; what is here takes most of it away.
"""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

import pyarrow as pa

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD
_LARGE = 4 << 20  # bytes


def keep_large_apart() -> None:
    """Has glibc map large blocks on their own, so that they go back when they are freed. For the whole process.

    By itself it raises what counts as large to the largest block that was ever freed, up to 32 MiB: tables then lie in
    the heaps of threads, and up to twice as much stays on top of each, where `malloc_trim` does not look.
    """
    with suppress(AttributeError, OSError):
        c = ctypes.CDLL(None)
        c.mallopt(_MMAP_THRESHOLD, _LARGE)
        c.mallopt(_TRIM_THRESHOLD, 2 * _LARGE)


def give_back() -> None:
    """Returns freed memory to the system, where the allocators can; to be called by the thread that has loaded.

    Arrow's pool (mimalloc) lets go of what the calling thread has freed, and of no other thread's.
    """
    gc.collect()
    pa.default_memory_pool().release_unused()
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
