"""What would a model say to somebody who was not in training? A history in, what the model makes of it out.

Models that score by a history take another one as it is. Two tables of rows hold a row a user and no way from items to
it, so one is fitted, once, on the users that are stored:

    row(u)  ≈  base + n^-a  sum over u's n items of  d_j^-b item[j] W

W [width, width] and base by least squares; a in 0, ½, 1 and b in 0, ½ by what is left over. With a = b = ½ and W = 1
that is what a user of LightGCN gets in one hop. It is linear in the items, so each has a share in every score; what of
a stored row it misses is known, and `explain` says how much that is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from gnas_ext.errors import InputError
from gnas_ext.graph.csr import CSR
from gnas_ext.models.base import HistoryModel
from gnas_ext.models.coded import in_floats
from gnas_ext.models.factors import FactorModel, Table
from gnas_ext.models.mixture import Mixture
from gnas_ext.ops.quantize_rows import quantize_rows
from gnas_ext.ops.spmm import spmm

if TYPE_CHECKING:
    from torch import Tensor

    from gnas_ext.evaluate.seen import SeenItems
    from gnas_ext.models.base import Model

# Users that the map is fitted on at most; it has width^2 numbers, and more users change none of its first digits.
_MOST_USERS = 50_000
# Of the mean eigenvalue: holds the map where rows span fewer directions than they are wide.
_RIDGE = 1e-3


def history_graph(seen: SeenItems, n_items: int) -> CSR:
    """Histories as a graph without weights, [rows of seen, n_items]."""
    indices = torch.from_numpy(seen.items.astype(np.int64))
    return CSR(torch.from_numpy(seen.indptr), indices, None, (seen.n_users, n_items))


@dataclass(frozen=True, eq=False)
class FactorFold:
    """Rows for users that have none.

    Attributes:
        model: the tables.
        base: what a row is without any item, [width], float32.
        items: what each item adds, [n_items, width], float32.
        exponent: a: the sum over n items is divided by n^a.
        explained: share of the stored rows' variance that the map gives back, up to 1.
    """

    model: FactorModel
    base: Tensor
    items: Tensor
    exponent: float
    explained: float

    def rows(self, mine: CSR) -> Table:
        """A row a history, stored as the users' table is: int8 beside int8 rows, float32 otherwise."""
        rows = self.base + spmm(mine, self.items) * self.share(mine.degree())[:, None]
        if self.model.user.rows.dtype != torch.int8:
            return Table(rows)
        codes = quantize_rows(rows)
        return Table(codes.codes, codes.scale)

    def share(self, touched: Tensor) -> Tensor:
        """How much of the sum each history of so many items keeps, float32."""
        return touched.clamp(min=1).float() ** -self.exponent

    def score_history(self, mine: CSR) -> Tensor:
        """Scores of all items, [mine.rows, n_items], float32."""
        folded = FactorModel(self.rows(mine), self.model.item, self.model.prior)
        return folded.score(np.arange(mine.rows, dtype=np.int32))


@dataclass(frozen=True, eq=False)
class MixtureFold:
    """A mixture whose parts each take a history.

    Attributes:
        mixture: how their scores are added up.
        parts: of each model.
    """

    mixture: Mixture
    parts: tuple[HistoryModel, ...]

    def score_history(self, mine: CSR) -> Tensor:
        """The weighted sum of standardised scores, [mine.rows, n_items], float32."""
        return self.mixture.combined(part.score_history(mine) for part in self.parts)


def fold_of(model: Model, seen: SeenItems) -> HistoryModel:
    """The way from a history to scores.

    Args:
        model: what scores.
        seen: training items of each of its users.

    Raises:
        InputError: the model has none.
    """
    model = in_floats(model)
    if isinstance(model, FactorModel):
        return fit_fold(model, seen)
    if isinstance(model, Mixture):
        return MixtureFold(model, tuple(fold_of(part, seen) for part in model.models))
    if isinstance(model, HistoryModel):
        return model
    raise InputError(f"a {type(model).__name__} scores stored users only: it has no way from a history to scores")


def fit_fold(model: FactorModel, seen: SeenItems) -> FactorFold:
    """Finds the map that gives the stored rows of users back from their items."""
    stored = np.flatnonzero(seen.counts > 0)
    users = stored[:: max(1, -(-len(stored) // _MOST_USERS))].astype(np.int32)
    mine = history_graph(seen.select(users), model.n_items)
    wanted = model.user.float(torch.from_numpy(users).long()).double()
    items = model.item.float()
    degree = torch.from_numpy(np.bincount(seen.items, minlength=model.n_items)).clamp(min=1).float()
    best: FactorFold | None = None
    for b in (0.0, 0.5):
        scaled = items * (degree**-b)[:, None]
        summed = spmm(mine, scaled).double()
        for a in (0.0, 0.5, 1.0):
            given = summed * (mine.degree().clamp(min=1).double() ** -a)[:, None]
            weight, base, explained = _least_squares(given, wanted)
            if best is None or explained > best.explained:
                best = FactorFold(model, base.float(), scaled @ weight.float(), a, explained)
    assert best is not None
    return best


def _least_squares(given: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor, float]:
    """W and base with wanted ≈ given W + base, and the share of the variance that they explain."""
    if not len(given):
        return given.new_zeros(given.shape[1], wanted.shape[1]), wanted.new_zeros(wanted.shape[1]), 0.0
    centre, target = given.mean(0), wanted.mean(0)
    x, y = given - centre, wanted - target
    gram = x.T @ x
    gram.diagonal().add_(_RIDGE * gram.diagonal().mean() + torch.finfo(torch.float64).tiny)
    weight = torch.linalg.solve(gram, x.T @ y)
    variance = float((y * y).sum())
    missed = float((y - x @ weight).square().sum())
    return weight, target - centre @ weight, 1 - missed / variance if variance else 1.0
