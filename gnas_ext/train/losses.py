"""How wrong is a step? Losses over the embeddings of who touched, of what was touched, and of what was not.

Rows are as they are scored: where cosines count, of length one; where there is a temperature, divided by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from gnas_ext.models.products import dot_products

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


def cosine_contrastive(
    touching: Tensor,
    touched: Tensor,
    others: Tensor,
    apart: tuple[Tensor, Tensor],
    margin: float,
    negative_weight: float,
) -> Tensor:
    """Touched items should be near, and others not nearer than a margin (Mao et al., 2021, SimpleX).

    Args:
        touching: who touched, [batch, width], of length one.
        touched: what, likewise.
        others: items drawn for the whole batch, [drawn, width], of length one.
        apart: rows and columns of [batch, drawn] that do not count.
        margin: cosines of others below it cost nothing.
        negative_weight: of the mean over others, beside 1 for the touched one.

    Returns:
        The mean over the batch, a scalar.
    """
    too_near = (dot_products(touching, others) - margin).relu()
    counting = torch.ones(too_near.shape)
    counting[apart] = 0
    missed = (too_near * counting).sum(1) / counting.sum(1).clamp_(min=1)
    return (1 - (touching * touched).sum(1) + negative_weight * missed).mean()


def alignment_uniformity(touching: Tensor, touched: Tensor, uniformity: float) -> Tensor:
    """Who touched and what was touched should be near, and all spread over the sphere (Wang et al., 2022, DirectAU).

    Args:
        touching: who touched, [batch, width], of length one.
        touched: what, likewise.
        uniformity: weight of that part.

    Returns:
        A scalar.
    """
    apart = (touching - touched).square().sum(1).mean()
    return apart + uniformity * (_crowding(touching) + _crowding(touched)) / 2


def _crowding(rows: Tensor) -> Tensor:
    """Log of the mean of exp(-2 |a - b|^2) over pairs of rows of length one; 0 where there is one row."""
    if len(rows) < 2:
        return rows.new_zeros(())
    near = torch.exp(4 * dot_products(rows, rows) - 4).sum(1)
    # Each is as near to itself as can be, and does not count.
    return ((near.sum() - len(rows)) / (len(rows) * (len(rows) - 1))).clamp(min=1e-30).log()
