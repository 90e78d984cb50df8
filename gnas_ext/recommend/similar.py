"""Which items are like this one? What a model knows of pairs of items, read off its own numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from gnas_ext.errors import InputError
from gnas_ext.evaluate.seen import SeenItems
from gnas_ext.models.ease import ItemWeights
from gnas_ext.models.factors import FactorModel, Table
from gnas_ext.models.itemknn import ItemKNN
from gnas_ext.models.largest import largest
from gnas_ext.models.popularity import Popularity
from gnas_ext.ops.quantized_rows import QuantizedRows
from gnas_ext.ops.topk_scores import topk_scores
from gnas_ext.recommend.fold import history_graph

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from gnas_ext.models.base import HistoryModel, Model

    Codes = NDArray[np.int64]
    Scores = NDArray[np.float32]


def similar_items(model: Model, fold: HistoryModel | None, item: int, k: int) -> tuple[Codes, Scores]:
    """The items that are most like one, best first, itself left out; equal ones by code.

    What "like" means is the model's: two tables of rows have the cosine of the items' rows (int8 rows as they are
    stored); ItemKNN its stored similarities, and no others; ItemWeights what touching the item says about each other
    one; filters and mixtures what they score for somebody who touched this item alone.

    Args:
        model: what recommends.
        fold: what `fold_of` made of it; a model of two tables can do without.
        item: its code.
        k: how many at most.

    Raises:
        InputError: the model knows nothing of pairs of items.
    """
    if isinstance(model, Popularity):
        raise InputError("similar: the artefact holds popularity alone, which says nothing of which items are alike")
    if isinstance(model, FactorModel):
        values, items = _nearest_rows(model.item, item, k)
    elif isinstance(model, ItemKNN):
        row = model.similarity[[item]].toarray()
        values, items = _best(torch.from_numpy(row), item, k)
        found = values > 0
        values, items = values[found], items[found]
    elif isinstance(model, ItemWeights):
        values, items = _best(model.weight[item][None].clone(), item, k)
    else:
        assert fold is not None
        alone = SeenItems(np.array([0, 1]), np.array([item], dtype=np.int32))
        values, items = _best(fold.score_history(history_graph(alone, model.n_items)), item, k)
    return items.numpy(), values.numpy()


def _nearest_rows(table: Table, item: int, k: int) -> tuple[Tensor, Tensor]:
    """By cosine. Of int8 rows that is the product of the codes over their lengths: the scales drop out."""
    itself = torch.tensor([item])
    others = torch.arange(len(table)) != item
    if table.scale is not None and table.rows.dtype == torch.int8:
        rows = QuantizedRows(table.rows, _inverse(table.rows.float().norm(dim=1)), None, 8, table.rows.shape[1])
        left = QuantizedRows(rows.codes[itself], rows.scale[itself], None, 8, rows.width)
        values, items = topk_scores(left, rows, k, allow=others)
    else:
        unit = table.float()
        unit = unit * _inverse(unit.norm(dim=1))[:, None]
        values, items = topk_scores(unit[itself], unit, k, allow=others)
    found = items[0] >= 0
    return values[0][found], items[0][found]


def _inverse(length: Tensor) -> Tensor:
    """1 / length; 0 for rows of zeros, which are like nothing."""
    return torch.where(length > 0, 1 / length, 0.0)


def _best(scores: Tensor, item: int, k: int) -> tuple[Tensor, Tensor]:
    scores = scores.contiguous()
    scores[0, item] = -torch.inf
    values, items = largest(scores, min(k, scores.shape[1] - 1))
    return values[0], items[0]
