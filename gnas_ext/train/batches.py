"""In which order is a log shown? The rows of each step of a pass."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from gnas_ext.graph.bipartite import decay

if TYPE_CHECKING:
    from torch import Tensor

    from gnas_ext.data.interactions import Interactions
    from gnas_ext.train.options import TrainOptions


def batches(train: Interactions, options: TrainOptions, generator: torch.Generator) -> tuple[Tensor, ...]:
    """All rows shuffled, or as many drawn with recent ones more often; int64, `options.batch` a step.

    A softmax over all items takes users whole, as many as have a batch of touches together.
    """
    if options.loss == "multinomial":
        return _whole_users(torch.from_numpy(train.user).long(), options.batch, generator)
    if math.isinf(options.half_life_days) or train.timestamp is None:
        rows = torch.randperm(len(train), generator=generator)
    else:
        share = torch.from_numpy(decay(train.timestamp, options.half_life_days)).double().cumsum(0)
        # Searching the cumulated shares draws with replacement at any length; torch.multinomial stops at 2^24.
        rows = torch.searchsorted(share, torch.rand(len(train), dtype=torch.float64, generator=generator) * share[-1])
        rows = rows.clamp_(max=len(train) - 1)
    return torch.split(rows, options.batch)


def _whole_users(user: Tensor, batch: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    shuffled = torch.randperm(int(user.max()) + 1, generator=generator).argsort()[user]
    each = torch.bincount(shuffled)
    # A user belongs to the step in which their last touch would be.
    step = (each.cumsum(0) - 1).clamp(min=0) // batch
    sizes = torch.zeros(int(step[-1]) + 1, dtype=torch.long).index_add_(0, step, each)
    return torch.split(shuffled.argsort(stable=True), sizes[sizes > 0].tolist())
