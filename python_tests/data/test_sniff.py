from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import polars as pl
import pytest

from gnas_ext.data.sniff import sniff
from gnas_ext.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Write = Callable[[str, str | bytes], Path]


@pytest.mark.parametrize("separator", [",", "\t", ";", "|", "::", " "])
def test_the_separator_is_found(write: Write, separator: str) -> None:
    rows = [["user", "item", "rating"], ["1", "2", "3.5"], ["4", "5", "1"]]
    layout = sniff(write("log", "\n".join(separator.join(row) for row in rows)))
    assert (layout.separator, layout.columns, layout.header) == (separator, ("user", "item", "rating"), True)


def test_commas_within_quotes_do_not_count(write: Write) -> None:
    layout = sniff(write("log", 'user,title,item\n1,"a, b, c",2\n3,"d, e",4\n5,"f\ng, h",6\n'))
    assert (layout.separator, len(layout.columns)) == (",", 3)


def test_decimal_commas_do_not_hide_the_semicolons(write: Write) -> None:
    assert sniff(write("log", "user;item;rating\n1;2;3,5\n1;3;4,5\n")).separator == ";"


def test_dates_with_a_blank_do_not_make_the_blank_a_separator(write: Write) -> None:
    text = "user\titem\ttime\n1\t2\t2013-01-02 03:04:05 UTC\n1\t3\t2013-01-02 03:04:05 UTC\n"
    assert sniff(write("log", text)).separator == "\t"


@pytest.mark.parametrize("sep", ["tab", "\\t", "\t"])
def test_a_tab_can_be_typed(write: Write, sep: str) -> None:
    assert sniff(write("log", "1\t2\n"), sep).separator == "\t"


@pytest.mark.parametrize(
    ("first", "header"),
    [
        ("1,2,3,4", False),
        ("A1YS9MDZP93857,0006428320,3.0,1394496000", False),
        ("alice,tea,2013-01-02T03:04:05Z", False),
        ("a,b,-1.5e3", False),
        ("userId,movieId,rating", True),
        ("who,what", True),
        (",user,item", True),
    ],
)
def test_a_header_has_no_numbers_and_no_dates(write: Write, first: str, header: bool) -> None:
    assert sniff(write("log", first + "\n")).header is header


def test_a_column_that_is_expected_makes_a_header(write: Write) -> None:
    assert sniff(write("log", "u,2013\n1,2\n"), names=["u"]).header


def test_unnamed_and_repeated_columns_get_names(write: Write) -> None:
    assert sniff(write("log", ",user,user\n0,1,2\n")).columns == ("column_1", "user", "user_again")


def test_comments_and_blank_lines_above_are_skipped(write: Write) -> None:
    layout = sniff(write("log", "# From To\n\n% more\nuser,item\n1,2\n"))
    assert (layout.skip, layout.columns) == (3, ("user", "item"))


def test_json_lines_are_known_by_their_content(write: Write) -> None:
    layout = sniff(write("log.txt", '{"user": 1}\nbad\n{"item": 2, "user": 3}\n'))
    assert (layout.kind, layout.columns) == ("json", ("user", "item"))


def test_parquet_is_known_by_its_content(tmp_path: Path) -> None:
    pl.DataFrame({"a": [1], "b": [2]}).write_parquet(tmp_path / "log.csv")
    assert sniff(tmp_path / "log.csv").columns == ("a", "b")


def test_gzip_is_looked_into(write: Write) -> None:
    assert sniff(write("log", gzip.compress(b"user,item\n1,2\n"))).columns == ("user", "item")


def test_a_long_file_is_judged_by_its_head(write: Write) -> None:
    assert sniff(write("log", "user,item\n" + "12,34\n" * 200_000)).columns == ("user", "item")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\n \n\n", "the file is empty"),
        (b"PK\x03\x04rest", "a zip archive; unpack it first"),
        (b"\x28\xb5\x2f\xfdrest", "zstd -d"),
        ("user,item\n".encode("utf-16"), "UTF-16 text; convert it: iconv"),
        (bytes(range(256)) * 4, "not a text file"),
        (b"\x89\xaa\xbb\xcc\xdd\xee\x99\x88,\xf1\xf2\n" * 20, "not a text file"),
        (b"PAR1garbage", "damaged Parquet file"),
        (gzip.compress(b"1,2\n" * 1000, mtime=0)[:-9], "damaged gzip file"),
        (b'[{"user": 1, "item": 2}]', "one JSON array; expected one object a line"),
        (b"{\n1\n}\n", "no line is a JSON object"),
        (b"alpha\nbeta\n", "no separator cuts its lines alike, such as 'alpha'; name it with --sep"),
        (b"1 2 3\n4 5\n6 7 8 9\n10\n", "published splits"),
    ],
)
def test_what_is_no_log_is_refused(write: Write, content: bytes, message: str) -> None:
    path = write("log", content)
    with pytest.raises(InputError, match=message) as error:
        sniff(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        sniff(tmp_path / "nothing.csv")


def test_a_folder_is_refused_with_a_file_in_it(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").touch()
    with pytest.raises(InputError, match=r"a folder; expected one file such as .*ratings\.csv"):
        sniff(tmp_path)


def test_a_separator_that_is_not_there_is_refused(write: Write) -> None:
    with pytest.raises(InputError, match="no ';' between fields in 'user,item'"):
        sniff(write("log", "user,item\n1,2\n"), ";")


@pytest.mark.parametrize("sep", ["", "\n"])
def test_an_impossible_separator_is_refused(write: Write, sep: str) -> None:
    with pytest.raises(InputError, match="--sep"):
        sniff(write("log", "user,item\n1,2\n"), sep)
