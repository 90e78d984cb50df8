"""What does a student begin with where nobody has one? Singular vectors of the log, then solved for what is taught."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gnas_ext.compress.lists import rescaled
from gnas_ext.compress.solve import solve_rows
from gnas_ext.graph.bipartite import bipartite
from gnas_ext.models.coded import CodedModel
from gnas_ext.models.factors import FactorModel, Table
from gnas_ext.models.spectral import spectral_start

if TYPE_CHECKING:
    from torch import Tensor

    from gnas_ext.compress.lists import Lists
    from gnas_ext.data.interactions import Interactions
    from gnas_ext.models.base import Model


def student_of(teacher: Model, width: int, train: Interactions, lists: Lists, seed: int = 0) -> FactorModel:
    """Two tables in float32 whose lists are about the teacher's, and whose scores spread as its do; its prior beside.

    Args:
        teacher: any model of the users and items of `train`.
        width: floats a row.
        train: what users touched.
        lists: what the teacher says (`teach`).
        seed: of the vectors.

    Raises:
        ValueError: width is below 1.
    """
    if width < 1:
        raise ValueError(f"student_of: expected width of 1 or more, got {width}")
    graph = bipartite(train.user, train.item, teacher.n_users, teacher.n_items)
    rows = spectral_start(graph, width, torch.Generator().manual_seed(seed))
    user, item = torch.split(rows, [teacher.n_users, teacher.n_items])
    first = FactorModel(Table(user.contiguous()), Table(item.contiguous()))
    prior = _prior(teacher)
    wanted = lists.scores if prior is None else lists.scores - prior[lists.items]
    own, there = _spread(rescaled(lists, first).scores), _spread(wanted)
    larger = there / own if own > 0 and there > 0 else 1.0
    return solve_rows(FactorModel(Table(user * larger), Table(item.contiguous()), prior), lists)


def _prior(teacher: Model) -> Tensor | None:
    """What items score for everybody, [n_items], where the teacher has that apart."""
    if isinstance(teacher, CodedModel):
        return teacher.prior_row()
    return teacher.prior if isinstance(teacher, FactorModel) else None


def _spread(scores: Tensor) -> float:
    """How far the scores of a list lie apart, as a standard deviation."""
    there = scores.isfinite()
    count = there.sum(1, keepdim=True).clamp(min=1)
    known = scores.masked_fill(~there, 0.0)
    apart = (known - known.sum(1, keepdim=True) / count).masked_fill(~there, 0.0)
    return float((apart.square().sum() / there.sum().clamp(min=1)).sqrt())
