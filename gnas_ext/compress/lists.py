"""What does a teacher say of each user? Its best items with their scores, and a few drawn from all the others.

Lists of the best say how to rank what can be recommended; the drawn ones stand for the rest, each for many, so that a
student also learns what to keep low. What a user touched is in neither: it is never ranked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gnas_ext.evaluate.seen import SeenItems
from gnas_ext.models.largest import largest

if TYPE_CHECKING:
    from gnas_ext.data.interactions import Interactions
    from gnas_ext.models.base import Model
    from gnas_ext.models.factors import FactorModel

# Scores at once.
_BLOCK_BYTES = 24 << 20


@dataclass(frozen=True, eq=False)
class Lists:
    """Scored items of some users.

    Attributes:
        users: codes, [n], int64.
        items: the best first, then drawn ones, [n, best + drawn], int64; no item twice in a row.
        scores: the teacher's, [n, best + drawn], float32; -inf where a user has no item left.
        log_weight: log of how many items each stands for, [n, best + drawn], float32: 0 for the best.
        best: how many are the best.
    """

    users: Tensor
    items: Tensor
    scores: Tensor
    log_weight: Tensor
    best: int

    def __len__(self) -> int:
        return len(self.users)


def teach(
    teacher: Model, train: Interactions, best: int = 100, drawn: int = 100, seed: int = 0, block: int = 512
) -> Lists:
    """Asks a teacher for the lists of all users with a touch in training.

    Args:
        teacher: any model.
        train: what users touched, which is left out of their lists.
        best: items of each list that are the teacher's best; fewer where there are not so many items.
        drawn: items drawn for each user, evenly from those that are not among the best nor touched.
        seed: of the draws.
        block: users scored at once at most.

    Raises:
        ValueError: best below 1 or drawn below 0.
    """
    if best < 1 or drawn < 0:
        raise ValueError(f"teach: expected best of 1 or more and drawn of 0 or more, got {best} and {drawn}")
    seen = SeenItems.from_interactions(train, teacher.n_users)
    users = np.flatnonzero(seen.counts).astype(np.int32)
    best = min(best, teacher.n_items)
    drawn = min(drawn, teacher.n_items - best)
    generator = torch.Generator().manual_seed(seed)
    step = max(1, min(block, _BLOCK_BYTES // (4 * max(1, teacher.n_items))))
    # A stride that shares no factor with the number of columns visits each of them once.
    every = torch.arange(1, teacher.n_items + 1)
    strides = every[torch.gcd(every, torch.tensor(teacher.n_items)) == 1]
    items, scores, weights = [], [], []
    for first in range(0, len(users), step):
        some = users[first : first + step]
        known = seen.select(some)
        found = teacher.score(some)
        found[torch.from_numpy(known.rows()), torch.from_numpy(known.items).long()] = -torch.inf
        top, columns = largest(found, best)
        found.scatter_(1, columns, -torch.inf)
        other = _draw(len(some), strides, drawn, teacher.n_items, generator)
        at = found.gather(1, other)
        left = found.isfinite().sum(1) / at.isfinite().sum(1).clamp(min=1)
        items.append(torch.cat([columns, other], 1))
        scores.append(torch.cat([top, at], 1))
        weights.append(torch.cat([torch.zeros_like(top), left.clamp(min=1).log()[:, None].expand(-1, drawn)], 1))
    empty = torch.empty(0, best + drawn)
    return Lists(
        torch.from_numpy(users).long(),
        torch.cat(items) if items else empty.long(),
        torch.cat(scores) if scores else empty,
        torch.cat(weights) if weights else empty,
        best,
    )


def rescaled(lists: Lists, like: FactorModel) -> Lists:
    """Gives each list the scores that a model has for the same items, in the order of the list: the best the largest.

    A filter's scores have a few that are far above all others, where a dot product's are close together: only their
    order can be learned. Lists of the model itself stay as they are, up to rounding, and items that score alike are
    ordered as they stand.
    """
    users, items = like.user.float(), like.item.float()
    scores = []
    for some in torch.split(torch.arange(len(lists)), 512):
        index, given = lists.items[some], lists.scores[some]
        own = (items[index] @ users[lists.users[some]][:, :, None])[:, :, 0]
        if like.prior is not None:
            own = own + like.prior.float()[index]
        nowhere = ~given.isfinite()
        order = given.argsort(dim=1, descending=True, stable=True)
        ordered = own.masked_fill(nowhere, -torch.inf).sort(dim=1, descending=True).values
        scores.append(torch.empty_like(given).scatter_(1, order, ordered))
    return replace(lists, scores=torch.cat(scores) if scores else lists.scores)


def _draw(rows: int, strides: Tensor, count: int, columns: int, generator: torch.Generator) -> Tensor:
    """Columns for each row, [rows, count], none twice in a row."""
    start = torch.randint(columns, (rows, 1), generator=generator)
    stride = strides[torch.randint(len(strides), (rows, 1), generator=generator)]
    return (start + stride * torch.arange(count)) % columns
