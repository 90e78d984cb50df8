"""What would a user's history look like without noise? A filter of the item–item graph, applied to it.

With the history x of a user, the normalised graph B = D_u^-a R D_i^-b and P = B^T B, the filters of GF-CF, Turbo-CF,
ChebyCF and their mixtures are

    score = D^e h(P) D^-e x  +  weight D^f V V^T D^-f x

with a polynomial h (see `response`), the rank leading eigenvectors V of P, and powers e and f of the items' degrees D.
P is never made: it is two sparse products.

The same vectors save products: eigenvalues of P above the last of V are few, and known, so the polynomial has to be
right only below it, where a low degree does (or below what `lowpass.beyond` finds left over, where that is more). What
it misses above is put right by V, in the product that is there anyway. The error is bounded by `tolerance`, relative to
h(top).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from gnas_ext.graph.csr import CSR
from gnas_ext.models.history import touched
from gnas_ext.models.lowpass import beyond, low_pass
from gnas_ext.models.matrix import interaction_matrix
from gnas_ext.models.response import lowered, split_constant
from gnas_ext.ops.spmm import spmm
from gnas_ext.ops.topk_scores import topk_scores

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.polynomial import Chebyshev
    from numpy.typing import NDArray
    from torch import Tensor

    from gnas_ext.data.interactions import Interactions
    from gnas_ext.models.history import History

    Response = Callable[[float], Chebyshev]

# Above the largest eigenvalue that is not known, for it is not quite converged.
_MARGIN = 1.02
_LEAST = 1e-3
# So many columns of users and of items fit in the last cache together, and spmm is fastest on them.
_AT_ONCE = 64
# Beside vectors there are more, for topk_scores rules out scores of many users only; no more than fit in so many bytes.
_WITH_VECTORS = 504
_BLOCK_BYTES = 96 << 20


@dataclass(frozen=True)
class Scales:
    """How a filter weighs nodes by their degrees (1 at least).

    Attributes:
        user_exponent: a, of a user in the graph.
        item_exponent: b, of an item in the graph.
        exponent: e, of an item before and after the polynomial.
        low_exponent: f, of an item before and after the vectors.
    """

    user_exponent: float
    item_exponent: float
    exponent: float
    low_exponent: float


@dataclass(frozen=True, eq=False)
class GraphFilter:
    """Scores by filtering what the user touched.

    score = constant x + D^e B^T q(B B^T) B D^-e x + W gain W^T D^-2f x,  W = D^f V

    Attributes:
        history: what each user touched, [n_users, n_items], int8 ones; the graph is made of it.
        scales: powers of the degrees.
        constant: what of the history comes back as it is.
        top: q is a Chebyshev series on [0, top].
        series: its coefficients, [degree + 1], float32.
        vectors: W, [n_items, rank], float32; rank may be 0.
        gain: of each vector, [rank], float32.
    """

    history: History
    scales: Scales
    constant: float
    top: float
    series: Tensor
    vectors: Tensor
    gain: Tensor

    @property
    def n_users(self) -> int:
        """Users with a history, empty or not."""
        return int(self.history.shape[0])

    @property
    def n_items(self) -> int:
        """Items of the histories."""
        return int(self.history.shape[1])

    def score(self, users: NDArray[np.int32]) -> Tensor:
        """Filtered histories, [len(users), n_items], float32."""
        return self.score_history(touched(self.history, users))

    def score_history(self, mine: CSR) -> Tensor:
        """Other histories, filtered over the same graph, [mine.rows, n_items], float32."""
        scores = self._polynomial(mine)
        if self.vectors.shape[1]:
            scores.addmm_(self.vectors, self._shares(mine).T)
        result: Tensor = scores.T
        return result

    def best(self, users: NDArray[np.int32], k: int, exclude: CSR | None) -> tuple[Tensor, Tensor]:
        """The k best items of each user, as `models.base.Ranker` has it."""
        return self.best_of(touched(self.history, users), k, exclude)

    def best_of(self, mine: CSR, k: int, exclude: CSR | None, allow: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The k best items for each history: of the vectors, only the products that may matter are made.

        Args:
            mine: histories, as `score_history` takes them.
            k: how many.
            exclude: row i is what history i does not get, [mine.rows, n_items]; None for nothing.
            allow: bool, [n_items]: the only items that may be chosen; None for all.

        Returns:
            As `ops.topk_scores` has it. Scores are those of `score_history` but for rounding: their sums run otherwise.

        Raises:
            ValueError: a score is NaN.
        """
        most = _WITH_VECTORS if self.vectors.shape[1] else _AT_ONCE
        most = max(_AT_ONCE, min(most, _BLOCK_BYTES // (4 * max(1, self.n_items))))
        most = min(most, max(1, mine.rows))
        bias, k = torch.empty(self.n_items, most), min(k, self.n_items)
        found = []
        for first in range(0, max(1, mine.rows), most):
            block = _rows(mine, first, most)
            for begin in range(0, block.rows, _AT_ONCE):
                some = _rows(block, begin, _AT_ONCE)
                bias[:, begin : begin + some.rows] = self._polynomial(some)
            seen = None if exclude is None else _rows(exclude, first, block.rows)
            added = bias[:, : block.rows].T
            found.append(topk_scores(self._shares(block), self.vectors, k, seen, allow, bias=added))
        return torch.cat([values for values, _ in found]), torch.cat([items for _, items in found])

    def paths(self, items: NDArray[np.int32], item: int) -> tuple[CSR, Tensor]:
        """What each touched item contributes to an item's score, and by which of its users.

        Args:
            items: codes of touched items, [n].
            item: code of the item that is scored.

        Returns:
            A graph of shape [n, n_users] whose row j has an entry a user of items[j], its weight all that walks
            items[j] – that user – … – item carry; and what comes without a user, of the vectors and the constant, [n],
            float32. All of it together is the score of the history.
        """
        place, scales = torch.from_numpy(items).long(), self.scales
        # The polynomial is symmetric, so one column that begins at the end of all walks does for every beginning.
        end = torch.zeros(self.n_items, 1)
        end[item] = self._degree[item] ** scales.exponent
        reach = self._filtered(spmm(self._hop.to_users, end)).squeeze(1)
        ways = self._hop.out.select_rows(place)
        assert ways.weight is not None
        begin = self._degree[place] ** (-2 * scales.exponent)
        weight = ways.weight * begin[ways.row_index().long()] * reach[ways.indices.long()]
        direct = (self.vectors[place] * self.gain) @ self.vectors[item]
        direct *= self._degree[place] ** (-2 * scales.low_exponent)
        direct[place == item] += self.constant
        return ways.with_weight(weight), direct

    def size_bytes(self) -> int:
        """Bytes of the histories, the vectors, their gains and the series."""
        history = self.history
        parts = (self.vectors, self.gain, self.series)
        return history.data.nbytes + history.indices.nbytes + history.indptr.nbytes + sum(part.nbytes for part in parts)

    def _polynomial(self, mine: CSR) -> Tensor:
        """What the polynomial makes of histories, [n_items, mine.rows]: items are rows, as spmm wants them."""
        place = mine.indices.long()
        begin = self._degree[place] ** -self.scales.exponent
        scores = spmm(self._hop.out, self._filtered(self._reached(mine, begin)))
        if self.constant:
            scores[place, mine.row_index().long()] += self.constant
        return scores

    def _shares(self, mine: CSR) -> Tensor:
        """How much of each vector histories have, times its gain, [mine.rows, rank]."""
        degree = self._degree[mine.indices.long()]
        return spmm(mine.with_weight(degree ** (-2 * self.scales.low_exponent)), self.vectors) * self.gain

    def _reached(self, mine: CSR, begin: Tensor) -> Tensor:
        """B x of histories x with `begin` as their entries, [n_users, mine.rows]; by way of the touched items alone."""
        items, place = torch.unique(mine.indices, return_inverse=True)
        x = torch.zeros(len(items), mine.rows)
        x[place, mine.row_index().long()] = begin
        return spmm(self._hop.to_items.select_rows(items).t(), x)

    def _filtered(self, x: Tensor) -> Tensor:
        """q(B B^T) x, by the recursion of Chebyshev polynomials, [n_users, width]; may be written to x."""
        series = self.series.tolist()
        if len(series) == 1:
            return x if series[0] == 1 else x.mul_(series[0])
        total: Tensor = x * series[0]
        hop = self._hop
        # Twice the stretched product: 4 / top stands in the weights of the way back.
        before, now = x, spmm(hop.to_users, spmm(hop.twice, x)).mul_(0.5).sub_(x)
        total.add_(now, alpha=series[1])
        for share in series[2:]:
            twice = spmm(hop.to_users, spmm(hop.twice, now)).sub_(now, alpha=2).sub_(before)
            before, now = now, twice
            total.add_(now, alpha=share)
        return total

    @cached_property
    def _degree(self) -> Tensor:
        return degrees(self.history)[1]

    @cached_property
    def _hop(self) -> _Hop:
        return _hop(self.history, self.scales, self.top)


def fit_graph_filter(
    train: Interactions,
    n_users: int,
    n_items: int,
    *,
    response: Response,
    user_exponent: float = 0.5,
    item_exponent: float = 0.5,
    exponent: float = 0.0,
    rank: int = 0,
    low_weight: float = 0.0,
    low_exponent: float = 0.0,
    tolerance: float = 1e-4,
    low_tolerance: float = 1e-3,
    seed: int = 0,
) -> GraphFilter:
    """Finds the vectors of a filter, and the shortest polynomial beside them.

    Args:
        train: the interactions; repeated pairs count once.
        n_users: users of the model.
        n_items: items of the model; one that nobody touched scores 0.
        response: h, given the largest eigenvalue of P: as `response.plateau` and its neighbours make it.
        user_exponent: a.
        item_exponent: b; with a = b = 0.5 the largest eigenvalue is 1.
        exponent: e.
        rank: vectors in V; 0 for none.
        low_weight: weight of the ideal low-pass part.
        low_exponent: f; where it is e, the vectors save products of the polynomial too.
        tolerance: of that saving, relative to the largest |h|; 0 for none: all products are made.
        low_tolerance: of the vectors, as in `low_pass`.
        seed: of the vector that the search for the others begins with.

    Raises:
        ValueError: rank or tolerance below 0, or a rank without a weight or the other way round.
    """
    if rank < 0 or not tolerance >= 0:
        raise ValueError(f"fit_graph_filter: expected rank and tolerance of 0 or more, got {rank} and {tolerance}")
    if (rank > 0) != (low_weight != 0):
        raise ValueError(
            f"fit_graph_filter: expected rank and low_weight both 0 or neither, got rank={rank} and "
            f"low_weight={low_weight}"
        )
    matrix = interaction_matrix(train, n_users, n_items)
    matrix.sort_indices()
    history = matrix.astype(np.int8)
    scales = Scales(user_exponent, item_exponent, exponent, low_exponent)
    hop = _hop(history, scales)
    low = low_pass(hop.to_users, max(rank, 1), tolerance=low_tolerance, seed=seed)
    top = 1.0 if user_exponent == item_exponent == 0.5 else float(low.values[:1].sum()) or 1.0
    constant, rest = split_constant(response(top))
    gain = torch.full((len(low.values),), low_weight)
    if rank and exponent == low_exponent and tolerance > 0:
        largest = float(np.abs(response(top)(np.linspace(0, top, 501))).max())
        unknown = max(float(low.values[-1:].sum()), beyond(hop.to_users, low, seed=seed))
        # Not to zero, where a series has no interval to stand on.
        cut = min(top, max(unknown * _MARGIN, _LEAST * top))
        short = lowered(rest, cut, tolerance * largest)
        values = low.values.double().numpy()
        missed = torch.from_numpy(values * (rest(values) - short(values)))
        rest, gain = short, gain + missed.float()
    item = degrees(history)[1] ** low_exponent
    # Rounding leaves dust on items that nobody touched, and a power of a degree can only make it more.
    item[torch.from_numpy(np.bincount(history.indices, minlength=n_items) == 0)] = 0
    vectors = (low.vectors[:, :rank] * item[:, None]).contiguous()
    return GraphFilter(
        history,
        scales,
        constant,
        float(np.float32(rest.domain[1])),
        torch.from_numpy(rest.coef.astype(np.float32)),
        vectors,
        gain[:rank].contiguous(),
    )


def _rows(graph: CSR, first: int, count: int) -> CSR:
    """Some rows that follow each other, as many as there are; no weights."""
    indptr = graph.indptr[first : first + count + 1]
    begin, end = indptr[[0, -1]].tolist()
    return CSR(indptr - begin, graph.indices[begin:end], None, (len(indptr) - 1, graph.cols))


@dataclass(frozen=True, eq=False)
class _Hop:
    """One step over the graph.

    Attributes:
        to_users: B, [n_users, n_items].
        to_items: B^T.
        twice: 4 / top B^T, as a graph of its own: weights stand beside their entries.
        out: D^e B^T.
    """

    to_users: CSR
    to_items: CSR
    twice: CSR
    out: CSR


def degrees(history: History) -> tuple[Tensor, Tensor]:
    """Entries of each user and of each item, 1 at least, float32."""
    users = np.diff(history.indptr)
    items = np.bincount(history.indices, minlength=history.shape[1])
    return tuple(torch.from_numpy(np.maximum(side, 1).astype(np.float32)) for side in (users, items))  # type: ignore[return-value]


def _hop(history: History, scales: Scales, top: float = 1.0) -> _Hop:
    user, item = degrees(history)
    entries = touched(history)
    weight = user[entries.row_index().long()] ** -scales.user_exponent
    to_users = entries.with_weight(weight * item[entries.indices.long()] ** -scales.item_exponent)
    t = to_users.t()
    assert t.weight is not None
    to_items = CSR(t.indptr, t.indices, t.weight, t.shape)
    after = to_items.with_weight(t.weight * item[to_items.row_index().long()] ** scales.exponent)
    return _Hop(to_users, to_items, to_items.with_weight(t.weight * (4 / top)), after)
