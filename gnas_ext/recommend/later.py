"""How good are an artefact's lists for what came later? A later log, in the artefact's codes, measured as ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from gnas_ext.data.interactions import Interactions
from gnas_ext.errors import InputError
from gnas_ext.evaluate.compare import measure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gnas_ext.data.interactions import Log
    from gnas_ext.evaluate.compare import ModelResult
    from gnas_ext.recommend.recommender import Recommender


def measure_later(recommender: Recommender, log: Log, k: int = 20) -> tuple[ModelResult, list[str]]:
    """Measures the lists against a log.

    What a user touched in training does not count again. Users that the artefact does not know are left out; items
    that it does not know cannot be recommended, and count as missed.

    Args:
        recommender: a loaded artefact.
        log: who touched what after training; ids as in the artefact's log.
        k: length of the lists.

    Returns:
        The figures, and what was left out, in words.

    Raises:
        InputError: no user of the log is known, or nothing new is left of it.
    """
    user = _codes(log.user_ids, recommender.user_ids)[log.interactions.user]
    item = _codes(log.item_ids, recommender.titles["item"])
    # Items without a row get codes behind the last row: they stay in the truth, and no list can hold them.
    unknown = item < 0
    item[unknown] = recommender.n_items + np.arange(unknown.sum())
    item = item[log.interactions.item]

    known = user >= 0
    if not known.any():
        example = recommender.user_ids[0]
        raise InputError(
            f"evaluate: none of the {len(log.user_ids):,} users is in the artefact (one of its is {example!r})"
        )
    trained = Interactions(recommender.seen.rows().astype(np.int32), recommender.seen.items)
    # One integer a pair; the log's largest item may be smaller or larger than the artefact's.
    stride = max(int(item.max()) + 1, recommender.n_items)
    old = np.isin(user * stride + item, trained.user.astype(np.int64) * stride + trained.item)
    fresh = known & ~old
    if not fresh.any():
        raise InputError("evaluate: every touch of known users was in training already; give a later log")
    target = Interactions(user[fresh].astype(np.int32), item[fresh].astype(np.int32))
    notes = [f"{fresh.sum():,} new touches of {len(np.unique(target.user)):,} known users"]
    if not known.all():
        notes.append(f"left out: {(~known).sum():,} touches of users that the artefact does not know")
    if (known & old).any():
        notes.append(f"left out: {(known & old).sum():,} touches that were in training")
    missed = int((target.item >= recommender.n_items).sum())
    if missed:
        notes.append(f"counted as missed: {missed:,} touches of items that the artefact does not know")
    return measure("artefact", recommender.model, trained, target, (k,)), notes


def _codes(ids: pl.Series, known: pl.Series) -> NDArray[np.int64]:
    """The artefact's code of each id, by how it is written; -1 for none."""
    table = pl.DataFrame({"id": known.cast(pl.String), "code": np.arange(len(known))})
    found = ids.cast(pl.String).rename("id").to_frame().join(table, on="id", how="left", maintain_order="left")
    return found["code"].fill_null(-1).to_numpy().astype(np.int64)
