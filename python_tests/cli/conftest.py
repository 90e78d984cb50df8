"""A small log that a search can learn something from, and the command line in this process."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gnas_ext.cli.app import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tastes, 60 users, 40 items, times, ids with leading zeros, and titles beside it."""
    rng = np.random.default_rng(0)
    lines = ["userId,movieId,rating,timestamp"]
    for time in range(1500):
        user = int(rng.integers(60))
        item = int(rng.integers(20)) + 20 * (user % 2)
        lines.append(f"{user},{item:04},{int(rng.integers(3, 6))},{1_600_000_000 + time * 3600}")
    folder = tmp_path_factory.mktemp("log")
    (folder / "ratings.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    titles = ["item,title"] + [f"{item:04},Film {item} & <co>" for item in range(40)]
    (folder / "movies.csv").write_text("\n".join(titles) + "\n", encoding="utf-8")
    return folder / "ratings.csv"


def typed(*arguments: str | Path) -> int:
    """Runs `gnas-ext` with some arguments in this process; the exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["gnas-ext", *map(str, arguments)])
        try:
            return run()
        except SystemExit as end:
            return int(end.code or 0)


@pytest.fixture
def command() -> Callable[..., int]:
    """Runs `gnas-ext` with some arguments; the exit status."""
    return typed


@pytest.fixture(scope="session")
def found(ratings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a short search of that log wrote."""
    out = tmp_path_factory.mktemp("found")
    titles = ratings.with_name("movies.csv")
    assert typed("search", ratings, "--out", out, "--items", titles, "--evaluations", "4", "--epochs", "3") == 0
    return out
