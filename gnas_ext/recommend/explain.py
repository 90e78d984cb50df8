"""Why does this item have its score for this user? The score as a sum, one line a touched item.

In every explanation, of whatever method,

    score  =  base  +  sum of the contributions  +  rest

- "paths": a graph filter is linear in what the user touched, so the sum is exact, and rest is 0. Each contribution is
  itself a sum over the walks item – user – … – item, kept apart by their first user; with one hop (Turbo-CF's linear
  filter) these are all the paths user – item – user – item that there are.
- "linear": ItemKNN, walks, EASE^R and SLIM add up a stored number a touched item. Exact, and rest is 0.
- "folded": two tables hold what training and propagation made of a graph, not the graph's weights nor the embeddings
  that travelled over it, so the paths of a trained LightGCN cannot be had from an artefact exactly, and none are made
  up. What is linear is the map of `recommend.fold`, which makes a row of what a user touched: base is the item's prior
  and what everybody gets, a contribution is what the map makes of a touched item, and rest is what the stored row holds
  beyond the map. Rest is 0 but for rounding to int8 for a user who was folded in. `explained` says how much of all
  stored rows the map gives back: where it is little, rests are large, and contributions say little of training.
- "leave-one-out": of a model that is not linear, such as a mixture (no artefact holds one), which standardises its
  scores by user: a contribution is what the score loses when one touch is taken out of the history. Such losses need
  not sum to the score: rest is what the touches do together, and what no history gives.
- "popularity": everybody's score is the base, and no touch contributes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
import torch

from gnas_ext.evaluate.seen import SeenItems
from gnas_ext.models.ease import ItemWeights
from gnas_ext.models.factors import FactorModel
from gnas_ext.models.graph_filter import GraphFilter
from gnas_ext.models.itemknn import ItemKNN
from gnas_ext.models.popularity import Popularity
from gnas_ext.recommend.fold import FactorFold, history_graph

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from gnas_ext.models.base import HistoryModel, Model
    from gnas_ext.recommend.ids import Id

    Numbers = NDArray[np.float64]

Method = Literal["paths", "linear", "folded", "leave-one-out", "popularity"]

# Histories that are scored at once when one touch after another is left out.
_AT_ONCE = 64

WHAT_SUMS: dict[Method, str] = {
    "paths": "exact: the walks over the graph from each touched item sum to the score",
    "linear": "exact: what each touched item adds sums to the score",
    "folded": "exact for what the touched items say; the rest is what training put into the user's row beyond them",
    "leave-one-out": "what the score loses without each touch; the rest is what the touches do together",
    "popularity": "everybody gets the same score; nothing that was touched changes it",
}


@dataclass(frozen=True, eq=False)
class Explanation:
    """A score as a sum.

    Attributes:
        item: id of the item that is explained.
        title: its title; None where it is not known.
        score: what the model gives it, as `recommend` prints it.
        method: how it was taken apart; `WHAT_SUMS` has a line on each.
        reasons: a row a touched item, the largest contribution first: `item`, `title`, `contribution` (Float64, in the
            unit of the score; negative where the touch speaks against the item).
        base: what the item has without any touch.
        rest: score - base - sum of the contributions.
        paths: for "paths": `item`, `title`, `user`, `contribution`, the largest first; `user` is the first on the way,
            and null for what comes by no user (the filter's vectors and constant). They sum to the score.
        explained: for "folded": share of the variance of users' stored rows that the map gives back, up to 1; None for
            other methods, which need no map.
    """

    item: Id
    title: str | None
    score: float
    method: Method
    reasons: pl.DataFrame
    base: float
    rest: float
    paths: pl.DataFrame | None = None
    explained: float | None = None

    @property
    def sums(self) -> str:
        """What sums to what, in a line; for "folded" with the share that the map explains."""
        line = WHAT_SUMS[self.method]
        if self.explained is None:
            return line
        return f"{line} (touched items explain {self.explained:.1%} of the variance of all users' rows)"


def explain_score(
    model: Model,
    fold: HistoryModel,
    mine: SeenItems,
    user: int | None,
    item: int,
    titles: pl.DataFrame,
    user_ids: pl.Series,
) -> Explanation:
    """Takes a score apart.

    Args:
        model: what scores.
        fold: what `fold_of` made of it.
        mine: what the user touched, one row.
        user: code of the user; None for somebody who was not in training, and is scored by the history.
        item: code of the item.
        titles: of items in code order, as a Recommender has them.
        user_ids: in code order.
    """
    touched, paths, base, explained = mine.items, None, 0.0, None
    method: Method = "linear"
    score = _score(model, fold, mine, user, item)
    if isinstance(model, Popularity):
        method, base, parts = "popularity", score, np.zeros(len(touched))
    elif isinstance(fold, FactorFold):
        method = "folded"
        base, parts = _folded(fold, touched, item)
        explained = fold.explained
    elif isinstance(model, ItemKNN):
        parts = model.similarity[touched][:, [item]].toarray()[:, 0].astype(np.float64)
    elif isinstance(model, ItemWeights):
        parts = model.weight[torch.from_numpy(touched).long(), item].double().numpy()
    elif isinstance(model, GraphFilter):
        method = "paths"
        parts, paths = _by_paths(model, touched, item, titles, user_ids)
    else:
        method = "leave-one-out"
        parts = _left_out(fold, mine, model.n_items, item)
    exact = method in ("paths", "linear", "popularity")
    return Explanation(
        *_named(titles, item),
        score=score,
        method=method,
        reasons=_ordered(titles[touched].select("item", "title").with_columns(contribution=pl.Series(parts))),
        base=base,
        rest=0.0 if exact else score - base - float(parts.sum()),
        paths=paths,
        explained=explained,
    )


def explain_popular(item: int, touched_by: int, titles: pl.DataFrame) -> Explanation:
    """For somebody of whom nothing is known: as many users touched the item."""
    nothing = pl.Series([], dtype=pl.Float64)
    return Explanation(
        *_named(titles, item),
        score=float(touched_by),
        method="popularity",
        reasons=titles.head(0).select("item", "title").with_columns(contribution=nothing),
        base=float(touched_by),
        rest=0.0,
    )


def _score(model: Model, fold: HistoryModel, mine: SeenItems, user: int | None, item: int) -> float:
    if isinstance(model, FactorModel) and isinstance(fold, FactorFold):
        # One row and one item: the other items need not be dequantised.
        place = torch.tensor([item])
        row = fold.rows(history_graph(mine, model.n_items)) if user is None else model.user.select(torch.tensor([user]))
        prior = None if model.prior is None else model.prior[place]
        return float(FactorModel(row, model.item.select(place), prior).score(np.zeros(1, dtype=np.int32)))
    if user is None:
        return float(fold.score_history(history_graph(mine, model.n_items))[0, item])
    return float(model.score(np.array([user], dtype=np.int32))[0, item])


def _folded(fold: FactorFold, touched: NDArray[np.int32], item: int) -> tuple[float, Numbers]:
    """What everybody gets, and what the map makes of each touched item."""
    wanted = fold.model.item.float(torch.tensor([item]))[0].double()
    base = float(fold.base.double() @ wanted)
    if fold.model.prior is not None:
        base += float(fold.model.prior[item])
    share = float(fold.share(torch.tensor(len(touched))))
    parts: Tensor = fold.items[torch.from_numpy(touched).long()].double() @ wanted * share
    return base, parts.numpy()


def _by_paths(
    model: GraphFilter, touched: NDArray[np.int32], item: int, titles: pl.DataFrame, user_ids: pl.Series
) -> tuple[Numbers, pl.DataFrame]:
    """What comes from each touched item, and the same apart by the first user on the way."""
    ways, direct = model.paths(touched, item)
    assert ways.weight is not None
    row, weight = ways.row_index().numpy(), ways.weight.double().numpy()
    parts: Numbers = direct.double().numpy()
    np.add.at(parts, row, weight)
    by_user = titles[touched[row]].select("item", "title").with_columns(user=user_ids.gather(ways.indices.numpy()))
    by_none = titles[touched].select("item", "title").with_columns(user=pl.lit(None, user_ids.dtype))
    paths = pl.concat(
        [
            by_user.with_columns(contribution=pl.Series(weight)),
            by_none.with_columns(contribution=pl.Series(direct.double().numpy())),
        ]
    )
    return parts, _ordered(paths.filter(pl.col("contribution") != 0))


def _left_out(fold: HistoryModel, mine: SeenItems, n_items: int, item: int) -> Numbers:
    """What the score loses without each touch."""
    count = len(mine.items)
    whole = float(fold.score_history(history_graph(mine, n_items))[0, item])
    without = np.zeros(count)
    for first in range(0, count, _AT_ONCE):
        places = range(first, min(first + _AT_ONCE, count))
        items = np.concatenate([np.delete(mine.items, place) for place in places])
        rows = SeenItems(np.arange(len(places) + 1) * (count - 1), items)
        without[first : first + len(places)] = fold.score_history(history_graph(rows, n_items))[:, item]
    return whole - without


def _named(titles: pl.DataFrame, item: int) -> tuple[Id, str | None]:
    id_, title = titles.select("item", "title").row(item)
    return id_, title


def _ordered(table: pl.DataFrame) -> pl.DataFrame:
    return table.sort("contribution", descending=True, maintain_order=True)
