"""The form in which a trained recommender is kept and shipped: two tables of rows and an optional item prior.

    score(u, i) = <user[u], item[i]> + prior[i]

Everything that propagates over a graph ends here: what a node becomes is known once training ends, before shipping.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from gnas_ext.ops.quantized_rows import QuantizedRows
from gnas_ext.ops.topk_scores import topk_scores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from gnas_ext.graph.csr import CSR


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of an embedding table, in float32 or quantised.

    Attributes:
        rows: [n, width], float32, or int8 codes in -127 … 127.
        scale: [n], float32, for int8 rows: a row is `scale * codes`. None for float32 rows.
    """

    rows: Tensor
    scale: Tensor | None = None

    def __post_init__(self) -> None:
        if self.rows.dim() != 2:
            raise ValueError(f"Table: expected rows of shape [n, width], got {list(self.rows.shape)}")
        wanted = torch.float32 if self.scale is None else torch.int8
        if self.rows.dtype != wanted:
            raise TypeError(
                f"Table: expected {wanted} rows {'without' if self.scale is None else 'with'} a scale, "
                f"got {self.rows.dtype}"
            )
        if self.scale is not None and self.scale.shape != self.rows.shape[:1]:
            raise ValueError(f"Table: expected scale of shape [{len(self.rows)}], got {list(self.scale.shape)}")

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def width(self) -> int:
        """Numbers a row."""
        return self.rows.shape[1]

    def float(self, index: Tensor | None = None) -> Tensor:
        """All rows, or those of an index, as float32 [n, width]."""
        if index is not None:
            return self.select(index).float()
        return self.rows if self.scale is None else self.rows.to(torch.float32) * self.scale[:, None]

    def select(self, index: Tensor) -> Table:
        """The table of some rows, in the order of an index."""
        return Table(self.rows[index], None if self.scale is None else self.scale[index])

    def codes(self) -> QuantizedRows | None:
        """The rows as the ops take them where they are int8; None where they are float32."""
        return None if self.scale is None else QuantizedRows(self.rows, self.scale, None, 8, self.width)

    def size_bytes(self) -> int:
        """Bytes of the rows and their scales."""
        return self.rows.nbytes + (0 if self.scale is None else self.scale.nbytes)


@dataclass(frozen=True, eq=False)
class FactorModel:
    """Scores by a dot product and an optional prior per item.

    Attributes:
        user: a row a user.
        item: a row an item, as wide as `user`.
        prior: [n_items], float32: what an item scores for everybody, such as recent popularity.
    """

    user: Table
    item: Table
    prior: Tensor | None = None

    @property
    def n_users(self) -> int:
        """Users with a row."""
        return len(self.user)

    @property
    def n_items(self) -> int:
        """Items with a row."""
        return len(self.item)

    def score(self, users: NDArray[np.int32]) -> Tensor:
        """Scores of all items for each user, [len(users), n_items], float32."""
        scores = self.user.float(torch.from_numpy(users).long()) @ self.item.float().T
        return scores if self.prior is None else scores.add_(self.prior)

    def best(self, users: NDArray[np.int32], k: int, exclude: CSR | None) -> tuple[Tensor, Tensor]:
        """The k best items of each user, as `ops.topk_scores` finds them: users x items is never in memory.

        int8 rows on both sides are multiplied as they are.
        """
        rows = self.user.select(torch.from_numpy(users).long())
        left, right = rows.codes(), self.item.codes()
        if left is None or right is None:
            return ranked(rows.float(), self.item.float(), self.prior, k, exclude)
        return ranked(left, right, self.prior, k, exclude)

    def size_bytes(self) -> int:
        """Bytes of both tables, their scales and the prior."""
        return self.user.size_bytes() + self.item.size_bytes() + (0 if self.prior is None else self.prior.nbytes)


def ranked(
    rows: Tensor | QuantizedRows,
    items: Tensor | QuantizedRows,
    prior: Tensor | None,
    k: int,
    exclude: CSR | None,
    allow: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The k best items of each row, scores and items, as `Ranker.best` returns them.

    Args:
        rows: [n, width], float32 or int8.
        items: [n_items, width], likewise.
        prior: [n_items], added to all scores; None for nothing.
        k: how many.
        exclude: row i is what row i does not get.
        allow: the only items that may be chosen, as in `ops.topk_scores`.
    """
    users = len(rows.codes if isinstance(rows, QuantizedRows) else rows)
    bias = None if prior is None else prior.expand(users, -1)
    return topk_scores(rows, items, k, exclude, allow, bias=bias)
