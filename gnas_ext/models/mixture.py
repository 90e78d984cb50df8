"""What do several models say together? Their scores, each brought to one scale, and added up.

A filter and trained embeddings err in different places, and a weighted sum of the two ranks better than either. Scores
of a user are brought to mean 0 and deviation 1 over all items first, for models do not share a unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from gnas_ext.models.base import Model


@dataclass(frozen=True, eq=False)
class Mixture:
    """Scores by a weighted sum of standardised scores.

    Attributes:
        models: one or more, of the same users and items.
        weights: of each, above 0.
    """

    models: tuple[Model, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.models or len(self.models) != len(self.weights):
            raise ValueError(
                f"Mixture: expected a weight a model, one or more, got {len(self.models)} models and "
                f"{len(self.weights)} weights"
            )
        if not all(weight > 0 for weight in self.weights):
            raise ValueError(f"Mixture: expected weights above 0, got {self.weights}")
        shapes = {(model.n_users, model.n_items) for model in self.models}
        if len(shapes) > 1:
            raise ValueError(f"Mixture: expected models of the same users and items, got {sorted(shapes)}")

    @property
    def n_users(self) -> int:
        """Users that all models know."""
        return self.models[0].n_users

    @property
    def n_items(self) -> int:
        """Items that all models score."""
        return self.models[0].n_items

    def score(self, users: NDArray[np.int32]) -> Tensor:
        """The weighted sum, [len(users), n_items], float32; of a model that scores all items alike it is 0."""
        return self.combined(model.score(users) for model in self.models)

    def combined(self, scores: Iterable[Tensor]) -> Tensor:
        """The weighted sum of scores that the models have given, each [n, n_items] and standardised in here."""
        parts = zip(scores, self.weights, strict=True)
        first, weight = next(parts)
        total = _standardised(first).mul_(weight)
        for part, weight in parts:
            total.add_(_standardised(part), alpha=weight)
        return total

    def size_bytes(self) -> int:
        """Bytes of all models together."""
        return sum(model.size_bytes() for model in self.models)


def _standardised(scores: Tensor) -> Tensor:
    scores = scores.contiguous()
    variance, mean = torch.var_mean(scores, 1, correction=0, keepdim=True)
    return scores.sub_(mean).div_(variance.masked_fill_(variance == 0, 1).sqrt_())
