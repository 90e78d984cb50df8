"""How does a vector index find our lists? Two float32 matrices whose inner products are the scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from gnas_ext.models.coded import in_floats
from gnas_ext.models.factors import FactorModel
from gnas_ext.recommend.export import agree

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from gnas_ext.models.factors import Table
    from gnas_ext.recommend.recommender import Recommender

USER, ITEM = "user.npy", "item.npy"
USERS, ITEMS = "users.parquet", "items.parquet"
HOLDS = {USER, ITEM, USERS, ITEMS}
_AT_ONCE = 65_536  # rows


def write_vectors(recommender: Recommender, folder: Path) -> None:
    """Writes `user.npy` and `item.npy`, [n, width], C order, and the id behind each row.

    A model with a prior has one column more: 1 for a user, the prior for an item. Seen items are not left out by an
    index: ask it for more and drop them.

    Raises:
        InputError: a model that is not made of two tables, or vectors whose inner products are other scores.
    """
    model = in_floats(recommender.model)
    if not isinstance(model, FactorModel):
        raise agree.no_form(model, "faiss", "models of two tables of rows")
    prior = model.prior
    _write(folder / USER, model.user, None if prior is None else torch.ones(model.n_users))
    _write(folder / ITEM, model.item, prior)
    recommender.user_ids.to_frame("user").write_parquet(folder / USERS)
    recommender.titles.write_parquet(folder / ITEMS)
    user, item = (np.load(folder / name, mmap_mode="r") for name in (USER, ITEM))
    for users in agree.sampled(model):
        agree.check("faiss", recommender.model.score(users), _products(user[users], item))


def _products(user: NDArray[np.float32], item: NDArray[np.float32]) -> torch.Tensor:
    return torch.from_numpy(user @ item.T)


def _write(path: Path, table: Table, last: torch.Tensor | None) -> None:
    """A table as float32, some rows at a time."""
    width = table.float(torch.arange(0)).shape[1]
    shape = (len(table), width + (last is not None))
    written = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    for first in range(0, len(table), _AT_ONCE):
        index = torch.arange(first, min(first + _AT_ONCE, len(table)))
        written[first : first + len(index), :width] = table.float(index).numpy()
        if last is not None:
            written[first : first + len(index), width] = last[index].numpy()
    written.flush()
