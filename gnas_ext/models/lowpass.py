"""What is smooth on the graph? Its leading singular vectors, by Chebyshev-filtered subspace iteration.

A block of vectors is multiplied by a polynomial of P = B^T B that is small on what is not wanted, made orthonormal, and
turned to the best vectors of its span (Zhou, Saad, Tiago and Chelikowsky, 2006, Self-consistent-field calculations
using Chebyshev-filtered subspace iteration). Products are spmm on all vectors at once; QR and eigenproblem are
LAPACK's. The usual library calls multiply one vector at a time (ARPACK), or, randomised, leave the last vectors far
from converged, which moves the figures of a filter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from gnas_ext.ops.spmm import spmm

if TYPE_CHECKING:
    from torch import Tensor

    from gnas_ext.graph.csr import CSR

# Degree of the filter. What it makes of the first and of the last vector must fit in the digits of a float together.
_DEGREE = 8
_ROUNDS = 12


class LowPass(NamedTuple):
    """The leading part of P = B^T B.

    Attributes:
        values: the largest eigenvalues of P (squared singular values of B), falling, [rank], float32.
        vectors: their eigenvectors, orthonormal, [cols, rank], float32.
    """

    values: Tensor
    vectors: Tensor


def low_pass(graph: CSR, back: CSR, rank: int, *, tolerance: float = 1e-3, seed: int = 0) -> LowPass:
    """The leading right singular vectors of a graph.

    Args:
        graph: B, shape [rows, cols], float32 weights.
        back: its transpose, as a graph of its own.
        rank: how many; fewer come back where rows or columns are fewer.
        tolerance: |P v - value v| <= tolerance * value for each vector v, after 12 rounds at the latest.
        seed: of the first block. The same seed gives the same vectors where LAPACK repeats itself.

    Raises:
        ValueError: rank below 1.
    """
    if rank < 1:
        raise ValueError(f"low_pass: expected a rank of 1 or more, got {rank}")
    width = min(rank + rank // 4 + 8, *graph.shape)
    rank = min(rank, width)
    if width == 0:
        return LowPass(torch.zeros(0), torch.zeros(graph.cols, 0))
    block = spmm(back, torch.randn(graph.rows, width, generator=torch.Generator().manual_seed(seed)))
    for _ in range(_ROUNDS):
        values, block, product = _best_of_span(graph, back, block)
        missed = (product - block * values)[:, :rank].norm(dim=0)
        if width == min(graph.shape) or bool((missed <= tolerance * values[:rank]).all()):
            break
        block = _filtered(graph, back, block, product, float(values[-1]))
    return LowPass(values[:rank], block[:, :rank].contiguous())


def _best_of_span(graph: CSR, back: CSR, block: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rayleigh and Ritz: the eigenvalues of P on the span of a block, its vectors, and P times them."""
    block = torch.linalg.qr(block)[0]
    image = spmm(graph, block)
    values, turn = torch.linalg.eigh((image.T @ image).double())
    turn = turn.flip(1).float()
    return values.flip(0).clamp_(min=0).float(), block @ turn, spmm(back, image @ turn)


def _filtered(graph: CSR, back: CSR, block: Tensor, product: Tensor, cut: float) -> Tensor:
    """T_degree(2 P / cut - 1) on a block whose product with P is there: of what is below cut, at most 1 is left."""
    if cut <= 0:
        return product
    before, now = block, product.mul(2 / cut).sub_(block)
    for _ in range(_DEGREE - 1):
        before, now = now, spmm(back, spmm(graph, now)).mul_(2 / cut).sub_(now).mul_(2).sub_(before)
    return now
