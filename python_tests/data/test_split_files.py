from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gnas_ext.data import Interactions, Split, n_items, n_users, read_split
from gnas_ext.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Write = Callable[[str, str | bytes], Path]

Pairs = set[tuple[int, int]]


def pairs(part: Interactions, split: Split) -> Pairs:
    users, items = split.user_ids.gather(part.user).to_list(), split.item_ids.gather(part.item).to_list()
    found = set(zip(users, items, strict=True))
    assert len(found) == len(part)
    return found


def by_hand(path: Path) -> Pairs:
    """The pairs of a file, in plain Python."""
    lines = [list(map(int, line.split())) for line in path.read_text().splitlines()]
    return {(line[0], item) for line in lines for item in line[1:]}


def dropped(split: Split) -> dict[str, int]:
    return {s.name: s.rows_before - s.rows_after for s in split.steps if s.rows_after < s.rows_before}


FILE = st.lists(st.tuples(st.integers(0, 9), st.lists(st.integers(0, 9), max_size=6)), min_size=1, max_size=8).filter(
    lambda lines: any(items for _, items in lines)
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.tuples(FILE, FILE, FILE))
def test_nothing_held_out_stays_in_training(tmp_path: Path, files: tuple[list[tuple[int, list[int]]], ...]) -> None:
    paths = [tmp_path / name for name in ("train.txt", "valid.txt", "test.txt")]
    for path, lines in zip(paths, files, strict=True):
        path.write_text("".join(" ".join(map(str, [user, *items])) + "\n" for user, items in lines))
    train, valid, test = map(by_hand, paths)
    expected = [train - valid - test, valid - test, test]
    if not all(expected):
        with pytest.raises(InputError, match="pairs are left"):
            read_split(*paths)
        return
    split = read_split(*paths)
    assert [pairs(part, split) for part in (split.train, split.valid, split.test)] == expected
    assert sorted(set(split.train.user.tolist())) == list(range(n_users(split.train)))
    assert sorted(set(split.train.item.tolist())) == list(range(n_items(split.train)))


def test_steps_say_what_was_taken_out(write: Write) -> None:
    train = write("train.txt", "0 1 2 3 3\n1 4 5\n2\n")
    valid = write("valid.txt", "0 3\n1 4\n")
    test = write("test.txt", "0 5 1\n1 4 6\n3\n")
    split = read_split(train, valid, test)
    assert dropped(split) == {
        "users without items": 2,
        "duplicate pairs": 1,
        "held out of training": 3,
        "test in validation": 1,
    }
    notes = {step.name: step.note for step in split.steps}
    assert notes["users without items"] == "lines: train.txt 1, test.txt 1"
    assert notes["held out of training"] == "it repeats pairs of: valid.txt 2, test.txt 2"
    assert split.method == "given files: train.txt, valid.txt, test.txt"
    assert split.train.timestamp is None


def test_without_a_validation_file_a_tenth_is_drawn(write: Write) -> None:
    train = write("train.txt", "".join(f"{user} {' '.join(map(str, range(20)))}\n" for user in range(50)))
    test = write("test.txt", "0 30\n")
    split = read_split(train, None, test)
    assert np.bincount(split.valid.user).tolist() == [2] * 50
    assert pairs(split.train, split) | pairs(split.valid, split) == by_hand(train)
    assert split.method.endswith("validation drawn, seed 0")
    assert dropped(split) == {"validation drawn": 100}


def test_the_drawing_repeats_with_its_seed(write: Write) -> None:
    train = write("train.txt", "".join(f"{user} {' '.join(map(str, range(20)))}\n" for user in range(9)))
    test = write("test.txt", "0 30\n")
    first, same, other = (read_split(train, None, test, seed=seed) for seed in (1, 1, 2))
    assert pairs(first.valid, first) == pairs(same.valid, same) != pairs(other.valid, other)


def test_tabs_blank_lines_and_windows_line_ends_are_read(write: Write) -> None:
    train = write("train.txt", "0\t1  2 \r\n\r\n1 3\r\n")
    split = read_split(train, write("valid.txt", "1 5"), write("test.txt", "0 4"))
    assert pairs(split.train, split) == {(0, 1), (0, 2), (1, 3)}


@pytest.mark.parametrize("token", ["x", "1.5", "-1", "1,2", "007", "1::2", "9" * 19])
def test_a_token_that_is_no_number_is_refused_with_its_line(write: Write, token: str) -> None:
    train = write("train.txt", f"0 1 2\n\n1 3 {token}\n")
    with pytest.raises(InputError) as error:
        read_split(train, None, write("test.txt", "0 4\n"))
    assert str(error.value).startswith(f"{train}, line 3: expected numbers 'user item item …', got {token!r}")


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "the file is empty"), ("1\n2\n", "no user has an item"), (b"\0\1\2", "not a text file")],
)
def test_a_file_without_pairs_is_refused(write: Write, content: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_split(write("train.txt", "0 1 2\n"), None, write("test.txt", content))


def test_a_missing_file_is_refused(write: Write, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_split(write("train.txt", "0 1 2\n"), tmp_path / "valid.txt", write("test.txt", "0 3\n"))


def test_one_file_given_twice_leaves_nothing(write: Write) -> None:
    train = write("train.txt", "0 1 2\n")
    with pytest.raises(InputError, match="no training pairs are left"):
        read_split(train, None, train)


def test_gowalla_is_read_as_published_and_without_validation_in_training(shared: Path) -> None:
    folder = shared / "gowalla"
    begin = time.process_time()
    split = read_split(folder / "train.txt", folder / "valid.txt", folder / "test.txt")
    seconds = time.process_time() - begin
    assert (len(split.user_ids), len(split.item_ids)) == (29_858, 40_981)
    assert (len(split.train_and_valid), len(split.test)) == (810_128, 217_242)
    assert dropped(split) == {"held out of training": len(split.valid)}
    assert pairs(split.train, split) == by_hand(folder / "train.txt") - by_hand(folder / "valid.txt")
    assert seconds < 10  # of processor time; about two on an idle machine
