"""What is smooth on the graph? Its leading singular vectors, by SciPy's truncated SVD.

`scipy.sparse.linalg.svds` multiplies by the graph and its transpose, one vector at a time, and ARPACK takes the vectors
out of what comes back. It always begins with the same vector, so it repeats. A small graph, and one of which nearly all
is asked for, is decomposed in full by LAPACK.

One vector at a time has a price: of a value that comes several times, as in a graph of parts that do not touch, ARPACK
may find only some copies. `beyond` says what was left, so that nobody has to believe that nothing was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from scipy import sparse

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from gnas_ext.graph.csr import CSR

# Up to so many entries LAPACK takes less than a second, and misses nothing.
_DENSE = 1 << 20
# Of the largest value beyond; it is a bound, not a result.
_LOOSE = 1e-2


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
        tolerance: |P v - value v| <= tolerance * value for each vector v, as ARPACK estimates it.
        seed: of the first vector. The same seed gives the same vectors where LAPACK repeats itself.

    Raises:
        ValueError: rank below 1.
    """
    if rank < 1:
        raise ValueError(f"low_pass: expected a rank of 1 or more, got {rank}")
    side = min(graph.shape)
    rank = min(rank, side)
    from scipy.sparse.linalg import svds  # a tenth of a second, which those who need no vectors do not wait for

    assert graph.weight is not None
    if not graph.weight.any():  # ARPACK would refuse it
        return LowPass(torch.zeros(rank), torch.eye(graph.cols, rank))
    matrix = _matrix(graph)
    # SciPy's own choice, 2 rank, makes each vector orthogonal to more of them than pays.
    width = rank + rank // 3 + 16
    if width >= side or graph.rows * graph.cols <= _DENSE:
        _, singular, right = np.linalg.svd(matrix.toarray(), full_matrices=False)
    else:
        _, singular, right = svds(matrix, rank, ncv=width, tol=_asked(tolerance), v0=_start(side, seed))
        order = np.argsort(-singular)
        singular, right = singular[order], right[order]
    vectors = torch.from_numpy(np.ascontiguousarray(right[:rank].T))
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    return LowPass(torch.from_numpy(singular[:rank] ** 2), vectors * torch.where(largest < 0, -1, 1))


def beyond(graph: CSR, low: LowPass, *, seed: int = 0) -> float:
    """About the largest eigenvalue of P on what is orthogonal to the vectors.

    Below the last of `values` where `low_pass` missed nothing. Where ARPACK finds no more, as of a graph of lower rank,
    the first of `values`, which no eigenvalue is above.

    Args:
        graph: B, as `low_pass` had it.
        low: what it found.
        seed: of the first vector.
    """
    from scipy.sparse.linalg import ArpackError, LinearOperator, svds

    assert graph.weight is not None
    side = min(graph.shape)
    if len(low.values) >= side or not graph.weight.any():
        return 0.0
    matrix: Any = _matrix(graph)
    v: Any = low.vectors.numpy()
    if side < 3 or graph.rows * graph.cols <= _DENSE:
        dense = matrix.toarray()
        return float(np.linalg.svd(dense - (dense @ v) @ v.T, compute_uv=False)[0] ** 2)

    back = matrix.T.tocsr()

    def without(x: Any) -> Any:
        return x - v @ (v.T @ x)

    left: Any = LinearOperator(
        graph.shape,
        matvec=lambda x: matrix @ without(x),
        rmatvec=lambda x: without(back @ x),
        dtype=np.float32,
    )
    try:
        _, singular, _ = svds(left, 1, tol=_asked(_LOOSE), v0=_start(side, seed))
    except ArpackError:
        return float(low.values[0])
    return float(singular[0] ** 2)


def _matrix(graph: CSR) -> sparse.csr_array[np.float32]:
    assert graph.weight is not None
    arrays = (graph.weight.numpy(), graph.indices.numpy(), graph.indptr.numpy())
    return sparse.csr_array(arrays, shape=graph.shape)


def _start(side: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(side, dtype=np.float32)


def _asked(tolerance: float) -> float:
    """What svds has to be told: it squares it for the eigenvalues."""
    return float(tolerance**0.5)
