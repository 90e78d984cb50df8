"""The log that comes with the package: who rated which film in 2013, read as any other log is."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import TYPE_CHECKING

import polars as pl

from gnas_ext.data.read import read_log

if TYPE_CHECKING:
    from datetime import date

    from gnas_ext.data.interactions import Log


def movietweetings(
    *,
    min_rating: float | None = None,
    k_core: int | None = None,
    start: str | float | date | None = None,
    end: str | float | date | None = None,
) -> Log:
    """The first 100,000 ratings of MovieTweetings (0 to 10, by 16,554 people, 2013), with titles and genres of films.

    It is kept as it was published; the arguments clean it as they do for `read_log`.
    """
    folder = files("gnas_ext.data") / "movietweetings"
    with as_file(folder / "ratings.parquet") as ratings, as_file(folder / "movies.parquet") as movies:
        return read_log(
            ratings, min_rating=min_rating, k_core=k_core, start=start, end=end, items=pl.read_parquet(movies)
        )
