from __future__ import annotations

import csv
import gzip
import io
import json
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gnas_ext.data import read_log
from gnas_ext.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gnas_ext.data import Log

    Write = Callable[[str, str | bytes], Path]

HEADER = "userId,movieId,rating,timestamp\n"
ROWS: list[tuple[str, ...]] = [
    ("1", "010", "7", "100"),
    ("2", "020", "8", "101"),
    ("1", "020", "5", "102"),
    ("3", "010", "9", "103"),
]


def pairs(log: Log) -> list[tuple[object, object]]:
    """The ids behind each interaction."""
    rows = log.interactions
    return list(zip(log.user_ids.gather(rows.user).to_list(), log.item_ids.gather(rows.item).to_list(), strict=True))


def dropped(log: Log) -> dict[str, int]:
    return {step.name: step.rows_before - step.rows_after for step in log.steps if step.rows_after < step.rows_before}


def as_csv(rows: list[tuple[str, ...]], separator: str = ",", header: bool = True) -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator="\n")
    writer.writerows([("userId", "movieId", "rating", "timestamp"), *rows] if header else rows)
    return out.getvalue()


def as_json(rows: list[tuple[str, ...]]) -> str:
    return "".join(json.dumps({"user": u, "item": i, "stars": float(r), "ts": int(t)}) + "\n" for u, i, r, t in rows)


def every_format(folder: Path, rows: list[tuple[str, ...]]) -> list[Path]:
    """The same rows in each format."""
    texts = {
        "log.csv": as_csv(rows),
        "log.tsv": as_csv(rows, "\t"),
        "semicolons.csv": as_csv(rows, ";"),
        "bare.csv": as_csv(rows, header=False),
        "crlf.csv": as_csv(rows).replace("\n", "\r\n"),
        "bom.csv": "\ufeff" + as_csv(rows),
        "log.dat": "".join("::".join(row) + "\n" for row in rows),
        "named.dat": "".join("::".join(row) + "\n" for row in [("user", "item", "rating", "time"), *rows]),
        "last line without end.dat": "\n".join("::".join(row) for row in rows),
        "log.jsonl": as_json(rows),
        "bad line.jsonl": as_json(rows) + '{"user": "1", "it',
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="")
        with gzip.open(folder / (name + ".gz"), "wb") as stream:
            stream.write(text.encode())
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "rating", "timestamp"], orient="row")
    frame.with_columns(pl.col("timestamp").cast(pl.Int64)).write_parquet(folder / "log.parquet")
    return sorted(folder.iterdir())


def test_every_format_gives_the_same_log(tmp_path: Path) -> None:
    files = every_format(tmp_path, ROWS)
    assert len(files) == 23
    for file in files:
        log = read_log(file)
        assert pairs(log) == [(u if file.suffix == ".parquet" else int(u), i) for u, i, _, _ in ROWS], file
        assert log.interactions.timestamp is not None
        assert log.interactions.timestamp.tolist() == [100, 101, 102, 103], file
        assert log.interactions.user.dtype == np.int32


def test_codes_follow_first_appearance(write: Write) -> None:
    log = read_log(write("log.csv", as_csv(ROWS)))
    assert log.interactions.user.tolist() == [0, 1, 0, 2]
    assert log.interactions.item.tolist() == [0, 1, 1, 0]


