"""What is smooth on the graph? Its leading singular vectors.

They are the eigenvectors of B B^T or B^T B, whichever is smaller, which `lanczos` finds by products with the graph. A
small matrix, and one of which half or more is asked for, is decomposed in full by LAPACK.

A block of vectors at a time has a limit: of a value that comes more often than that, as in a graph of many parts that
do not touch, only some copies may be found. `beyond` says what was left, so that nobody has to believe that nothing
was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from scipy import sparse

from gnas_ext.graph.csr import CSR
from gnas_ext.models.lanczos import leading, smallest_side
from gnas_ext.ops.spmm import spmm

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

# Up to so many entries, empty ones counted, LAPACK takes less than a second, and misses nothing.
_DENSE = 1 << 20
# Of the largest value: below, dividing by its root would show the rounding.
_THIN = 1e-2
# Of the largest value beyond; it is a bound, not a result.
_LOOSE = 1e-2
# Of the largest value of all: what is left of products when all else is taken out.
_DUST = 1e-5


class LowPass(NamedTuple):
    """The leading part of P = B^T B.

    Attributes:
        values: the largest eigenvalues of P (squared singular values of B), falling, [rank], float32.
        vectors: their eigenvectors, orthonormal, [cols, rank], float32; of each, the largest entry is above 0.
    """

    values: Tensor
    vectors: Tensor


def low_pass(graph: CSR, rank: int, *, tolerance: float = 1e-3, seed: int = 0) -> LowPass:
    """The leading right singular vectors of a graph.

    Args:
        graph: B, shape [rows, cols], float32 weights.
        rank: how many; fewer come back where rows or columns are fewer.
        tolerance: |P v - value v| <= tolerance * value for each vector v, but for 1e-6 of the largest value.
        seed: of the first vectors. The same seed gives the same vectors where LAPACK repeats itself.

    Raises:
        ValueError: rank below 1, or a weight is not finite.
        RuntimeError: the tolerance is not reached, as `lanczos.leading` has it.
    """
    if rank < 1:
        raise ValueError(f"low_pass: expected a rank of 1 or more, got {rank}")
    rank = min(rank, *graph.shape)
    assert graph.weight is not None
    if not graph.weight.isfinite().all():
        raise ValueError("low_pass: a weight is not finite")
    if not graph.weight.any():
        return LowPass(torch.zeros(rank), torch.eye(graph.cols, rank))
    values, vectors = _leading(graph, rank, tolerance, seed)
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    return LowPass(values, vectors * torch.where(largest < 0, -1, 1))


def _leading(graph: CSR, rank: int, tolerance: float, seed: int) -> tuple[Tensor, Tensor]:
    """From the smaller side: eigenvectors of B^T B, or of B B^T, which B^T takes to the others."""
    wide, back = graph.cols > graph.rows, _turned(graph)
    if _is_small(graph, rank):
        all_values, all_vectors = torch.linalg.eigh(_small_square(graph))
        values = all_values.flip(0)[:rank].clamp(min=0).float()
        found = all_vectors.flip(1)[:, :rank].float().contiguous()
    else:
        first, second = (back, graph) if wide else (graph, back)
        values, found = leading(
            lambda x: spmm(second, spmm(first, x)),
            min(graph.shape),
            rank,
            tolerance=tolerance,
            generator=torch.Generator().manual_seed(seed),
        )
    if not wide:
        return values, found
    right = spmm(back, found)
    if values[-1] > _THIN * values[0]:
        return values, right / values.sqrt()
    return values, torch.linalg.svd(right, full_matrices=False).U  # those of nothing are still orthonormal


def _is_small(graph: CSR, rank: int) -> bool:
    """Is the whole decomposition the way? Of a matrix that is small, or of which half or more is asked for."""
    return min(graph.shape) < max(smallest_side(rank), 2 * rank) or graph.rows * graph.cols <= _DENSE


def _small_square(graph: CSR) -> Tensor:
    """B B^T or B^T B, whichever is smaller, float64."""
    matrix: Any = _matrix(graph).astype("float64")
    square = matrix @ matrix.T if graph.cols > graph.rows else matrix.T @ matrix
    return torch.from_numpy(square.toarray())


def beyond(graph: CSR, low: LowPass, *, seed: int = 0) -> float:
    """About the largest eigenvalue of P on what is orthogonal to the vectors.

    Below the last of `values` where `low_pass` missed nothing. The first of `values`, which no eigenvalue is above,
    where it is not found.

    Args:
        graph: B, as `low_pass` had it.
        low: what it found.
        seed: of the first vectors.
    """
    assert graph.weight is not None
    side = min(graph.shape)
    if len(low.values) >= side or not graph.weight.any():
        return 0.0
    wide, v = graph.cols > graph.rows, low.vectors

    def without(x: Tensor) -> Tensor:
        return x - v.to(x.dtype) @ (v.T.to(x.dtype) @ x)

    # Of B (I - V V^T) B^T or of (I - V V^T) B^T B (I - V V^T), whichever is smaller: the others are the same.
    if _is_small(graph, 1):
        square = _small_square(graph)
        if wide:
            image = spmm(graph, v).double()
            rest = square - image @ image.T
        else:
            rest = without(without(square).T)
        return max(0.0, float(torch.linalg.eigvalsh(rest)[-1]))
    back = _turned(graph)
    try:
        values, _ = leading(
            (lambda x: spmm(graph, without(spmm(back, x))))
            if wide
            else (lambda x: without(spmm(back, spmm(graph, without(x))))),
            side,
            1,
            tolerance=_LOOSE,
            dust=_DUST * float(low.values[0]),
            generator=torch.Generator().manual_seed(seed),
        )
    except RuntimeError:
        return float(low.values[0])
    return float(values[0])


def _turned(graph: CSR) -> CSR:
    t = graph.t()
    return CSR(t.indptr, t.indices, t.weight, t.shape)  # weights stand beside their entries


def _matrix(graph: CSR) -> sparse.csr_array[np.float32]:
    assert graph.weight is not None
    arrays = (graph.weight.numpy(), graph.indices.numpy(), graph.indptr.numpy())
    return sparse.csr_array(arrays, shape=graph.shape)
