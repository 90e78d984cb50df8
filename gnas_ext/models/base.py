"""What everything that recommends has in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from gnas_ext.graph.csr import CSR


class Model(Protocol):
    """Scores every item for some users; higher is better.

    It knows users 0 … n_users-1 and items 0 … n_items-1.
    """

    @property
    def n_users(self) -> int:
        """Users that it knows."""
        ...

    @property
    def n_items(self) -> int:
        """Items that it can recommend."""
        ...

    def score(self, users: NDArray[np.int32]) -> Tensor:
        """Scores of all items, [len(users), n_items], float32, on the CPU. A new tensor: callers may write to it."""
        ...

    def size_bytes(self) -> int:
        """Bytes of everything that must be stored to score: tables, scales, priors, similarity lists."""
        ...


@runtime_checkable
class HistoryModel(Protocol):
    """A model that scores by what somebody touched, in training or just now."""

    def score_history(self, mine: CSR) -> Tensor:
        """Scores of all items for those who touched what each row names.

        Args:
            mine: [n, n_items], no weights; columns of a row ascend, none twice.

        Returns:
            [n, n_items], float32, on the CPU; a new tensor.
        """
        ...


@runtime_checkable
class Ranker(Protocol):
    """A model that finds the best items itself, cheaper than by scoring all of them."""

    def best(self, users: NDArray[np.int32], k: int, exclude: CSR | None) -> tuple[Tensor, Tensor]:
        """The k best items of each user.

        Args:
            users: codes, [n].
            k: how many; may exceed the number of items.
            exclude: row i is what users[i] does not get, [n, n_items]; None for nothing.

        Returns:
            Scores [n, k], float32, the largest first, and items [n, k], int64; of equal scores the smaller item comes
            first. Where no item is left: -inf and -1.

        Raises:
            ValueError: a score is NaN.
        """
        ...
