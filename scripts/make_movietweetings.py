"""How the embedded log was made: MovieTweetings' two text files as Parquet, row for row, nothing cleaned.

    python scripts/make_movietweetings.py FOLDER [--out gnas_ext/data/movietweetings]

FOLDER holds ratings.dat, movies.dat and LICENSE, as published in https://github.com/sidooms/MovieTweetings under
snapshots/100K.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable

OUT = Path(__file__).resolve().parent.parent / "gnas_ext" / "data" / "movietweetings"
LIMIT_BYTES = 1_500_000


def read_rows(path: Path, fields: int) -> list[list[str]]:
    """The fields of each line; stops at a line with another number of them."""
    rows = [line.split("::") for line in path.read_text(encoding="utf-8").splitlines()]
    for number, row in enumerate(rows, start=1):
        if len(row) != fields:
            sys.exit(f"{path}, line {number}: expected {fields} fields, got {len(row)}")
    return rows


def ratings(path: Path) -> pl.DataFrame:
    """The rows of ratings.dat. Ids stay strings: they have leading zeros. Times are Unix seconds."""
    frame = pl.DataFrame(read_rows(path, 4), schema=["user", "item", "rating", "timestamp"], orient="row")
    return frame.with_columns(pl.col("rating").cast(pl.Int8), pl.col("timestamp").cast(pl.Int64))


def movies(path: Path) -> pl.DataFrame:
    """The rows of movies.dat: titles with the year; genres separated by '|', null where none are known."""
    frame = pl.DataFrame(read_rows(path, 3), schema=["item", "title", "genres"], orient="row")
    return frame.with_columns(pl.col("genres").replace("", None))


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Writes beside `path`, then renames, so that a file is whole or absent."""
    unfinished = path.with_name(path.name + ".part")
    write(unfinished)
    os.replace(unfinished, path)


def write_parquet(frame: pl.DataFrame, path: Path) -> None:
    """Writes small rather than fast, and checks that what was written reads back the same."""
    replace(path, lambda unfinished: frame.write_parquet(unfinished, compression="zstd", compression_level=22))
    if not pl.read_parquet(path).equals(frame):
        sys.exit(f"{path}: differs when read back")


def main() -> None:
    """Reads the folder named on the command line and writes the embedded log."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="holds ratings.dat, movies.dat and LICENSE")
    parser.add_argument("--out", type=Path, default=OUT, help="default: %(default)s")
    arguments = parser.parse_args()
    folder, out = arguments.folder, arguments.out
    out.mkdir(parents=True, exist_ok=True)
    write_parquet(ratings(folder / "ratings.dat"), out / "ratings.parquet")
    write_parquet(movies(folder / "movies.dat"), out / "movies.parquet")
    replace(out / "LICENSE", lambda unfinished: shutil.copyfile(folder / "LICENSE", unfinished))
    sizes = {name: (out / name).stat().st_size for name in ("ratings.parquet", "movies.parquet", "LICENSE")}
    print(", ".join(f"{name} {size:,} bytes" for name, size in sizes.items()))
    if sum(sizes.values()) > LIMIT_BYTES:
        sys.exit(f"{out}: more than {LIMIT_BYTES:,} bytes")


if __name__ == "__main__":
    main()
