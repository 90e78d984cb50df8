from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from gnas_ext.data import Interactions, Log, read_items
from gnas_ext.data.items import attach_items
from gnas_ext.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Write = Callable[[str, str | bytes], Path]


def log_of(*item_ids: int | str) -> Log:
    codes = np.arange(len(item_ids), dtype=np.int32)
    return Log(Interactions(codes, codes), pl.Series(list(range(len(item_ids)))), pl.Series(item_ids))


def test_titles_and_genres_are_read(write: Write) -> None:
    items = read_items(write("movies.csv", 'movieId,title,genres\n1,"Tea, cold",Drama|War\n2,Milk,\n'))
    assert items.rows() == [(1, "Tea, cold", "Drama|War"), (2, "Milk", None)]


def test_a_file_without_a_header_goes_by_position(write: Write) -> None:
    items = read_items(write("movies.dat", "0104257::A Few Good Men (1992)::Drama\n1::M::\n"))
    assert items.rows() == [("0104257", "A Few Good Men (1992)", "Drama"), ("1", "M", None)]


def test_genres_may_be_missing(write: Write) -> None:
    assert read_items(write("items.tsv", "asin\tname\nB01\tTea\n")).rows() == [("B01", "Tea", None)]


def test_columns_can_be_named(write: Write) -> None:
    items = read_items(write("items.csv", "a,b,c\nx,Tea,Drinks\n"), item="a", title="b", genres="c")
    assert items.rows() == [("x", "Tea", "Drinks")]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_latin1_is_understood(write: Write, pack: Callable[[bytes], bytes]) -> None:
    text = "1::Misérables, Les (1995)::Drama\n2::Tea::Drama\n".encode("latin-1")
    assert read_items(write("movies.dat", pack(text)))["title"][0] == "Misérables, Les (1995)"


def test_parquet_and_json_lines_are_read(tmp_path: Path) -> None:
    frame = pl.DataFrame({"item_id": ["a", "b"], "title": ["A", "B"]})
    frame.write_parquet(tmp_path / "items.parquet")
    frame.write_ndjson(tmp_path / "items.jsonl")
    assert read_items(tmp_path / "items.parquet").equals(read_items(tmp_path / "items.jsonl"))


def test_the_last_row_of_an_item_counts(write: Write) -> None:
    assert read_items(write("items.csv", "item,title\n1,Old\n2,Tea\n1,New\n")).rows() == [
        (2, "Tea", None),
        (1, "New", None),
    ]


def test_a_missing_title_column_is_refused(write: Write) -> None:
    with pytest.raises(InputError, match=r"no column 'title'; found item, label\. Name it with --title label"):
        read_items(write("items.csv", "item,label\n1,x\n"))


def test_a_list_without_titles_is_refused(write: Write) -> None:
    with pytest.raises(InputError, match="no item with a title"):
        read_items(write("items.csv", "item,title\n1,\n,x\n"))


@pytest.mark.parametrize("listed", [[1, 2], ["1", "2", "x"]])
def test_ids_are_brought_to_the_log_s_type(listed: list[int] | list[str]) -> None:
    items = attach_items(log_of(1, 7), pl.DataFrame({"item": listed})).items
    assert items is not None
    assert items["item"].to_list() == [1, 2]


def test_numbers_match_a_log_with_strings() -> None:
    items = attach_items(log_of("1", "x"), pl.DataFrame({"item": [1, 2]})).items
    assert items is not None
    assert items["item"].to_list() == ["1", "2"]


def test_a_list_of_other_items_is_refused() -> None:
    with pytest.raises(InputError, match="none of the log's 2 items is in the list, such as 'a'"):
        attach_items(log_of("a", "b"), pl.DataFrame({"item": ["c"]}))


def test_a_list_without_ids_is_refused() -> None:
    with pytest.raises(InputError, match="no column 'item'; found id"):
        attach_items(log_of("a"), pl.DataFrame({"id": ["a"]}))