ID = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=4),
    st.sampled_from(["a,b", 'say "x"', "a;b", "two words", "0", "007", "12", "a::b", "two\nlines", "é"]),
).filter(lambda text: text not in {"null", "NULL", "NaN", "nan", "NA", "None", "\\N"} and "\ufffd" not in text)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(ID, ID), min_size=2, max_size=8, unique=True))
def test_quoted_csv_keeps_any_id(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    path = tmp_path / "log.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerows([("user", "item"), *rows])
    if min(len({user for user, _ in rows}), len({item for _, item in rows})) < 2:
        with pytest.raises(InputError, match="only one"):
            read_log(path)
        return
    assert [(str(user), str(item)) for user, item in pairs(read_log(path, sep=","))] == rows


def test_leading_zeros_stay(write: Write) -> None:
    log = read_log(write("log.csv", HEADER + "1,0104257,5,1\n2,104257,5,2\n"))
    assert log.item_ids.to_list() == ["0104257", "104257"]
    assert log.user_ids.to_list() == [1, 2]


def test_a_leading_zero_late_in_the_file_keeps_all_strings(write: Write) -> None:
    text = HEADER + "".join(f"{at},{at + 1},5,{at}\n" for at in range(5000)) + "1,007,5,9999\n"
    assert read_log(write("log.csv", text)).item_ids[0] == "1"


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user": ["1", "2"], "item": [5, 6]}, schema={"user": pl.String, "item": pl.Int16})
    frame.write_parquet(tmp_path / "log.parquet")
    log = read_log(tmp_path / "log.parquet")
    assert (log.user_ids.to_list(), log.item_ids.to_list()) == (["1", "2"], [5, 6])


def test_parquet_of_pandas_has_categories_datetimes_and_nan(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "user": pl.Series(["a", "b", "a", "c"], dtype=pl.Categorical),
            "item": [1.0, 2.0, float("nan"), 3.0],
            "rating": [1.0, float("nan"), 2.0, 3.0],
            "date": (pl.Series([3, 1, 2, 5]) * 10**9).cast(pl.Datetime("ns")),
        }
    )
    frame.write_parquet(tmp_path / "log.parquet")
    assert pairs(read_log(tmp_path / "log.parquet")) == [("b", 2), ("a", 1), ("c", 3)]
    log = read_log(tmp_path / "log.parquet", min_rating=0)
    assert pairs(log) == [("a", 1), ("c", 3)]
    assert dropped(log) == {"missing values": 2}


@pytest.mark.parametrize("column", ["rating", "timestamp"])
def test_parquet_columns_of_nothing_are_refused_where_they_are_needed(tmp_path: Path, column: str) -> None:
    frame = pl.DataFrame({"user": [1, 2], "item": [3, 4], column: [None, None]})
    frame.write_parquet(tmp_path / "log.parquet")
    with pytest.raises(InputError, match=r"'missing values' dropped all 2 rows|column 'timestamp' is of type Null"):
        read_log(tmp_path / "log.parquet", min_rating=1 if column == "rating" else None)


def test_it_says_what_it_guessed(write: Write) -> None:
    log = read_log(write("log.csv", as_csv(ROWS)), item="movieId")
    assert log.guesses == (
        "file: log.csv, text separated by ',', with a header",
        "user: column 'userId'",
        "rating: column 'rating'",
        "timestamp: column 'timestamp', in seconds",
    )


def test_it_says_that_there_is_no_header(write: Write) -> None:
    log = read_log(write("log.dat", "1::2::3::4\n5::6::7::8\n"))
    assert log.guesses[0] == "file: log.dat, text separated by '::', without a header"
    assert log.guesses[2] == "item: column 'column_2'"


@pytest.mark.parametrize(
    ("rows", "times"),
    [
        ("1,2,1362062307\n2,3,1362062308\n", [1362062307, 1362062308]),
        ("1,2,1362062307,5\n2,3,1362062308,4\n", [1362062307, 1362062308]),
        ("1,2,5,1362062307\n2,3,4,1362062308\n", [1362062307, 1362062308]),
        ("1,2,2013-01-01\n2,3,2013-01-02\n", [1356998400, 1357084800]),
        ("1,2,5\n2,3,4\n", None),
    ],
)
def test_without_a_header_times_are_known_by_their_look(write: Write, rows: str, times: list[int] | None) -> None:
    time = read_log(write("log.csv", rows)).interactions.timestamp
    assert (None if time is None else time.tolist()) == times


def test_without_a_header_dates_are_no_items(write: Write) -> None:
    text = "0\t2010-10-19T23:55:27Z\t30.23\t-97.79\t22847\n1\t2010-10-18T22:17:43Z\t30.26\t-97.74\t420315\n"
    with pytest.raises(InputError, match="no header, and column_2 holds dates, not ids"):
        read_log(write("checkins.txt", text))
    log = read_log(write("checkins.txt", text), item="column_5", timestamp="column_2")
    assert pairs(log) == [(1, 420315), (0, 22847)]


def test_bad_lines_are_counted(write: Write) -> None:
    text = (
        HEADER + "1,10,5,1\n2,20\n3,30,5,3,extra,fields\n4,40,five,4\n5,50,5,soon\nnonsense\n\n6,60,5,6\n7,70,inf,7\n"
    )
    log = read_log(write("log.csv", text))
    assert pairs(log) == [(1, 10), (6, 60)]
    assert dropped(log) == {"bad lines": 7}


