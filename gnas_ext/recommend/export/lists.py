"""Whom is to be recommended what, for everybody, in a file of any size? Blocks of users, one at a time in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import torch
from polars.io.plugins import register_io_source

from gnas_ext.errors import InputError
from gnas_ext.evaluate.rank import top_k_scores
from gnas_ext.recommend.export import agree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from gnas_ext.recommend.recommender import Recommender

_ENTRIES_AT_ONCE = 1 << 18  # of lists; a row group of the file


def write_lists(recommender: Recommender, path: Path, k: int, exclude_seen: bool) -> None:
    """Writes the k best items of every user, in order of user code, then rank: columns as `recommend` gives them.

    Raises:
        InputError: a score that is NaN, or lists that are not the best by the model's own scores.
    """
    k = min(k, recommender.n_items)
    seen = recommender.seen if exclude_seen else None
    step = max(1, _ENTRIES_AT_ONCE // k)
    failure: list[BaseException] = []

    def blocks(
        columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        try:
            for first in range(0, recommender.n_users, step):
                users = np.arange(first, min(first + step, recommender.n_users), dtype=np.int32)
                yield _named(recommender, users, *top_k_scores(recommender.model, users, k, seen))
        except BaseException as error:  # Polars would make words of it, of Ctrl-C too
            failure.append(error)
            raise

    nobody = np.zeros((0, k), dtype=np.int32)
    schema = _named(recommender, nobody[:, 0], nobody, nobody.astype(np.float32)).schema
    try:
        register_io_source(blocks, schema=schema).sink_parquet(path, maintain_order=True)
    except BaseException as error:
        if failure:
            raise failure[0] from None
        if not isinstance(error, pl.exceptions.PolarsError):
            raise
        raise InputError(f"{path}: the lists cannot be written: {error}") from error
    _check(recommender, path, k, exclude_seen)


def _named(
    recommender: Recommender, users: NDArray[np.int32], items: NDArray[np.int32], scores: NDArray[np.float32]
) -> pl.DataFrame:
    row, column = np.nonzero(items >= 0)
    known = recommender.titles[items[row, column]]
    return pl.DataFrame(
        {
            "user": recommender.user_ids.gather(users[row]),
            "rank": pl.Series(column + 1, dtype=pl.Int32),
            "item": known.get_column("item"),
            "score": scores[row, column],
            "title": known.get_column("title"),
        }
    )


def _check(recommender: Recommender, path: Path, k: int, exclude_seen: bool) -> None:
    """The lists of a sample of users, read back, against all scores of all items."""
    sampled = agree.sampled(recommender.model)
    ids = recommender.user_ids.gather(np.concatenate(sampled))
    written = pl.scan_parquet(path, glob=False, hive_partitioning=False)
    # One pass over the file, however few users' scores fit in memory at once.
    lists = written.filter(pl.col("user").is_in(ids.implode())).collect()
    rows = {name[0]: rows for name, rows in lists.group_by("user", maintain_order=True)}
    code = {item: place for place, item in enumerate(recommender.titles["item"].to_list())}
    for users in sampled:
        ours = recommender.model.score(users)
        for scores, user, id_ in zip(ours, users, recommender.user_ids.gather(users).to_list(), strict=True):
            mine = rows.get(id_, lists.head(0))
            if exclude_seen:
                scores[torch.from_numpy(recommender.seen.of(int(user))).long()] = -torch.inf
            listed = [code[item] for item in mine["item"].to_list()]
            best = scores.topk(min(k, int((scores > -torch.inf).sum()))).values
            if mine["rank"].to_list() != list(range(1, len(best) + 1)) or len(set(listed)) < len(listed):
                raise InputError(f"export: the list of user {id_!r} is not of {len(best)} items by rank; not kept")
            # By place: what is listed has the scores that the best items have, and says so.
            own = scores[torch.tensor(listed, dtype=torch.long)][None]
            agree.check("parquet", best[None], own)
            agree.check("parquet", best[None], torch.from_numpy(mine["score"].to_numpy().copy())[None])
