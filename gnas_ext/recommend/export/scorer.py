"""How does PyTorch score without this package? By a program of `torch.export`, made of a few plain operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from gnas_ext.models.coded import in_floats
from gnas_ext.models.ease import ItemWeights
from gnas_ext.models.factors import FactorModel
from gnas_ext.models.popularity import Popularity
from gnas_ext.recommend.export import agree

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from gnas_ext.models.base import Model
    from gnas_ext.models.factors import Table

KINDS = "models of two tables of rows, popularity and item weights"


def write_program(model: Model, path: Path) -> None:
    """Writes a program: `torch.export.load(path).module()(users)` are the scores.

    users: codes, [batch], int64; for item weights the users' histories instead, [batch, n_items], float32, ones where
    they touched. Returned: scores of all items, [batch, n_items], float32. int8 rows stay int8 in the file,
    rows in other codes become float32.

    Raises:
        InputError: another kind of model, or a program that scores otherwise.
    """
    module = scorer(model)
    first = np.arange(min(2, model.n_users), dtype=np.int32)
    # Two, or the size one would be taken for a constant.
    example = inputs(model, np.resize(first, 2))
    dynamic = ({0: torch.export.Dim("batch")},)
    with torch.no_grad():
        program = torch.export.export(module, (example,), dynamic_shapes=dynamic)
        # Not to the path: the archive would hold its name, which is not the last one.
        with path.open("wb") as file:
            torch.export.save(program, file)
        read = torch.export.load(path).module()
        for users in agree.sampled(model):
            agree.check("torch", model.score(users), read(inputs(model, users)))


def inputs(model: Model, users: NDArray[np.int32]) -> Tensor:
    """What an exported scorer of a model takes for some users."""
    if not isinstance(model, ItemWeights):
        return torch.from_numpy(users).long()
    return torch.from_numpy(model.history[users].toarray().astype(np.float32))


def scorer(model: Model) -> nn.Module:
    """A module of plain torch operations that scores as a model does; InputError where there is none."""
    model = in_floats(model)
    match model:
        case FactorModel():
            return _Factors(model)
        case Popularity():
            return _Popular(model)
        case ItemWeights():
            return _Weights(model)
    raise agree.no_form(model, "torch", KINDS)


class _Rows(nn.Module):
    """Rows of a table, as they are stored."""

    rows: Tensor
    scale: Tensor | None

    def __init__(self, table: Table) -> None:
        super().__init__()
        quantised = table.rows.dtype == torch.int8 and table.scale is not None
        self.register_buffer("rows", table.rows if quantised else table.float())
        self.register_buffer("scale", table.scale if quantised else None)

    def forward(self, index: Tensor | None) -> Tensor:
        rows = self.rows if index is None else self.rows[index]
        if self.scale is None:
            return rows
        scale = self.scale if index is None else self.scale[index]
        return rows.to(torch.float32) * scale[:, None]


class _Factors(nn.Module):
    prior: Tensor | None

    def __init__(self, model: FactorModel) -> None:
        super().__init__()
        self.user, self.item = _Rows(model.user), _Rows(model.item)
        self.register_buffer("prior", model.prior)

    def forward(self, users: Tensor) -> Tensor:
        scores: Tensor = self.user(users) @ self.item(None).T
        return scores if self.prior is None else scores + self.prior


class _Popular(nn.Module):
    weight: Tensor

    def __init__(self, model: Popularity) -> None:
        super().__init__()
        self.register_buffer("weight", model.weight)

    def forward(self, users: Tensor) -> Tensor:
        return self.weight[None].repeat(users.shape[0], 1)


class _Weights(nn.Module):
    weight: Tensor

    def __init__(self, model: ItemWeights) -> None:
        super().__init__()
        self.register_buffer("weight", model.weight)

    def forward(self, histories: Tensor) -> Tensor:
        return histories @ self.weight
