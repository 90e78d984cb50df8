"""Does the loader keep its word? Any folder at all gives the same answers as before, or one `InputError`."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from gnas_ext.errors import InputError
from gnas_ext.recommend import load
from python_tests.recommend.conftest import ITEMS, KINDS, USERS, make_sample
from python_tests.recommend.mutations import Folder, Link, mutate, sprung

if TYPE_CHECKING:
    from collections.abc import Iterator

    from python_tests.recommend.mutations import Content

FIRST_SCHEMA = Path(__file__).parent / "samples" / "schema-1" / "int8"
_LONGEST = 4000  # characters of a message


@dataclass
class Found:
    """What a run saw.

    Attributes:
        outcomes: how often what happened.
        wrong: what should not have: the iteration, and what it was.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[int, str]] = field(default_factory=list)


class Fuzz:
    """Artefacts of every kind, damaged one after the other in one folder; use `prepared`.

    Iteration i of a seed is always the same, whatever came before.
    """

    def __init__(self, home: Path, seed: int = 0) -> None:
        self.seed = seed
        self.found = Found()
        self._home = home
        for kind in KINDS:
            changes = {"user_ids": pl.Series(range(5, 5 + USERS)), "titles": None} if kind == "float32" else {}
            make_sample(kind).save(home / kind, **changes)
        shutil.copytree(FIRST_SCHEMA, home / "schema-1")
        self._names = (*KINDS, "schema-1")
        self._bases = [
            {path.name: path.read_bytes() for path in sorted((home / name).iterdir())} for name in self._names
        ]
        self._answers = [_answer(home / name) for name in self._names]
        assert min(answer.height for answer in self._answers) > USERS

    def run(self, iteration: int) -> None:
        """One damaged folder; what is wrong about its reception is noted in `found`."""
        rng = random.Random(f"{self.seed} {iteration}")
        place = rng.randrange(len(self._bases))
        files = self._bases[place]
        changed, sealed = mutate(rng, files, self._bases[rng.randrange(len(self._bases))])
        folder = self._home / self._names[place]
        for name, content in changed.items():
            _put(folder / name, content)
        try:
            outcome, wrong = self._outcome(folder, place, sealed)
        finally:
            for name in changed:
                _put(folder / name, files.get(name))
        if sprung:
            sprung.clear()
            wrong = "a pickle was read"
        self.found.outcomes[outcome] += 1
        if wrong:
            self.found.wrong.append((iteration, f"{self._names[place]}, {', '.join(changed)}: {wrong}"))

    def _outcome(self, folder: Path, place: int, sealed: bool) -> tuple[str, str]:
        """What happened, and what is wrong about it, if anything."""
        try:
            answer = _answer(folder)
        except InputError as error:
            message = str(error)
            long = len(message) > _LONGEST or "\n" in message
            return f"refused, {_file(folder, message)}", f"not one short line: {message[:80]!r}" if long else ""
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a panic of Rust is no Exception
            return "failed", f"{type(error).__module__}.{type(error).__name__}: {error}"
        if answer.equals(self._answers[place]):
            return "same answer", ""
        if not sealed:
            return "another answer", "another answer, and nobody mended the hashes"
        return "another answer, hashes mended", _ill_formed(answer)


@contextmanager
def prepared(seed: int = 0) -> Iterator[Fuzz]:
    """A fuzz in a folder in memory, where there is one, that is gone afterwards."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as home:
        yield Fuzz(Path(home), seed)


def _answer(folder: Path) -> pl.DataFrame:
    """Everything that is recommended to everybody."""
    recommender = load(folder)
    return recommender.recommend(recommender.user_ids, k=ITEMS)


def _ill_formed(answer: pl.DataFrame) -> str:
    """What cannot be in a list, whatever the numbers of a model are."""
    if answer["score"].is_nan().any() or answer["score"].is_null().any():
        return "a score that is no number"
    if answer.select("user", "item").is_duplicated().any():
        return "an item twice in a list"
    fall = answer.select((pl.col("score") > pl.col("score").shift().over("user")).any()).item()
    return "a list that is not from best to worst" if fall else ""


def _file(folder: Path, message: str) -> str:
    """The file that a refusal names."""
    names = [path.name for path in folder.iterdir()]
    return next((name for name in names if f"{folder / name}:" in message), "no file")


def _put(path: Path, content: Content) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    match content:
        case bytes():
            path.write_bytes(content)
        case Folder():
            path.mkdir()
        case Link():
            path.symlink_to(content.target)
