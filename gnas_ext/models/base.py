"""What everything that recommends has in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


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