def test_bad_lines_are_counted_with_a_long_separator(write: Write) -> None:
    text = "1::10::5::1\n2::20::5\n3::30::5::3::extra\n4::40::five::4\nnonsense\n\n6::60::5::6\n"
    log = read_log(write("log.dat", text))
    assert pairs(log) == [(1, 10), (6, 60)]
    assert dropped(log) == {"bad lines": 5}


def test_bad_json_lines_are_counted(write: Write) -> None:
    text = '{"user": 1, "item": 2}\nbad\n{"user": 3, "item": 4}\n{}\n[1]\n{"user": 5}\n\n{"item": "x", "user": nul\n'
    log = read_log(write("log.jsonl", text))
    assert pairs(log) == [(1, 2), (3, 4)]
    assert dropped(log) == {"bad lines": 4, "missing values": 1}


def test_missing_values_are_counted(write: Write) -> None:
    text = HEADER + "1,10,5,1\n,20,5,2\n3,,5,3\n4,NA,5,4\n5,50,5,\n6,60,,6\n \t,70,5,7\n"
    log = read_log(write("log.csv", text))
    assert pairs(log) == [(1, 10), (6, 60)]
    assert dropped(log) == {"missing values": 5}


def test_a_missing_rating_counts_where_ratings_count(write: Write) -> None:
    text = HEADER + "1,10,5,1\n2,20,5,2\n6,60,,6\n"
    assert dropped(read_log(write("log.csv", text), min_rating=1)) == {"missing values": 1}


def test_columns_that_are_not_wanted_do_not_matter(write: Write) -> None:
    text = b"user,title,item\n1,caf\xe9,2\n3,,4\n"
    assert pairs(read_log(write("log.csv", text))) == [(1, 2), (3, 4)]


def test_ids_in_another_encoding_are_refused(write: Write) -> None:
    with pytest.raises(InputError, match="item id 'caf\ufffd' is not UTF-8"):
        read_log(write("log.csv", b"user,item\n1,caf\xe9\n2,tea\n"))


@pytest.mark.parametrize("broken", ['3,"30', '3,"30" x', '3,3"0'])
def test_quotes_that_do_not_pair_up_cost_no_line(write: Write, broken: str) -> None:
    text = "user,item\n" + "".join(f"{at},{at}\n" for at in range(100)) + broken + "\n" + "5,6\n"
    log = read_log(write("log.csv", text))
    assert len(log.interactions) == 102
    assert [str(side) for side in pairs(log)[-1]] == ["5", "6"]


def test_blanks_around_values_do_not_count(write: Write) -> None:
    assert pairs(read_log(write("log.csv", "user, item, rating\n1 , 2, 5\n3, 4 , 5\n"))) == [(1, 2), (3, 4)]


def test_a_trailing_separator_is_no_extra_field(write: Write) -> None:
    assert pairs(read_log(write("log.csv", "user,item\n1,2,\n3,4,\n"))) == [(1, 2), (3, 4)]
    assert pairs(read_log(write("log.dat", "1::2::5::7::\n3::4::5::8::\n"), sep="::")) == [(1, 2), (3, 4)]


@pytest.mark.parametrize("sep", ["::", "<>", "\t|\t", "¦"])
def test_any_separator_can_be_named(write: Write, sep: str) -> None:
    text = sep.join(["who", "what"]) + "\n" + sep.join(["1", "2"]) + "\n" + sep.join(["3", "4"]) + "\n"
    assert pairs(read_log(write("log.txt", text), user="who", item="what", sep=sep)) == [(1, 2), (3, 4)]


