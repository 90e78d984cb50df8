"""How surprising is all that a user touched, among all items there are? A softmax without drawing.

To draw negatives is to estimate this sum. Each user is scored beside all items once, whatever they touched, so a pass
costs what as many drawn items a touch do as there are items by touches of a user, and its gradient has no noise of
drawing. Scores of some users at a time stay in cache, and what they give to the gradients is added up at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from gnas_ext.models.products import product

if TYPE_CHECKING:
    from torch import Tensor

    from gnas_ext.graph.csr import CSR

# Bytes of the scores at hand, and users at least and at most.
_BLOCK_BYTES = 8 << 20
_LEAST, _MOST = 16, 256


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
        to_touching, to_items = torch.empty_like(touching), torch.zeros_like(items)
        to_bias = None if bias is None else torch.zeros_like(bias)
        flipped = items.T.contiguous()
        bounds, counts = touched.indptr.tolist(), touched.degree().to(items.dtype)
        total = 0.0
        step = max(_LEAST, min(_MOST, _BLOCK_BYTES // (4 * max(1, len(items)))))
        for first in range(0, len(touching), step):
            rows = slice(first, min(first + step, len(touching)))
            scores = product(touching[rows], flipped)
            if bias is not None:
                scores += bias
            columns = touched.indices[bounds[rows.start] : bounds[rows.stop]].long()
            row = torch.repeat_interleave(touched.degree()[rows].long())
            log_sum = torch.logsumexp(scores, 1)
            total += float((log_sum[row] - scores[row, columns]).double().sum())
            # What is expected of each item, less what was touched.
            scores.sub_(log_sum[:, None]).exp_().mul_(counts[rows, None])
            scores.index_put_((row, columns), scores.new_tensor(-1.0), accumulate=True)
            to_touching[rows] = product(scores, items)
            to_items += product(scores.T, touching[rows])
            if to_bias is not None:
                to_bias += scores.sum(0)
        parts = max(1, touched.nnz)
        ctx.save_for_backward(to_touching, to_items, to_bias)
        ctx.parts = parts
        return touching.new_tensor(total / parts)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        part = gradient / ctx.parts
        return *(None if to is None else to * part for to in ctx.saved_tensors), None
