"""What is a row worth to a list? A square: errors of the scores, each item as likely as the teacher has it.

Near the teacher the divergence of a user's list is half of the variance of the scores' errors. That is a square in the
user's row and, for given users, in an item's: so each row has a best value for the other side as it stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gnas_ext.compress.lists import Lists

# Meetings of rows at once, a row of the other side each.
_BLOCK = 1 << 17


class Meetings:
    """Who meets whom in the lists, how much it counts, and what score is wanted.

    Args:
        lists: the teacher's, scores in the unit of the model's.
        prior: what the model adds to every user's scores, [n_items].
        top: weight of the teacher's best items, all alike, beside 1 - top for its distribution over all: errors among
            the best change the list, wherever the mass is.

    Raises:
        ValueError: top is out of range.
    """

    def __init__(self, lists: Lists, prior: Tensor, top: float) -> None:
        if not 0 <= top <= 1:
            raise ValueError(f"refit: expected top in 0 … 1, got {top}")
        self._lists = lists
        there = lists.scores.isfinite()
        # Who has touched everything has a list of nothing.
        share = (lists.scores + lists.log_weight).softmax(1).masked_fill(~there, 0.0)
        best = there.float()
        best[:, lists.best :] = 0
        self._weight = (1 - top) * share + top * best / best.sum(1, keepdim=True).clamp(min=1)
        self._wanted = lists.scores.masked_fill(~there, 0.0) - prior[lists.items]

    def users(self, items: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """The normal equations of users for given items, a block at a time: who, H and b as of `squares`."""
        lists = self._lists
        for some in self._blocks():
            h, b = squares(items, lists.items[some], self._weight[some], self._wanted[some], centre=True)
            yield lists.users[some], h, b

    def centred(self, users: Tensor, items: Tensor) -> Tensor:
        """The wanted scores, and what a user's are off by on the whole: that costs nothing, so no item need mend it."""
        lists, wanted = self._lists, self._wanted.clone()
        for some in self._blocks():
            own = (items[lists.items[some]] @ users[lists.users[some]][:, :, None])[:, :, 0]
            wanted[some] += ((own - wanted[some]) * self._weight[some]).sum(1, keepdim=True)
        return wanted

    def items(self, users: Tensor, wanted: Tensor, among: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """The normal equations of items for given users, a block at a time: which, H and b.

        Args:
            users: rows, [n_users, width].
            wanted: as `centred` gives it.
            among: which items are asked for, [n_items], bool; those that are in no list are left out.
        """
        most = self._lists.items.shape[1]
        for which, place, there in _by_item(self._lists.items, among):
            weight = self._weight.view(-1)[place] * there
            met = self._lists.users[place // most]
            yield which, *squares(users, met, weight, wanted.view(-1)[place], centre=False)

    def _blocks(self) -> tuple[Tensor, ...]:
        return torch.split(torch.arange(len(self._lists)), max(1, _BLOCK // self._lists.items.shape[1]))


def held(h: Tensor, b: Tensor, rows: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """The equations of rows that stay near to what they were where lists say little.

    Args:
        h: as of `squares`.
        b: likewise.
        rows: what they stay near to, [n, width].
        ridge: how strongly, of the mean of their matrix's diagonal.
    """
    pull = ridge * h.diagonal(dim1=1, dim2=2).mean(1).clamp(min=1e-12)
    return h + pull[:, None, None] * torch.eye(h.shape[1]), b + pull[:, None] * rows


def _by_item(items: Tensor, among: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Blocks of items: which, [n], where each stands in all lists, [n, most], and whether it does.

    Args:
        items: of the lists, [users, count].
        among: which items are asked for, [n_items], bool.
    """
    flat = items.reshape(-1)
    order = flat.argsort(stable=True)
    degree = torch.bincount(flat, minlength=len(among))
    begin = degree.cumsum(0) - degree
    # Items in as many lists side by side, so that little is filled up.
    waiting = degree.argsort(stable=True)
    waiting = waiting[(degree[waiting] > 0) & among[waiting]]
    first = 0
    while first < len(waiting):
        # The widest of a block decides; it is the last.
        last = first + 1
        while last < len(waiting) and (last + 1 - first) * int(degree[waiting[last]]) <= _BLOCK:
            last += max(1, min(64, (_BLOCK // int(degree[waiting[last]])) - (last - first)))
        last = min(last, len(waiting))
        which = waiting[first:last]
        steps = torch.arange(int(degree[which].max()))
        there = steps < degree[which][:, None]
        place = order[(begin[which][:, None] + steps).clamp(max=len(order) - 1)]
        yield which, place, there
        first = last


def squares(other: Tensor, index: Tensor, weight: Tensor, target: Tensor, centre: bool) -> tuple[Tensor, Tensor]:
    """The normal equations of some rows: H [n, width, width] and b [n, width].

    Args:
        other: [m, width], the other side's rows.
        index: which of them each row meets, [n, count], int64.
        weight: of each meeting, [n, count], 0 for none.
        target: the score that is wanted, [n, count].
        centre: what is added to all of a row's scores costs nothing.
    """
    met = other[index]
    total = weight.sum(1, keepdim=True).clamp(min=1e-12)
    if centre:
        met = met - (weight[:, :, None] * met).sum(1, keepdim=True) / total[:, :, None]
        target = target - (weight * target).sum(1, keepdim=True) / total
    scaled = (met * weight[:, :, None]).transpose(1, 2)
    return scaled @ met, (scaled @ target[:, :, None])[:, :, 0]
