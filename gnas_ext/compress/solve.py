"""Which rows rank most like a teacher? Least squares of its scores, one side after the other, in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gnas_ext.compress.lists import rescaled
from gnas_ext.compress.squares import Meetings, held
from gnas_ext.models.factors import FactorModel, Table
from gnas_ext.models.systems import solve_each

if TYPE_CHECKING:
    from gnas_ext.compress.lists import Lists


def solve_rows(model: FactorModel, lists: Lists, rounds: int = 1, ridge: float = 0.1, top: float = 0.5) -> FactorModel:
    """A student as wide as a model, in float32, whose lists are the teacher's.

    In each round users are solved with items as they are, then items with users, and at last users again. It has no
    passes, no rate and no draws, and takes what `refit` takes.

    Args:
        model: float32; what rows stay near to, and what those in no list remain.
        lists: the teacher's, in any unit: each list's scores become those that `model` has for the same items, in the
            teacher's order (`rescaled`).
        rounds: 0 solves users alone.
        ridge: how strongly rows are held, of the mean of their matrix's diagonal; above 0.
        top: of `Meetings`.

    Raises:
        ValueError: ridge or top is out of range.
    """
    if not ridge > 0:
        raise ValueError(f"solve_rows: expected ridge above 0, got {ridge}")
    first = model.user.float(), model.item.float()
    user, item = (rows.clone() for rows in first)
    prior = torch.zeros(model.n_items) if model.prior is None else model.prior.float()
    meetings = Meetings(rescaled(lists, model), prior, top)
    every = torch.ones(model.n_items, dtype=torch.bool)
    for turn in range(rounds + 1):
        for who, h, b in meetings.users(item):
            user[who] = solve_each(*held(h, b, first[0][who], ridge))
        if turn < rounds:
            wanted = meetings.centred(user, item)
            for which, h, b in meetings.items(user, wanted, every):
                item[which] = solve_each(*held(h, b, first[1][which], ridge))
    return FactorModel(Table(user), Table(item), model.prior)
