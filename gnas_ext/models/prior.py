"""What would everybody be recommended at this moment? Recent popularity as it stood when each touch happened.

A model that is trained beside it has to explain only what popularity does not: who differs from the crowd, and how.
At serving time the prior is the popularity of now.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from gnas_ext.models.popularity import decayed_counts

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from gnas_ext.data.interactions import Interactions

# Counts start here, so that the logarithm of an item that nobody touched yet is a number.
_PSEUDO_COUNT = 0.1
_MOST_CELLS = 32_000_000


@dataclass(frozen=True, eq=False)
class TimePrior:
    """Logarithms of decayed popularity at several moments of the log.

    Attributes:
        moment: [n], int64: the moment that each touch of the log belongs to; only earlier touches count in it.
        table: [moments, n_items], float32: log popularity at each moment.
        now: [n_items], float32: log popularity at the end of the log.
    """

    moment: Tensor
    table: Tensor
    now: Tensor


def time_prior(train: Interactions, n_items: int, half_life_days: float, moments: int = 128) -> TimePrior:
    """Decayed popularity through the log, where a touch counts half after `half_life_days`.

    Args:
        train: with times; without, or with a single one, popularity is that of the whole log at its only moment.
        n_items: items, codes below it.
        half_life_days: days after which a touch counts half.
        moments: how many times it is taken, evenly over the touches; fewer where items are many.
    """
    if train.timestamp is None or train.timestamp.min() == train.timestamp.max():
        whole = _log(np.bincount(train.item, minlength=n_items).astype(np.float64))
        return TimePrior(torch.zeros(len(train), dtype=torch.int64), whole[None], whole)
    moments = max(1, min(moments, _MOST_CELLS // max(1, n_items), len(train)))
    time = train.timestamp
    begins = np.unique(np.quantile(time, np.arange(moments) / moments, method="lower"))
    moment = np.searchsorted(begins, time, side="right") - 1
    table = np.zeros((len(begins), n_items))
    popularity = np.zeros(n_items)
    for row in range(1, len(begins)):
        passed_days = (begins[row] - begins[row - 1]) / 86_400
        inside = moment == row - 1
        age_days = (begins[row] - time[inside]) / 86_400
        popularity = popularity * 0.5 ** (passed_days / half_life_days)
        popularity += np.bincount(train.item[inside], 0.5 ** (age_days / half_life_days), minlength=n_items)
        table[row] = popularity
    return TimePrior(
        torch.from_numpy(moment.astype(np.int64)), _log(table), _log(decayed_counts(train, n_items, half_life_days))
    )


def _log(counts: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.log(counts + _PSEUDO_COUNT).astype(np.float32))
