"""Where else can a choice be judged? On other parts of the log, held out as validation was.

Of many trials on one small part the best is partly the luckiest there; on another part it has to be good again. Where
validation is what came last, the other parts lie before it, one after the other, each with only what came before it to
learn from. Where it was drawn, others are drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gnas_ext.data.split import cut_in_time, draw

if TYPE_CHECKING:
    from gnas_ext.data.interactions import Interactions, Split

    Parts = tuple[Interactions, Interactions]


def other_part(split: Split, number: int, seed: int = 0) -> Parts:
    """What to learn from and what to judge by instead of training and validation; test is not looked at.

    Args:
        split: training and validation.
        number: from 1; in time, so many parts of validation's size before it. Where less would be left to learn from
            than twice that size, it is the earliest part that leaves as much, or validation itself.
        seed: of the draws, where parts are drawn.

    Returns:
        Rows with the codes of the split, which are not made denser: of some users and items there may be none.
    """
    if _in_time(split):
        return _earlier(split.train, split.valid, number)
    whole = split.train_and_valid
    share = len(split.valid) / max(1, len(whole))
    held_out = draw(whole.user, (share,), np.random.default_rng((seed, number))) == 1
    parts = whole.select(np.flatnonzero(~held_out)), whole.select(np.flatnonzero(held_out))
    return parts if len(parts[1]) else (split.train, split.valid)


def _in_time(split: Split) -> bool:
    """Whether all of validation came after all of training."""
    train, valid = split.train.timestamp, split.valid.timestamp
    if train is None or valid is None or not len(train) or not len(valid):
        return False
    return bool(train.max() < valid.min())


def _earlier(train: Interactions, valid: Interactions, number: int) -> Parts:
    size = len(valid)
    for _ in range(number):
        assert train.timestamp is not None
        order = np.argsort(train.timestamp, kind="stable")
        cut = cut_in_time(train.timestamp[order], max(0, len(order) - size))
        if cut < 2 * size:
            break
        train, valid = train.select(np.sort(order[:cut])), train.select(np.sort(order[cut:]))
    return train, valid
