from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "make_movietweetings.py"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ratings.dat").write_text("1::0104257::7::1365029107\n2::1853728::8::1366576639\n")
    (tmp_path / "movies.dat").write_text("0104257::A Few Good Men (1992)::Drama\n1853728::Django (2012)::\n")
    (tmp_path / "LICENSE").write_text("MIT")
    return tmp_path


def make(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), str(folder), "--out", str(folder / "out")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_writes_the_rows_as_they_are(folder: Path) -> None:
    assert make(folder).returncode == 0
    ratings = pl.read_parquet(folder / "out" / "ratings.parquet")
    assert ratings.rows() == [("1", "0104257", 7, 1365029107), ("2", "1853728", 8, 1366576639)]
    movies = pl.read_parquet(folder / "out" / "movies.parquet")
    assert movies.rows() == [("0104257", "A Few Good Men (1992)", "Drama"), ("1853728", "Django (2012)", None)]
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["LICENSE", "movies.parquet", "ratings.parquet"]


def test_it_stops_at_a_broken_line(folder: Path) -> None:
    (folder / "ratings.dat").write_text("1::0104257::7::1365029107\n2::1853728::8\n")
    result = make(folder)
    assert result.returncode != 0
    assert "ratings.dat, line 2: expected 4 fields, got 3" in result.stderr
