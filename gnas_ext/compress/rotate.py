"""Which columns of a model matter most? Turned so that they do not repeat each other, the largest first.

A dot product is the same after both tables are turned by one orthogonal matrix, and so are the rows' lengths; but the
columns then come in the order of what they hold, so that the last can go, or get fewer bits (reverse water-filling).
"""

from __future__ import annotations

import torch
from torch import Tensor

from gnas_ext.models.factors import FactorModel, Table


def rotate(model: FactorModel) -> FactorModel:
    """The same model with columns that are the principal axes of both tables' rows together, float32.

    Each table counts alike, whatever its rows and their lengths are: its second moment over its trace. Scores are the
    same up to float32's rounding.

    Args:
        model: float32 or int8 rows.

    Returns:
        Tables of the same width in float32; the prior as it was.
    """
    user, item = model.user.float(), model.item.float()
    shared = _moment(user) + _moment(item)
    # Ascending; the sign of each axis is fixed, so that the same model turns the same way everywhere.
    axes = torch.linalg.eigh(shared).eigenvectors.flip(1)
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    axes = (axes * torch.where(largest < 0, -1.0, 1.0)).float()
    return FactorModel(Table(user @ axes), Table(item @ axes), model.prior)


def importance(own: Tensor, other: Tensor, centred: bool) -> Tensor:
    """How much an error in each column of a table moves scores: the other table's second moment there, [width].

    Args:
        own: [n, width].
        other: [m, width], what its rows are multiplied with.
        centred: the other's variance instead: where `own` are users, what an error adds to all items' scores alike
            moves no rank.
    """
    if own.shape[1] != other.shape[1]:
        raise ValueError(f"importance: expected tables of one width, got {own.shape[1]} and {other.shape[1]}")
    return (other.var(0, correction=0) if centred else other.square().mean(0)).clamp(min=1e-12)


def row_length(rows: Tensor) -> float:
    """The length that all rows have within a thousandth, or 0 where they differ; rows of zeros are not looked at."""
    lengths = rows.norm(dim=1)
    lengths = lengths[lengths > 0]
    if not len(lengths):
        return 0.0
    middle = float(lengths.mean())
    return middle if float((lengths - middle).abs().max()) <= 1e-3 * middle else 0.0


def _moment(rows: Tensor) -> Tensor:
    wide = rows.double()
    moment = wide.T @ wide
    return moment / moment.trace().clamp(min=1e-300)
