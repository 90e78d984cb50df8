"""How published splits are read: three files with a line a user, 'user item item …'."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from gnas_ext.data.ids import encode
from gnas_ext.data.interactions import Interactions, Split, Step
from gnas_ext.data.scan import scan_lines
from gnas_ext.data.sniff import REFUSALS, first_line, refuse_unless_text
from gnas_ext.data.split import draw, recode
from gnas_ext.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

VALID_SHARE = 0.1
_WHOLE_NUMBER = r"^(0|[1-9][0-9]{0,17})$"


@dataclass(frozen=True)
class _File:
    """One file: its pairs as ids, and its lines that name a user but no item."""

    path: str
    user: pl.Series
    item: pl.Series
    lines: int
    without_items: int


def read_split(train: str | Path, valid: str | Path | None, test: str | Path, *, seed: int = 0) -> Split:
    """Reads a published split. What is held out is taken out of training, also where the files repeat it.

    Args:
        train: a file with a line a user: the user's number, then its items' numbers.
        valid: such a file, or None: a tenth of each user's training pairs is drawn.
        test: such a file.
        seed: for that drawing.

    Returns:
        The split, without times; ids are Int64.

    Raises:
        InputError: a file is missing or empty, a line holds something else, or a part comes out empty.
    """
    files = [_read(path) for path in (train, valid, test) if path is not None]
    sizes = [len(file.user) for file in files]
    ends = np.cumsum(sizes)[:-1]
    user, user_ids = encode(pl.concat([file.user for file in files]))
    item, item_ids = encode(pl.concat([file.item for file in files]))
    pair = np.split(user.astype(np.int64) * len(item_ids) + item, ends)
    unique = [_first_of_each(part) for part in pair]
    parts = [
        Interactions(part_user[rows], part_item[rows])
        for part_user, part_item, rows in zip(np.split(user, ends), np.split(item, ends), unique, strict=True)
    ]
    pair = [part[rows] for part, rows in zip(pair, unique, strict=True)]
    steps = [_users_without_items(files), _duplicates(files, sizes, parts)]

    held_out = np.concatenate(pair[1:])
    left = ~np.isin(pair[0], held_out)
    steps.append(_held_out_in_training(files, pair, int(left.sum())))
    parts[0] = parts[0].select(left)
    if valid is None:
        drawn = draw(parts[0].user, (VALID_SHARE,), np.random.default_rng(seed)) == 1
        note = f"no validation file: {VALID_SHARE:.0%} of each user's training pairs, seed {seed}"
        steps.append(Step("validation drawn", len(drawn), int((~drawn).sum()), note))
        parts[:1] = [parts[0].select(~drawn), parts[0].select(drawn)]
    elif (both := np.isin(pair[1], pair[2])).any():
        steps.append(Step("test in validation", len(both), int((~both).sum()), "taken out of validation"))
        parts[1] = parts[1].select(~both)
    for name, part in zip(("training", "validation", "test"), parts, strict=True):
        if not len(part):
            given = ", ".join(file.path for file in files)
            raise InputError(f"{given}: no {name} pairs are left; each file needs pairs that the later ones lack")

    parts, users, items = recode(parts)
    names = ", ".join(Path(file.path).name for file in files)
    return Split(
        parts[0],
        parts[1],
        parts[2],
        user_ids.gather(users),
        item_ids.gather(items),
        f"given files: {names}" + ("" if valid else f"; validation drawn, seed {seed}"),
        tuple(steps),
        ("format: a line a user, 'user item item …'",),
    )


def _read(path: str | Path) -> _File:
    refuse_unless_text(path)
    tokens = pl.col("line").str.extract_all(r"\S+")
    try:
        frame = (
            scan_lines(Path(path).expanduser())
            .with_row_index("number", offset=1)
            .select("number", tokens.alias("tokens"))
            .filter(pl.col("tokens").list.len() > 0)
            .collect(engine="streaming")
        )
    except REFUSALS as error:
        raise InputError(f"{path}: cannot be read ({first_line(error)})") from None
    flat = frame.explode("tokens")
    wrong = flat.filter(~pl.col("tokens").str.contains(_WHOLE_NUMBER))
    if len(wrong):
        number, token = wrong.row(0)
        raise InputError(
            f"{path}, line {number}: expected numbers 'user item item …', got {token[:40]!r}; "
            "a log with a line an interaction is given as LOG instead (gnas_ext.read_log)"
        )
    pairs = frame.select(
        pl.col("tokens").list.first().cast(pl.Int64).alias("user"),
        pl.col("tokens").list.slice(1).cast(pl.List(pl.Int64)).alias("item"),
    )
    without = int((pairs["item"].list.len() == 0).sum())
    pairs = pairs.filter(pl.col("item").list.len() > 0).explode("item")
    if pairs.is_empty():
        raise InputError(f"{path}: no user has an item; expected lines 'user item item …'")
    return _File(str(path), pairs["user"], pairs["item"], len(frame), without)


def _first_of_each(pair: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows that are the first of their pair, in order."""
    return np.sort(np.unique(pair, return_index=True)[1])


def _users_without_items(files: list[_File]) -> Step:
    lines = sum(file.lines for file in files)
    return Step(
        "users without items",
        lines,
        lines - sum(file.without_items for file in files),
        _per_file(files, [file.without_items for file in files], "lines"),
    )


def _duplicates(files: list[_File], sizes: list[int], parts: list[Interactions]) -> Step:
    lost = [size - len(part) for size, part in zip(sizes, parts, strict=True)]
    return Step("duplicate pairs", sum(sizes), sum(sizes) - sum(lost), _per_file(files, lost, "pairs"))


def _held_out_in_training(files: list[_File], pair: list[NDArray[np.int64]], left: int) -> Step:
    shared = [int(np.isin(pair[0], part).sum()) for part in pair[1:]]
    return Step("held out of training", len(pair[0]), left, _per_file(files[1:], shared, "it repeats pairs of"))


def _per_file(files: list[_File], counts: list[int], what: str) -> str:
    """Such as 'pairs: train.txt 3, test.txt 1'; nothing where nothing was found."""
    found = ", ".join(f"{Path(file.path).name} {n:,}" for file, n in zip(files, counts, strict=True) if n)
    return f"{what}: {found}" if found else ""
