"""Which columns of each row are the largest: exact, equal scores by the smaller column, so that lists repeat."""

from __future__ import annotations

import torch
from torch import Tensor

# A pass for the maxima of groups runs at the speed of memory; choosing is then done on a few groups only.
_GROUP = 64


def largest(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest entries of each row, best first; of equal ones the smaller column comes first.

    Args:
        scores: [rows, cols], float32, without NaN; infinities are allowed.
        k: how many, 0 … cols.

    Returns:
        values, [rows, k], float32, and columns, [rows, k], int64.
    """
    rows, cols = scores.shape
    if cols < 2 * k * _GROUP:
        return _choose(scores, k)

    # A group outside the k best groups has k better entries outside it, also among equals, because groups
    # are contiguous: a smaller group has smaller columns. So the k best groups hold the k best entries.
    whole = cols // _GROUP
    if scores.stride() == (1, rows):  # as it lies in memory, or it would be copied
        maxima = scores.T[: whole * _GROUP].view(whole, _GROUP, rows).amax(1).T
    else:
        maxima = scores[:, : whole * _GROUP].reshape(rows, whole, _GROUP).amax(2)
    if whole * _GROUP < cols:
        maxima = torch.cat([maxima, scores[:, whole * _GROUP :].amax(1, keepdim=True)], dim=1)
    # In order, so that among the entries of the groups, too, the smaller place is the smaller column.
    groups = largest(maxima, k)[1].sort(1).values
    columns = (groups[:, :, None] * _GROUP + torch.arange(_GROUP)).view(rows, k * _GROUP)
    if whole * _GROUP < cols:
        # The last group is short; what it lacks stands behind every real column.
        entries = scores.gather(1, columns.clamp(max=cols - 1)).masked_fill_(columns >= cols, -torch.inf)
    else:
        entries = scores.gather(1, columns)
    values, places = _choose(entries, k)
    return values, columns.gather(1, places)


def _choose(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    # topk takes any of equal entries. One more than k shows whether that mattered; then the row is done exactly.
    values, columns = scores.topk(min(k + 1, scores.shape[1]), dim=1)
    tied = (values[:, 1:] == values[:, :-1]).any(1)
    if tied.any():
        columns[tied, :k] = _keys(scores[tied]).topk(k, dim=1).indices
    return values[:, :k], columns[:, :k]


def _keys(scores: Tensor) -> Tensor:
    """Integers in the order of (score, -column), no two in a row equal: the bits of a float sort like an integer."""
    bits = (scores + 0.0).view(torch.int32)  # + 0.0: minus zero equals zero
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return (ordered.long() << 32) | (0xFFFFFFFF - torch.arange(scores.shape[1]))
