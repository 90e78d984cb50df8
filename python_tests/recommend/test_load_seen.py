from __future__ import annotations

import shutil
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from safetensors.numpy import save_file

from gnas_ext.data import n_items, n_users, read_split
from gnas_ext.evaluate.seen import SeenItems
from gnas_ext.recommend import load
from gnas_ext.recommend._seen import read_seen
from gnas_ext.recommend._seen import write_seen as write_seen_file
from gnas_ext.recommend.manifest import SCHEMA_VERSION, SEEN
from python_tests.recommend.conftest import ITEMS
from python_tests.recommend.sealing import (
    change_tensor,
    put,
    refusal,
    reseal,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


SAMPLES = Path(__file__).parent / "samples" / "schema-1"


def packed(numbers: list[int]) -> NDArray[np.uint8]:
    """Numbers as `seen.safetensors` holds them, by another way than ours: lowest bytes first, then the second ones …"""
    planes = b"".join(bytes(number >> 8 * byte & 255 for number in numbers) for byte in range(4))
    return np.frombuffer(zlib.compress(planes), np.uint8)


def write_seen(folder: Path, counts: NDArray[Any] | list[int], gaps: NDArray[Any] | list[int]) -> None:
    both = {"counts": counts, "gaps": gaps}
    save_file({name: packed(a) if isinstance(a, list) else a for name, a in both.items()}, folder / "seen.safetensors")


def test_seen_items_are_gaps(folder: Path) -> None:
    write_seen(folder, [3, 0, 1] + [0] * 9, [2, 0, 4, 29])
    reseal(folder)
    seen = load(folder).seen
    assert [seen.of(user).tolist() for user in range(4)] == [[2, 3, 8], [], [29], []]


def test_a_real_logs_touches_take_less_than_a_third_of_their_memory(tmp_path: Path, shared: Path) -> None:
    parts = (shared / "gowalla" / f"{part}.txt" for part in ("train", "valid", "test"))
    train = read_split(*parts).train_and_valid
    seen = SeenItems.from_interactions(train, n_users(train))
    write_seen_file(tmp_path / SEEN, seen)
    assert 3 * (tmp_path / SEEN).stat().st_size < seen.indptr.nbytes + seen.items.nbytes
    again = read_seen(tmp_path, n_users(train), n_items(train), SCHEMA_VERSION)
    assert np.array_equal(again.indptr, seen.indptr)
    assert np.array_equal(again.items, seen.items)


NOBODY = [0] * 11


@pytest.mark.parametrize(
    ("counts", "gaps", "message"),
    [
        ([1, *NOBODY], [ITEMS], "expected items in 0 … 29, got 30"),
        ([2, *NOBODY], [20, 9], "expected items in 0 … 29, got 30"),
        ([3, *NOBODY], [2**32 - 1] * 3, "expected items in 0 … 29, got 12884901887"),
        ([31, *NOBODY], [0] * 31, "expected at most 30 items a user, got 31"),
        ([2**32 - 1, *NOBODY], [0], "expected at most 30 items a user, got 4294967295"),
        ([1, *NOBODY], [0, 0], "gaps: expected 1 compressed numbers"),
        ([2, *NOBODY], [0], "gaps: expected 2 compressed numbers"),
        (NOBODY, [], "counts: expected 12 compressed numbers"),
        ([*NOBODY, 0, 0], [], "counts: expected 12 compressed numbers"),
        (np.arange(3.0), [], "counts: expected uint8, got float64"),
        (np.frombuffer(b"no zlib", np.uint8), [], "counts: not compressed numbers"),
        (np.append(packed([0] * 12), np.uint8(0)), [], "and nothing else"),
        (packed([0] * 12)[:-1].copy(), [], "and nothing else"),
        (np.frombuffer(zlib.compress(bytes(10 << 20)), np.uint8), [], "expected 12 compressed numbers of 4 bytes"),
    ],
)
def test_seen_items_that_cannot_be_are_refused(
    folder: Path, counts: NDArray[Any] | list[int], gaps: list[int], message: str
) -> None:
    write_seen(folder, counts, gaps)
    reseal(folder)
    refused = refusal(folder)
    assert "seen.safetensors: " in refused
    assert message in refused


@pytest.mark.parametrize("kind", ["int8", "item_knn"])
def test_an_artefact_of_the_first_schema_answers_as_when_it_was_written(kind: str) -> None:
    recommender = load(SAMPLES / kind)
    wanted = pl.read_parquet(SAMPLES / f"{kind}.parquet")
    assert recommender.manifest.spread == {}
    assert_frame_equal(recommender.recommend(recommender.user_ids, k=ITEMS), wanted, abs_tol=1e-6)


@pytest.mark.parametrize(
    ("tensor", "change", "message"),
    [
        ("items", put(0, ITEMS), "expected items in 0 … 29, got"),
        ("items", put(0, -1), "expected items in 0 … 29, got -1"),
        ("items", lambda a: a[::-1].copy(), "expected items of each row in rising order"),
        ("items", lambda a: a[1:], "expected indptr to rise from 0"),
        ("items", lambda a: a.astype(np.int64), "items: expected int32, got int64"),
        ("items", lambda a: a[:, None], "one-dimensional"),
        ("items", lambda a: None, "tensor items is missing"),
        ("indptr", lambda a: a.astype(np.int32), "indptr: expected int64, got int32"),
        ("indptr", put(0, 1), "expected indptr to rise from 0"),
        ("indptr", put(4, 0), "expected indptr to rise from 0"),
        ("indptr", put(-1, 1 << 40), "expected indptr to rise from 0"),
        ("indptr", lambda a: a[1:], "expected indptr of length 13 (rows + 1), got 12"),
    ],
)
def test_seen_items_of_the_first_schema_that_cannot_be_are_refused(
    tmp_path: Path, tensor: str, change: Callable[[NDArray[Any]], NDArray[Any] | None], message: str
) -> None:
    folder = Path(shutil.copytree(SAMPLES / "int8", tmp_path / "a"))
    change_tensor(folder / "seen.safetensors", tensor, change)
    reseal(folder)
    refused = refusal(folder)
    assert "seen.safetensors: " in refused
    assert message in refused
