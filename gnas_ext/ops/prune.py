"""What can be left out? Scores of weights, what they come to in the structures that a kernel can skip, and masks.

Masks are plain tensors of bool, which `torch.save` and safetensors keep. A high score says: keep it.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from gnas_ext.ops.column_blocks import BLOCK

__all__ = [
    "blocks",
    "column_blocks",
    "gradient_times_weight",
    "keep_largest",
    "magnitude",
    "movement",
    "nm_mask",
    "rows",
    "straight_through",
    "threshold",
]


def magnitude(weight: Tensor) -> Tensor:
    """|w|, in weight's shape and dtype."""
    return weight.abs()


def movement(weight: Tensor, grad: Tensor, scores: Tensor | None = None) -> Tensor:
    """-w * g, added to the scores so far: high where training moves a weight away from zero (Sanh et al., 2020).

    Args:
        weight: any shape, floating.
        grad: the gradient of the loss to it, in its shape.
        scores: what earlier steps came to, or none.

    Returns:
        A new tensor in weight's shape, without a gradient.

    Raises:
        ValueError: shapes differ.
    """
    _same_shape("movement", weight, grad)
    moved = -(weight.detach() * grad.detach())
    if scores is None:
        return moved
    _same_shape("movement", weight, scores)
    return scores + moved


def gradient_times_weight(weight: Tensor, grad: Tensor) -> Tensor:
    """|w * g|: about how much the loss changes without the weight (Molchanov et al., 2019).

    Raises:
        ValueError: shapes differ.
    """
    _same_shape("gradient_times_weight", weight, grad)
    return (weight.detach() * grad.detach()).abs()


def rows(scores: Tensor) -> Tensor:
    """The sum of each row's scores, [rows], of [rows, ...]."""
    if scores.dim() < 1:
        raise ValueError(f"rows: expected scores of shape [rows, ...], got {list(scores.shape)}")
    return scores.flatten(1).sum(1) if scores.dim() > 1 else scores


def column_blocks(scores: Tensor, block: int = BLOCK, group: Tensor | None = None, groups: int = 0) -> Tensor:
    """The mean score in each block of columns, for the masks of `spmm_blocks`.

    Args:
        scores: [rows, width].
        block: columns a block. The ops take blocks of 16.
        group: [rows], integers: which group each row belongs to; none for one mask of all rows.
        groups: how many there are; by default as many as `group` names.

    Returns:
        [ceil(width / block)], or [groups, ceil(width / block)] with group. Means, so that narrow last blocks and
        groups of few rows compare with others; 0 for groups without rows.

    Raises:
        ValueError: a shape does not fit.
    """
    _check_matrix("column_blocks", scores, block)
    width = scores.shape[1]
    count = (width + block - 1) // block
    filled = torch.nn.functional.pad(scores, (0, count * block - width))
    of_rows = filled.view(len(scores), count, block).sum(2)
    columns = torch.full((count,), block, dtype=scores.dtype, device=scores.device)
    if width % block:
        columns[-1] = width % block
    if group is None:
        return of_rows.sum(0) / (columns * max(len(scores), 1))
    if group.shape != scores.shape[:1]:
        raise ValueError(f"column_blocks: expected group of shape [{len(scores)}], got {list(group.shape)}")
    index = group.long()
    size = groups or (int(index.max()) + 1 if len(index) else 0)
    total = of_rows.new_zeros(size, count).index_add(0, index, of_rows)
    members = torch.bincount(index, minlength=size).clamp(min=1).to(scores.dtype)
    return total / (members.unsqueeze(1) * columns)


def blocks(scores: Tensor, block: int = 16) -> Tensor:
    """The mean score in each block of a dense weight, [ceil(out / block), ceil(in / block)], for `block_linear`.

    Raises:
        ValueError: scores is not [out, in], or block is not positive.
    """
    _check_matrix("blocks", scores, block)
    out, width = scores.shape
    down, across = (out + block - 1) // block, (width + block - 1) // block

    def total(values: Tensor) -> Tensor:
        filled = torch.nn.functional.pad(values, (0, across * block - width, 0, down * block - out))
        return filled.view(down, block, across, block).sum((1, 3))

    return total(scores) / total(torch.ones_like(scores.detach()))


def threshold(scores: Tensor, t: float) -> Tensor:
    """Whether each score is above t, bool."""
    return scores.detach() > t


