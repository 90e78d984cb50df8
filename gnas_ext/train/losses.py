"""How wrong is a step? Losses over the scores of what was touched and of what was not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor


def bpr(positive: Tensor, negative: Tensor) -> Tensor:
    """What was touched should score above what was not (Rendle et al., 2009, BPR).

    Args:
        positive: scores of touched items, [batch].
        negative: scores of items drawn for each of them, [batch].

    Returns:
        The mean over the batch, a scalar.
    """
    return -functional.logsigmoid(positive - negative).mean()


def sampled_softmax(positive: Tensor, negative: Tensor, same: Tensor, n_items: int) -> Tensor:
    """What was touched should stand out among all items, estimated from a few (Jean et al., 2015).

    Args:
        positive: scores of touched items, [batch].
        negative: scores of items drawn uniformly for the whole batch, [batch, drawn].
        same: [batch, drawn], bool: where the drawn item is the touched one; those do not count.
        n_items: how many items the drawn ones stand for.

    Returns:
        The mean over the batch, a scalar.
    """
    others = negative.masked_fill(same, -math.inf) + math.log(n_items / negative.shape[1])
    logits = torch.cat([positive.unsqueeze(1), others], dim=1)
    return (torch.logsumexp(logits, dim=1) - positive).mean()
