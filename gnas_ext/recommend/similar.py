"""Which items are like this one? What a model knows of pairs of items, read off its own numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from gnas_ext.errors import InputError
from gnas_ext.evaluate.seen import SeenItems
from gnas_ext.models.ease import ItemWeights
from gnas_ext.models.itemknn import ItemKNN
from gnas_ext.models.largest import largest
from gnas_ext.models.popularity import Popularity
from gnas_ext.recommend.fold import history_graph

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from gnas_ext.models.base import HistoryModel, Model

    Codes = NDArray[np.int64]
    Scores = NDArray[np.float32]


def similar_items(model: Model, fold: HistoryModel, item: int, k: int) -> tuple[Codes, Scores]:
    """The items that are most like one, best first, itself left out; equal ones by code.

    What "like" means is the model's: ItemKNN has its stored similarities, and no others; ItemWeights what touching the
    item says about each other one; filters and mixtures what they score for somebody who touched this item alone. Two
    tables of rows, which have the cosine of the items' rows, are not asked here but by `Shelf.alike`.

    Args:
        model: what recommends.
        fold: what `fold_of` made of it.
        item: its code.
        k: how many at most.

    Raises:
        InputError: the model knows nothing of pairs of items.
    """
    if isinstance(model, Popularity):
        raise InputError("similar: the artefact holds popularity alone, which says nothing of which items are alike")
    if isinstance(model, ItemKNN):
        values, items = _best(torch.from_numpy(model.similarity[[item]].toarray()), item, k)
        found = values > 0
        values, items = values[found], items[found]
    elif isinstance(model, ItemWeights):
        values, items = _best(model.weight[item][None].clone(), item, k)
    else:
        alone = SeenItems(np.array([0, 1]), np.array([item], dtype=np.int32))
        values, items = _best(fold.score_history(history_graph(alone, model.n_items)), item, k)
    return items.numpy(), values.numpy()


def _best(scores: Tensor, item: int, k: int) -> tuple[Tensor, Tensor]:
    scores = scores.contiguous()
    scores[0, item] = -torch.inf
    values, items = largest(scores, min(k, scores.shape[1] - 1))
    return values[0], items[0]