def keep_largest(scores: Tensor, fraction: float | None = None, count: int | None = None) -> Tensor:
    """A mask of exactly so many of the largest scores; of equal ones those that come first are kept.

    Args:
        scores: any shape; all of it is compared. NaN is refused: it is neither large nor small.
        fraction: from 0 to 1, how many of all to keep, rounded to the nearest number, halves to the even one.
        count: or how many.

    Raises:
        ValueError: neither or both are given, one is out of range, or a score is NaN.
    """
    if (fraction is None) == (count is None):
        raise ValueError("keep_largest: expected fraction or count, one of them")
    if fraction is not None:
        if not 0 <= fraction <= 1:
            raise ValueError(f"keep_largest: expected fraction from 0 to 1, got {fraction}")
        count = round(fraction * scores.numel())
    assert count is not None
    if not 0 <= count <= scores.numel():
        raise ValueError(f"keep_largest: expected count from 0 to {scores.numel()}, got {count}")
    flat = scores.detach().flatten()
    _refuse_nan("keep_largest", flat)
    if count == 0:
        return torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
    # The count-th largest is a threshold; of those that equal it, the first ones stay.
    least = flat.kthvalue(len(flat) - count + 1).values
    above, equal = flat > least, flat == least
    return (above | (equal & (equal.cumsum(0) <= count - above.sum()))).view(scores.shape)


def nm_mask(scores: Tensor, n: int = 2, m: int = 4) -> Tensor:
    """A mask of the n largest of each m neighbours in a row; of equal ones those that come first are kept.

    Args:
        scores: [..., width], where m divides width.
        n: how many are kept.
        m: of how many. 2 of 4 is what GPUs with sparse tensor cores take, see `nm_linear`.

    Raises:
        ValueError: m does not divide width, n is not from 0 to m, or a score is NaN.
    """
    if m < 1 or not 0 <= n <= m:
        raise ValueError(f"nm_mask: expected n from 0 to m, got {n} of {m}")
    if scores.dim() < 1 or scores.shape[-1] % m != 0:
        raise ValueError(f"nm_mask: expected scores of shape [..., a multiple of {m}], got {list(scores.shape)}")
    parts = scores.detach().reshape(-1, m)
    _refuse_nan("nm_mask", parts)
    order = parts.sort(dim=1, descending=True, stable=True).indices[:, :n]
    mask = torch.zeros(parts.shape, dtype=torch.bool, device=scores.device)
    return mask.scatter_(1, order, True).view(scores.shape)


class _StraightThrough(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(scores: Tensor, mask: Tensor) -> Tensor:
        return mask.to(scores.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def straight_through(scores: Tensor, mask: Tensor) -> Tensor:
    """The mask as numbers, whose gradient goes to the scores as it is (Bengio et al., 2013).

    So scores learn although a mask does not move with them: where the gradient pushes a dead one up far enough, the
    next mask has it.

    Args:
        scores: any shape, floating.
        mask: bool, in the same shape.

    Returns:
        Zeros and ones in scores' dtype.

    Raises:
        ValueError: shapes differ.
        TypeError: mask is not of bool, or scores are not floating.
    """
    _same_shape("straight_through", scores, mask)
    if mask.dtype != torch.bool:
        raise TypeError(f"straight_through: expected mask in bool, got {mask.dtype}")
    if not scores.is_floating_point():
        raise TypeError(f"straight_through: expected floating scores, got {scores.dtype}")
    return cast("Tensor", _StraightThrough.apply(scores, mask))  # type: ignore[no-untyped-call]


def _same_shape(op: str, one: Tensor, other: Tensor) -> None:
    if one.shape != other.shape:
        raise ValueError(f"{op}: expected two tensors of one shape, got {list(one.shape)} and {list(other.shape)}")


def _check_matrix(op: str, scores: Tensor, block: int) -> None:
    if scores.dim() != 2:
        raise ValueError(f"{op}: expected scores of shape [rows, width], got {list(scores.shape)}")
    if block < 1:
        raise ValueError(f"{op}: expected a positive block, got {block}")


def _refuse_nan(op: str, scores: Tensor) -> None:
    if scores.is_floating_point() and bool(scores.isnan().any()):
        raise ValueError(f"{op}: a score is NaN")
