"""How surprising was each touch among others, without ever holding all scores?

A batch's scores, their exponentials and their gradients are matrices of touches and drawn items, several of them, and
what they cost is memory that is mapped anew at each step. Here a few hundred touches at a time are scored, and what
they give to the gradients is added up at once, so that the backward pass has nothing left to do but to scale. All
chances are kept only where a bias learns.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from gnas_ext.models.products import TERMS, product

if TYPE_CHECKING:
    from torch import Tensor


def softmax_loss(
    touching: Tensor, positive: Tensor, others: Tensor, apart: tuple[Tensor, Tensor], bias: Tensor | None = None
) -> Tensor:
    """The mean of -log(exp(positive) / (exp(positive) + sum over others of exp(<touching, others> + bias))).

    The sampled softmax of Jean et al., 2015, where the bias says how many items each of the others stands for.

    Args:
        touching: [batch, width], rows of those who touch.
        positive: [batch], scores of what they touched.
        others: [drawn, width], rows of items that were drawn for the whole batch.
        apart: rows, ascending, and columns of [batch, drawn] that do not count, [pairs], int64 each.
        bias: [batch, drawn], [1, drawn] or [1, 1], added to the scores of others; None for 0.

    Returns:
        A scalar, float32. Gradients flow to touching, positive, others and bias, once. It repeats exactly for any
        number of threads.
    """
    loss: Tensor = _Softmax.apply(touching, positive, others, *apart, bias)  # type: ignore[no-untyped-call]
    return loss


class _Softmax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, touching: Tensor, positive: Tensor, others: Tensor, row: Tensor, column: Tensor, bias: Tensor | None
    ) -> Tensor:
        surprise = torch.empty_like(positive)
        to_touching, to_positive = torch.empty_like(touching), torch.empty_like(positive)
        to_others = torch.zeros_like(others)
        to_bias = []
        flipped = others.T.contiguous()
        firsts = torch.arange(0, len(touching) + TERMS, TERMS)
        pairs = torch.searchsorted(row, firsts).tolist()
        for block, first in enumerate(firsts[:-1].tolist()):
            rows = slice(first, first + TERMS)
            scores = product(touching[rows], flipped)
            if bias is not None:
                scores += bias[rows] if len(bias) > 1 else bias
            some = slice(pairs[block], pairs[block + 1])
            scores[row[some] - first, column[some]] = -math.inf
            right = positive[rows]
            log_sum = torch.logaddexp(torch.logsumexp(scores, 1), right)
            surprise[rows] = log_sum - right
            chance = scores.sub_(log_sum[:, None]).exp_()
            to_touching[rows] = product(chance, others)
            to_others += product(chance.T, touching[rows])
            to_positive[rows] = torch.expm1(right - log_sum)
            if ctx.needs_input_grad[5]:
                to_bias.append(chance)
        ctx.save_for_backward(to_touching, to_positive, to_others, torch.cat(to_bias) if to_bias else None)
        ctx.bias_shape = None if bias is None else bias.shape
        return surprise.mean()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        to_touching, to_positive, to_others, to_bias = ctx.saved_tensors
        part = gradient / len(to_positive)
        if to_bias is not None:
            to_bias = to_bias.mul(part)
            if ctx.bias_shape[1] == 1:
                # Row by row first: a sum over everything at once is cut into one part a thread.
                to_bias = to_bias.sum(1, keepdim=True)
            to_bias = to_bias.sum_to_size(ctx.bias_shape)
        return to_touching * part, to_positive * part, to_others * part, None, None, to_bias
