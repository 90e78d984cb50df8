from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from python_tests.recommend.conftest import make_sample
from python_tests.recommend.sealing import (
    FILES,
    refusal,
    refusal_or_none,
    reseal,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sample("int8").save(tmp_path_factory.mktemp("shared") / "a")


@pytest.fixture(scope="module", params=["popularity", "item_knn", "graph_filter", "item_weights"])
def shared_classic(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sample(request.param).save(tmp_path_factory.mktemp("shared") / "a")


@settings(max_examples=25, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_refused(shared_folder: Path, name: str, data: st.DataObject) -> None:
    path = shared_folder / name
    before = path.read_bytes()
    bit = data.draw(st.integers(0, 8 * len(before) - 1))
    damaged = bytearray(before)
    damaged[bit // 8] ^= 1 << bit % 8
    path.write_bytes(damaged)
    try:
        assert name in refusal(shared_folder)
    finally:
        path.write_bytes(before)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_flipped_bit_in_the_manifest_is_refused_or_changes_nothing(shared_folder: Path, data: st.DataObject) -> None:
    path = shared_folder / "manifest.json"
    before = path.read_bytes()
    bit = data.draw(st.integers(0, 8 * len(before) - 1))
    damaged = bytearray(before)
    damaged[bit // 8] ^= 1 << bit % 8
    path.write_bytes(damaged)
    try:
        message = refusal_or_none(shared_folder)
        if message is None:  # 1e-3 is 1E-3
            assert json.loads(damaged) == json.loads(before)
        else:
            assert "manifest.json" in message
    finally:
        path.write_bytes(before)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("name", FILES[:-1])
def test_a_damaged_file_with_right_hashes_is_refused_or_read_whole(
    shared_folder: Path, name: str, data: st.DataObject
) -> None:
    damage(shared_folder, name, data)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_damaged_tensors_of_classics_with_right_hashes_are_refused_or_read_whole(
    shared_classic: Path, data: st.DataObject
) -> None:
    damage(shared_classic, "model.safetensors", data)


def damage(folder: Path, name: str, data: st.DataObject) -> None:
    """Writes other bytes into a file, makes the hashes right, and reads and uses it where it is not refused."""
    path, seal = folder / name, folder / "manifest.json"
    before = path.read_bytes(), seal.read_bytes()
    damaged = bytearray(before[0])
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged[: data.draw(st.sampled_from([len(damaged), len(damaged) // 2]))])
    reseal(folder)
    try:
        message = refusal_or_none(folder)
        assert message is None or "\n" not in message
    finally:
        path.write_bytes(before[0])
        seal.write_bytes(before[1])