def test_json_keys_may_be_odd(write: Write) -> None:
    lines = [{"user id": 1, 'it"em.x': "a"}, {"user id": 2, 'it"em.x': "b"}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    for tail in ("", "bad\n"):
        log = read_log(write("log.jsonl", text + tail), item='it"em.x')
        assert pairs(log) == [(1, "a"), (2, "b")]


def test_none_leaves_times_out(write: Write) -> None:
    log = read_log(write("log.csv", "user,item,date\n1,2,yesterday\n3,4,today\n"), timestamp="none")
    assert log.interactions.timestamp is None
    assert "timestamp: none, so rows stay in file order" in log.guesses


def test_words_for_ratings_are_left_out_where_none_are_asked_for(write: Write) -> None:
    log = read_log(write("log.csv", "user,item,score\n1,2,good\n3,4,bad\n"))
    assert len(log.interactions) == 2
    assert "rating: column 'score', left out: it holds no numbers" in log.guesses


def test_a_path_may_hold_signs_of_a_pattern(tmp_path: Path) -> None:
    path = tmp_path / "log[1]*?.csv"
    path.write_text("user,item\n1,2\n3,4\n")
    assert pairs(read_log(path)) == [(1, 2), (3, 4)]


def test_titles_can_be_attached(write: Write) -> None:
    log = read_log(
        write("log.csv", "user,item\n1,2\n3,4\n"), items=write("items.csv", "item,title\n2,Two\n4,Four\n5,Five\n")
    )
    assert log.items is not None
    assert log.items["title"].to_list() == ["Two", "Four", "Five"]
    assert log.guesses[-1] == "items: facts about 2 of 2"


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a,b\nx,y\n", {}, "no column 'user'; found a, b. Name it with --user a"),
        ("user,item\n1,2\n", {"min_rating": 3}, "no column 'rating'; found user, item"),
        ("user,item\n1,2\n", {"start": "2013-01-01"}, "no column 'timestamp'; found user, item"),
        ("user,item\n", {}, "the file holds no interactions, only a header"),
        ("user,item\n1,2\n1,3\n", {}, "only one user is left, 1; a recommender needs two or more"),
        ("user,item\n1,2\n3,2\n", {}, "only one item is left, 2"),
        ("user,item,rating\n1,2,good\n", {"min_rating": 1}, "no numbers in column 'rating' such as 'good'"),
        ("user,item,date\n1,2,yesterday\n", {}, "no times in column 'date' such as 'yesterday'"),
        ("user,item,date\n1,2,\n3,4,\n", {}, "no times in column 'date'; expected"),
        ("user,item\n,\n1,\n", {}, "the step 'missing values' dropped all 1 rows; check which columns"),
        ("user,item\n1,2,3\n4,5,6\n", {}, "the step 'bad lines' dropped all 2 rows; check the separator"),
        (as_csv(ROWS), {"min_rating": 11}, "the step 'rating threshold' dropped all 4 rows; lower --min-rating"),
        (as_csv(ROWS), {"k_core": 3}, "the step '3-core' dropped all 4 rows; lower --k-core"),
        (as_csv(ROWS), {"end": 50}, "the step 'time range' dropped all 4 rows; check --start and --end"),
        (as_csv(ROWS), {"k_core": -1}, "k_core: expected a whole number from 0, got -1"),
        (as_csv(ROWS), {"min_rating": float("nan")}, "min_rating: expected a number"),
        (as_csv(ROWS), {"start": 5, "end": 5}, "start: expected a time before end"),
        (as_csv(ROWS), {"start": "soon"}, "start: 'soon' is no time"),
    ],
)
def test_a_wrong_input_is_one_clear_line(
    write: Write, text: str, options: dict[str, float | str], message: str
) -> None:
    with pytest.raises(InputError) as error:
        read_log(write("log.csv", text), **options)  # type: ignore[arg-type]
    assert message in str(error.value)
    assert "\n" not in str(error.value)


GOOD = [
    as_csv(ROWS * 3),
    "".join("::".join(row) + "\n" for row in ROWS * 3),
    as_json(ROWS * 3),
    "0 1 2\n1 3\n2 4 5 6\n",
]
ODD = [b'"', b",", b"::", b"\n", b"\r", b"\0", b"\xff", b"nan", b"9" * 25, b"\t", b"{", b"[", b"user", b"\x01", b"# "]


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.sampled_from([text.encode() for text in GOOD]),
    edits=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 30), st.sampled_from([b"", *ODD])), max_size=6),
)
def test_a_damaged_file_is_read_or_refused_in_one_line(
    tmp_path: Path, text: bytes, edits: list[tuple[int, int, bytes]]
) -> None:
    for at, length, odd in edits:
        text = text[:at] + odd + text[at + length :]
    path = tmp_path / "log"
    path.write_bytes(text)
    outcome = attempt(path)
    if isinstance(outcome, InputError):
        assert "\n" not in str(outcome)
        assert str(outcome).startswith(str(path))
    else:
        assert outcome.steps[-1].rows_after == len(outcome.interactions) > 1


def attempt(path: Path) -> Log | InputError:
    try:
        return read_log(path)
    except InputError as error:
        return error
