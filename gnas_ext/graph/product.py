"""What lies two steps away, and which of it counts most? Sparse products of which the best is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gnas_ext.graph.csr import CSR, Structure
from gnas_ext.ops import spspmm_topk as best

if TYPE_CHECKING:
    from torch import Tensor


def spspmm_topk(a: CSR, b: CSR, k: int, exclude_diagonal: bool = False) -> CSR:
    """A @ b, of which each row keeps its k largest entries; the whole product is never there.

    Items that share users, say: `spspmm_topk(graph.t(), graph, 50, exclude_diagonal=True)`.

    Args:
        a: graph of shape [rows, inner]; weights in float32 or float64, or none (all ones).
        b: graph of shape [inner, cols], with the same index dtype and device; weights in a's dtype, or none.
        k: entries a row, at most.
        exclude_diagonal: entry (i, i) is left out.

    Returns:
        Shape [rows, cols], float32 where neither has weights. Entries of a row come with the largest value first, the
        lower column first among equal ones, and NaN above all; sums that are zero or below count as entries too.

    Raises:
        ValueError: shapes or devices do not fit, k is negative, or weights need a gradient, which a choice of entries
            cannot pass on.
        TypeError: a dtype that is not listed above.

    Memory: rows * k entries, and cols * 12 bytes a thread (float32, int32). Repeats exactly, whatever the number of
    threads. On CUDA it goes through dense blocks of some rows.
    """
    if a.cols != b.rows:
        raise ValueError(f"spspmm_topk: expected b of shape [{a.cols}, cols], got {list(b.shape)}")
    if a.device != b.device:
        raise ValueError(f"spspmm_topk: a is on {a.device}, b on {b.device}: move one with .to()")
    if a.indptr.dtype != b.indptr.dtype:
        raise TypeError(f"spspmm_topk: expected one index dtype, got {a.indptr.dtype} and {b.indptr.dtype}")
    weights = [a.weight, b.weight]
    if torch.is_grad_enabled() and any(weight is not None and weight.requires_grad for weight in weights):
        raise ValueError("spspmm_topk: the weights need a gradient, which a choice of entries cannot pass on: detach()")
    width = min(k, b.cols)
    indices, values, count = best(
        a.indptr, a.indices, weights[0], b.indptr, b.indices, weights[1], b.cols, width, exclude_diagonal
    )
    kept = torch.arange(width, device=a.device) < count.unsqueeze(1)
    indptr = torch.cat([count.new_zeros(1), count.cumsum(0)])
    structure = Structure(indptr.to(a.indptr.dtype), _of(indices, kept), None)
    return CSR._unchecked(structure, _of(values, kept), (a.rows, b.cols), {})


def _of(padded: Tensor, kept: Tensor) -> Tensor:
    return padded.flatten() if bool(kept.all()) else padded[kept]
