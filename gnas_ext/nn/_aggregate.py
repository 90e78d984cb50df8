"""What reaches each target? PyG's names for it, and features with dimensions before the nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gnas_ext.ops.spmm import spmm

if TYPE_CHECKING:
    from torch import Tensor

    from gnas_ext.graph.csr import CSR
    from gnas_ext.ops.spmm import Reduce

_REDUCES: dict[Any, Reduce] = {"add": "sum", "sum": "sum", "mean": "mean", "max": "max", "min": "min"}


def reduce_of(layer: str, aggr: Any, argument: str = "aggr") -> Reduce:
    """The op's name of one of PyG's aggregations."""
    if not isinstance(aggr, str) or aggr not in _REDUCES:
        raise ValueError(f"{layer}: expected {argument} in {', '.join(_REDUCES)}, got {aggr!r}; others are PyG's alone")
    return _REDUCES[aggr]


def aggregate(csr: CSR, x: Tensor, reduce: Reduce) -> Tensor:
    """Like spmm, for x of shape [..., sources, width]: one call, whatever stands before the nodes."""
    if x.dim() == 2:
        return spmm(csr, x, reduce)
    wide = x.movedim(-2, 0)
    out = spmm(csr, wide.flatten(1), reduce)
    return out.reshape(csr.rows, *wide.shape[1:]).movedim(0, -2)
