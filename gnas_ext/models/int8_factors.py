"""What if a table is too large to be trained in float32? Rows of users and items whose only copy is int8."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gnas_ext.models.factors import Table
from gnas_ext.ops.quantize_rows import quantize_rows
from gnas_ext.ops.quantized_rows import QuantizedRows

if TYPE_CHECKING:
    from torch import Tensor

    from gnas_ext.graph.csr import CSR

# Rows that are drawn in float32 at once.
_DRAWN = 1 << 16


class Int8Factors:
    """Matrix factorisation for `train.fit` with optimizer "int8_adagrad": a row is int8 and a scale, and nothing else.

    At width 64 a row takes 72 bytes with what the optimiser keeps, where float32 takes 260 with row-wise Adagrad and
    768 with Adam. The tables are never in float32 as a whole, neither drawn nor moved nor handed over; but with loss
    "multinomial", which asks for all items, each step has theirs.

    Args:
        graph: [users, items]: who touched what.
        dim: numbers a row.
        generator: draws the first rows, of deviation 0.1.
        start: [n_users + n_items, dim], float32: the first rows; None draws them.
    """

    hops = 0

    def __init__(
        self, graph: CSR, dim: int, generator: torch.Generator | None = None, start: Tensor | None = None
    ) -> None:
        if dim < 1:
            raise ValueError(f"Int8Factors: expected dim of 1 or more, got {dim}")
        if start is not None and start.shape != (graph.rows + graph.cols, dim):
            raise ValueError(
                f"Int8Factors: expected start of shape [{graph.rows + graph.cols}, {dim}], got {list(start.shape)}"
            )
        self.graph = graph
        if start is None:
            self.user, self.item = (_drawn(rows, dim, generator) for rows in graph.shape)
        else:
            self.user, self.item = map(quantize_rows, torch.split(start, list(graph.shape)))

    def tables(self, cosine: bool = False) -> tuple[Table, Table]:
        """Users and items as a model stores them, in memory of their own.

        Args:
            cosine: rows of length 1, by their scales alone.
        """
        user, item = (Table(rows.codes.clone(), _scale(rows, cosine)) for rows in (self.user, self.item))
        return user, item


def _drawn(rows: int, dim: int, generator: torch.Generator | None) -> QuantizedRows:
    codes, scale = torch.empty(rows, dim, dtype=torch.int8), torch.empty(rows)
    for first in range(0, rows, _DRAWN):
        part = slice(first, min(rows, first + _DRAWN))
        some = quantize_rows(torch.randn(part.stop - first, dim, generator=generator) * 0.1)
        codes[part], scale[part] = some.codes, some.scale
    return QuantizedRows(codes, scale, None, 8, dim)


def _scale(rows: QuantizedRows, cosine: bool) -> Tensor:
    if not cosine:
        return rows.scale.clone()
    scale = torch.empty_like(rows.scale)
    for first in range(0, len(scale), _DRAWN):
        some = rows.codes[first : first + _DRAWN].float()
        scale[first : first + _DRAWN] = 1 / torch.linalg.vector_norm(some, dim=1).clamp(min=1)
    return scale
