"""How surprising is all that a user touched, among all items there are? A softmax without drawing.

To draw negatives is to estimate this sum. Each user is scored beside all items once, whatever they touched, so a pass
costs what as many drawn items a touch do as there are items by touches of a user, and its gradient has no noise of
drawing. Users and items are taken a block of scores at a time, which stays in cache; once for what all of a user's add
up to, and once more for what each gives to the gradients, which costs less than keeping them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from gnas_ext.models.products import add_product
from gnas_ext.ops.spmm import spmm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from gnas_ext.graph.csr import CSR

# Of a block of scores: 4 MB.
_USERS, _ITEMS = 1024, 1024


def multinomial_loss(touching: Tensor, items: Tensor, touched: CSR, bias: Tensor | None = None) -> Tensor:
    """The mean over touches of -log softmax(<touching, items> + bias), the likelihood of Mult-VAE (Liang et al., 2018).

    Args:
        touching: [users, width], who touched.
        items: [n_items, width], all items.
        touched: [users, n_items], what each touched, once or more often; its weights are not looked at.
        bias: [n_items], what an item scores for everybody; None for 0.

    Returns:
        A scalar, float32; 0 where nobody touched anything. Gradients flow to touching, items and bias, once. It repeats
        exactly for any number of threads.
    """
    loss: Tensor = _Multinomial.apply(touching, items, bias, touched)  # type: ignore[no-untyped-call]
    return loss


class _Multinomial(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, touching: Tensor, items: Tensor, bias: Tensor | None, touched: CSR) -> Tensor:
        # What was touched, of the loss and of its gradients.
        touched = touched.with_weight(None)
        touching_of = touched.t()
        to_touching, to_items = spmm(touched, items).neg_(), spmm(touching_of, touching).neg_()
        counts, times = touched.degree(), touching_of.degree()
        to_bias = None if bias is None else times.to(bias.dtype).neg_()
        total = float((touching.double() * to_touching).sum())
        if bias is not None:
            total -= float(bias.double() @ times.double())
        # And what is expected of each item. One block for all: memory of its size that is taken anew each time may be
        # zeroed by the system each time.
        room = items.new_empty(min(_USERS, len(touching)) * min(_ITEMS, len(items)))
        for rows in _parts(len(touching), _USERS):
            some = touching[rows]
            most, summed = some.new_full((len(some),), -torch.inf), some.new_zeros(len(some))
            for columns in _parts(len(items), _ITEMS):
                scores = _scores(some, items, bias, columns, room)
                before, most = most, torch.maximum(most, scores.amax(1))
                summed = summed * (before - most).exp_() + scores.sub_(most[:, None]).exp_().sum(1)
            log_sum, count = most + summed.log_(), counts[rows].to(items.dtype)
            total += float((count.double() * log_sum).sum())
            log_sum -= count.log()
            for columns in _parts(len(items), _ITEMS):
                expected = _scores(some, items, bias, columns, room).sub_(log_sum[:, None]).exp_()
                add_product(to_touching[rows], expected, items[columns])
                add_product(to_items[columns], expected.T, some)
                if to_bias is not None:
                    to_bias[columns] += expected.sum(0)
        parts = max(1, touched.nnz)
        ctx.save_for_backward(to_touching, to_items, to_bias)
        ctx.parts = parts
        return touching.new_tensor(total / parts)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        part = gradient / ctx.parts
        return *(None if to is None else to * part for to in ctx.saved_tensors), None


def _parts(number: int, size: int) -> Iterator[slice]:
    """All of 0 … number - 1, so many at a time."""
    return (slice(first, min(first + size, number)) for first in range(0, number, size))


def _scores(touching: Tensor, items: Tensor, bias: Tensor | None, columns: slice, room: Tensor) -> Tensor:
    """What some users score for some items, in memory that is there."""
    some = items[columns]
    scores = room[: len(touching) * len(some)].view(len(touching), len(some))
    if bias is None:
        scores.zero_()
    else:
        scores.copy_(bias[columns])
    add_product(scores, touching, some.T)
    return scores
