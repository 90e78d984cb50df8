"""How is what users have touched kept small? As gaps between the items of a row, byte by byte, compressed.

`seen.safetensors` holds two byte strings. Both are unsigned 32-bit numbers, all their lowest bytes first, then all
their second bytes and so on, as a zlib stream:

    counts   items of each user, [n_users]
    gaps     of a user's items in rising order: the first, then how many lie between it and the next, [counts.sum()]

Neighbouring items share no more than that few lie between them, so the high bytes of gaps are zero or small and
vanish, and the low bytes hold what cannot be saved. Schema version 1 kept `indptr` and `items` as they are in memory.
"""

from __future__ import annotations

import sys
import zlib
from typing import TYPE_CHECKING

import numpy as np

from gnas_ext.evaluate.seen import SeenItems
from gnas_ext.recommend._tensors import Tensors, write_arrays
from gnas_ext.recommend.manifest import SEEN

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

COUNTS, GAPS = "counts", "gaps"
INDPTR, INDICES = "indptr", "items"
_FIRST_TYPES = {INDPTR: "int64", INDICES: "int32"}
_LEVEL = 6  # 9 saves another hundredth and takes five times as long
_BYTES = 4


def write_seen(path: Path, seen: SeenItems) -> None:
    """Writes what each user has touched in training; of the same items always the same bytes."""
    gaps = np.diff(seen.items, prepend=-1) - 1
    first = seen.indptr[:-1][seen.counts > 0]
    gaps[first] = seen.items[first]
    write_arrays(path, {COUNTS: _packed(seen.counts), GAPS: _packed(gaps)})


def read_seen(folder: Path, n_users: int, n_items: int, schema: int) -> SeenItems:
    """Reads what each user has touched in training and checks that every index can be used.

    Raises:
        InputError: the file is damaged, is not for this many users, or points at an item that there is not.
    """
    found = Tensors.read(folder / SEEN)
    if schema == 1:
        return _first_schema(found, n_users, n_items)
    found.check_names((COUNTS, GAPS), ())
    counts = _numbers(found, COUNTS, n_users)
    if counts.max(initial=0) > n_items:
        raise found.refuse(f"expected at most {n_items} items a user, got {counts.max()}")
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    gaps = _numbers(found, GAPS, int(indptr[-1]))
    # Gaps are below 2**32, so that sums of less than 2**31 of them are exact.
    end = np.cumsum(gaps + 1)
    before = np.concatenate([np.zeros(1, np.int64), end])[indptr[:-1]]
    items = end - 1 - np.repeat(before, counts)
    if items.max(initial=-1) >= n_items:
        raise found.refuse(f"expected items in 0 … {n_items - 1}, got {items.max()}")
    return SeenItems(indptr=indptr, items=items.astype(np.int32))


def _packed(numbers: NDArray[np.signedinteger]) -> NDArray[np.uint8]:
    planes = np.ascontiguousarray(numbers.astype("<u4").view(np.uint8).reshape(-1, _BYTES).T)
    return np.frombuffer(zlib.compress(planes.tobytes(), _LEVEL), np.uint8)


def _numbers(found: Tensors, name: str, count: int) -> NDArray[np.int64]:
    """As many numbers from a compressed array: no more is unpacked than is expected, whatever stands in there."""
    packed = found.typed(name, "uint8")
    unpacker = zlib.decompressobj()
    try:
        # One byte more than expected, so that too many are seen.
        raw = unpacker.decompress(packed.tobytes(), min(_BYTES * count + 1, sys.maxsize))
    except zlib.error as error:
        raise found.refuse(f"{name}: not compressed numbers ({error})") from error
    if len(raw) != _BYTES * count or not unpacker.eof or unpacker.unused_data:
        raise found.refuse(f"{name}: expected {count} compressed numbers of {_BYTES} bytes, and nothing else")
    planes = np.frombuffer(raw, np.uint8).reshape(_BYTES, count)
    return np.ascontiguousarray(planes.T).view("<u4").reshape(count).astype(np.int64)


def _first_schema(found: Tensors, n_users: int, n_items: int) -> SeenItems:
    found.check_names((INDPTR, INDICES), ())
    for name, dtype in _FIRST_TYPES.items():
        found.typed(name, dtype)
    indptr, items = found.rows((INDPTR, INDICES), n_users, n_items)
    return SeenItems(indptr=indptr, items=items)
