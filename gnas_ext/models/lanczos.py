"""Which are the leading eigenvectors of a large matrix? Of one that is known by its products alone.

ARPACK multiplies one vector at a time and makes it orthogonal to all before it. For some hundred eigenvectors of a log
of clicks that is reading tens of megabytes a product, in one thread, and nearly all of the time. Of a block of vectors
at a time (Golub and Underwood, 1977) the same work is products of matrices, and a product with a graph costs little
more than of one vector. A full basis is replaced by the best that is in it (Wu and Simon, 2000).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

# Of the largest eigenvalue: what float32 cannot tell from nothing.
_ROUNDING = 1e-6
# Of it as well: a vector so short is rounding, or has much of it.
_GONE = 2e-5
_SHORT = 1e-3
# Blocks that find nothing new: no more of all values together than this part of them.
_PATIENCE = 8
_NEWS = 1e-4
_MOST_BLOCK = 32
# Of the basis. A smaller one costs more products.
_ROOMY_BYTES = 1 << 30
_LEAST_BASIS = 96
_MOST_RESTARTS = 300
_ROWS_AT_ONCE = 1 << 16


def block_of(rank: int) -> int:
    """How many vectors are multiplied at a time."""
    return max(4, min(_MOST_BLOCK, rank // 4))


def smallest_side(rank: int) -> int:
    """What a matrix must have for `leading` to find so many vectors."""
    return max(rank, _LEAST_BASIS) + 4 * block_of(rank)


def leading(
    multiply: Callable[[Tensor], Tensor],
    side: int,
    rank: int,
    *,
    tolerance: float,
    dust: float = 0.0,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """The largest eigenvalues and their vectors of a symmetric matrix A that has none below 0.

    Args:
        multiply: A times [side, block], float32; a new tensor.
        side: of A; at least `smallest_side(rank)`.
        rank: how many.
        tolerance: |A v - value v| <= tolerance * value for each vector, but for rounding: 1e-6 of the largest value.
        dust: what products may be off, where that is more: of a difference of larger ones, say.
        generator: draws the vectors that the search begins with.

    Returns:
        values, falling, [rank], and orthonormal vectors, [side, rank], float32. Meanwhile there is a basis of three
        times as many vectors, and 96 at least; or half as many again, where that would be above a gigabyte.

    Raises:
        ValueError: the side is too small, or a product is not finite.
        RuntimeError: the tolerance is not reached.
    """
    if side < smallest_side(rank):
        raise ValueError(f"leading: expected a side of {smallest_side(rank)} or more for rank {rank}, got {side}")
    block = block_of(rank)
    kept = rank + block
    most = min(side - block, max(3 * rank, _LEAST_BASIS) + 4 * block)  # what is drawn needs room beside it
    if 4 * side * most > _ROOMY_BYTES:
        most = min(most, 3 * rank // 2 + 4 * block)
    basis = torch.empty(side, most)
    inner = torch.zeros(most, most, dtype=torch.float64)  # the matrix, as the basis has it
    now = torch.linalg.qr(torch.randn(side, block, generator=generator)).Q
    held = coupled = restarts = 0
    check = rank + block
    lost, last, idle = False, 0.0, 0
    while True:
        basis[:, held : held + block] = now
        held += block
        known = basis[:, :held]
        image = multiply(now)
        # A block's image is in the block before it, in itself, and in the one to come; or after a restart in all that
        # was kept. Of the others it has rounding only.
        shares = torch.zeros(held, block, dtype=torch.float64)
        shares[coupled:] += _taken_out(known[:, coupled:], image)
        if not bool(shares.isfinite().all()):
            raise ValueError("leading: a product is not finite: are the weights?")
        scale = max(float(inner.abs().max()), float(shares.abs().max()))
        following = _next_block(known, image, scale, generator)
        shares += following.taken
        inner[:held, held - block : held] = shares
        inner[held - block : held, :held] = shares.T
        now, coupled = following.vectors, held - block
        lost, idle = lost or not following.led_on, idle + 1
        full = held + block > most
        if held < check and not full:
            continue
        values, vectors = (part.flip(-1) for part in torch.linalg.eigh(inner[:held, :held]))
        missed = (following.onward.double() @ vectors[held - block :, :rank]).norm(dim=0)
        noise = max(dust, _ROUNDING * scale)
        if bool((missed <= tolerance * values[:rank].clamp(min=0) + noise).all()):
            # Products that led nowhere went on from vectors that were drawn, or are rounding. Those may still find more
            # copies of a value that comes often.
            total = float(values[:rank].sum())
            if total > last * (1 + _NEWS) + rank * noise:
                last, idle = total, 0
            if not lost or idle >= _PATIENCE:
                _turn(basis, vectors[:, :rank].float())
                return values[:rank].clamp(min=0).float(), basis[:, :rank].clone()
        check = held + max(block, held // 4)
        if full:
            restarts += 1
            if restarts > _MOST_RESTARTS:
                raise RuntimeError(
                    f"leading: {rank} vectors are not found to a tolerance of {tolerance} after {restarts - 1} "
                    f"restarts: the worst is {float((missed / values[:rank]).max()):.1e} off"
                )
            _turn(basis, vectors[:, :kept].float())
            inner.zero_()
            inner.diagonal()[:kept] = values[:kept]
            held, coupled, check = kept, 0, kept + 2 * block


def _taken_out(known: Tensor, image: Tensor) -> Tensor:
    """Takes out of an image what is in some of the basis; how much that was."""
    shares: Tensor = known.T @ image
    image.addmm_(known, shares, alpha=-1)
    return shares


class _Next(NamedTuple):
    """image = known taken + vectors onward.

    Attributes:
        vectors: orthonormal, and orthogonal to the basis, [side, block].
        onward: [block, block].
        taken: what of the image was in the basis after all, [held, block].
        led_on: more was left of all vectors than rounding makes.
    """

    vectors: Tensor
    onward: Tensor
    taken: Tensor
    led_on: bool


def _next_block(known: Tensor, image: Tensor, scale: float, generator: torch.Generator | None) -> _Next:
    now, onward = torch.linalg.qr(image)
    least = float(onward.diagonal().abs().min())
    if least <= _ROUNDING * scale:
        now, sizes, turn = torch.linalg.svd(image, full_matrices=False)
        gone = sizes <= _ROUNDING * scale
        sizes[gone] = 0
        onward = sizes[:, None] * turn
        now[:, gone] = torch.randn(len(now), int(gone.sum()), generator=generator)
    # As large as they are now, vectors lose what rounding left of the basis in them; of short ones that is much.
    taken = torch.zeros(known.shape[1], image.shape[1], dtype=torch.float64)
    if least > _SHORT * scale:
        taken += _taken_out(known, now) @ onward
        # Still all but orthonormal: the triangle of their products sets that right, cheaper than another QR.
        change = torch.linalg.cholesky(now.T @ now, upper=True)
        now = torch.linalg.solve_triangular(change, now, upper=True, left=False)
        return _Next(now, change @ onward, taken, led_on=True)
    for _ in range(2):
        taken += _taken_out(known, now) @ onward
        now, change = torch.linalg.qr(now)
        onward = change @ onward
    return _Next(now, onward, taken, least > _GONE * scale)


def _turn(basis: Tensor, vectors: Tensor) -> None:
    """The first columns of the basis become combinations of its first len(vectors) ones."""
    held, count = vectors.shape
    for rows in torch.split(basis, _ROWS_AT_ONCE):
        rows[:, :count] = rows[:, :held] @ vectors
