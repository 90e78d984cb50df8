"""What would one write in numba? The plain loops, in parallel over rows; fastmath as numba's own examples have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


@numba.njit(parallel=True, fastmath=True)
def spmm(indptr: Array, indices: Array, weight: Array, x: Array) -> Array:
    """out[i] = sum over the edges e of row i of weight[e] * x[indices[e]]."""
    out = np.zeros((len(indptr) - 1, x.shape[1]), x.dtype)
    for row in numba.prange(len(indptr) - 1):
        for e in range(indptr[row], indptr[row + 1]):
            for f in range(x.shape[1]):
                out[row, f] += weight[e] * x[indices[e], f]
    return out


@numba.njit(parallel=True, fastmath=True)
def sddmm(indptr: Array, indices: Array, a: Array, b: Array) -> Array:
    """out[e] = <a[row of e], b[indices[e]]>."""
    out = np.empty(len(indices), a.dtype)
    for row in numba.prange(len(indptr) - 1):
        for e in range(indptr[row], indptr[row + 1]):
            total = a.dtype.type(0)
            for f in range(a.shape[1]):
                total += a[row, f] * b[indices[e], f]
            out[e] = total
    return out


@numba.njit(parallel=True, fastmath=True)
def softmax(indptr: Array, score: Array) -> Array:
    """The softmax of the scores, [nnz, heads], of each row."""
    out = np.empty_like(score)
    for row in numba.prange(len(indptr) - 1):
        for head in range(score.shape[1]):
            first, last = indptr[row], indptr[row + 1]
            largest = -np.inf
            for e in range(first, last):
                largest = max(largest, score[e, head])
            total = 0.0
            for e in range(first, last):
                out[e, head] = np.exp(score[e, head] - largest)
                total += out[e, head]
            for e in range(first, last):
                out[e, head] /= total
    return out
