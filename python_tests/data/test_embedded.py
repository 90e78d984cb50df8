from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import polars as pl
import pytest

from gnas_ext.data import movietweetings, n_items, n_users, read_log, temporal_split

if TYPE_CHECKING:
    from pathlib import Path

    from gnas_ext.data import Log


@pytest.fixture(scope="module")
def log() -> Log:
    return movietweetings(min_rating=6, k_core=5)


def test_the_clean_log_has_the_known_size(log: Log) -> None:
    part = log.interactions
    assert (len(part), n_users(part), n_items(part)) == (55_826, 3_919, 2_052)


def test_its_temporal_split_has_the_known_size(log: Log) -> None:
    split = temporal_split(log)
    assert (len(split.train_and_valid), len(split.test)) == (44_660, 11_166)


def test_uncleaned_it_is_whole() -> None:
    log = movietweetings()
    assert (len(log.interactions), len(log.user_ids), len(log.item_ids)) == (100_000, 16_554, 10_506)


def test_ids_keep_their_leading_zeros(log: Log) -> None:
    assert log.item_ids.str.len_chars().unique().to_list() == [7]
    assert log.item_ids.str.starts_with("0").any()


def test_each_item_has_a_title(log: Log) -> None:
    assert log.items is not None
    titles = dict(log.items.select("item", "title").iter_rows())
    assert all(titles[item] for item in log.item_ids)
    assert titles["0104257"] == "A Few Good Men (1992)"


def test_it_is_small_and_has_its_licence() -> None:
    folder = files("gnas_ext.data") / "movietweetings"
    assert sum(len(entry.read_bytes()) for entry in folder.iterdir()) < 1_500_000
    assert "Simon Dooms" in (folder / "LICENSE").read_text()


def test_it_is_row_for_row_what_was_published(shared: Path) -> None:
    published = shared / "movietweetings-100k"
    folder = files("gnas_ext.data") / "movietweetings"
    for name, text in (("ratings", "ratings.dat"), ("movies", "movies.dat")):
        frame = pl.read_parquet((folder / f"{name}.parquet").read_bytes())
        lines = ["::".join("" if cell is None else str(cell) for cell in row) for row in frame.iter_rows()]
        assert lines == (published / text).read_text(encoding="utf-8").splitlines()


def test_the_published_text_gives_the_same_log(shared: Path, log: Log) -> None:
    published = shared / "movietweetings-100k"
    text = read_log(published / "ratings.dat", min_rating=6, k_core=5, items=published / "movies.dat")
    assert text.item_ids.to_list() == log.item_ids.to_list()
    assert text.user_ids.cast(pl.String).to_list() == log.user_ids.to_list()
    assert (text.interactions.user == log.interactions.user).all()
    assert text.items is not None
    assert log.items is not None
    assert text.items.sort("item").equals(log.items.sort("item"))
