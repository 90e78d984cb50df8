"""leading: against LAPACK, on spectra that are hard for a search by products."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext.models import lanczos
from gnas_ext.models.lanczos import block_of, leading, smallest_side

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def turned(values: Sequence[float] | np.ndarray, seed: int = 0) -> Tensor:
    """A symmetric matrix with these eigenvalues, in float64."""
    drawn = torch.randn(len(values), len(values), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    q: Tensor = torch.linalg.qr(drawn).Q
    return (q * torch.as_tensor(np.asarray(values, dtype=np.float64))) @ q.T


def found(matrix: Tensor, rank: int, tolerance: float = 1e-4, seed: int = 1) -> tuple[Tensor, Tensor]:
    single = matrix.float()
    return leading(
        lambda x: single @ x, len(matrix), rank, tolerance=tolerance, generator=torch.Generator().manual_seed(seed)
    )


def check(matrix: Tensor, rank: int, tolerance: float = 1e-4) -> None:
    values, vectors = found(matrix, rank, tolerance)
    assert values.shape == (rank,)
    assert vectors.shape == (len(matrix), rank)
    assert values.dtype == vectors.dtype == torch.float32
    expected = torch.linalg.eigvalsh(matrix).flip(0)[:rank].clamp(min=0)
    top = float(expected[0])
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=4e-6 * top)
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(rank), atol=2e-5, rtol=0)
    missed = (matrix @ vectors.double() - vectors.double() * values.double()).norm(dim=0)
    assert bool((missed <= 1.1 * tolerance * values + 5e-6 * top).all())


@pytest.mark.parametrize("rank", [1, 3, 40, 100])
@pytest.mark.parametrize("power", [0.3, 1.0, 2.0])
def test_values_that_fall_slowly_or_fast(rank: int, power: float) -> None:
    check(turned(np.arange(1, 601.0) ** -power), rank)


@pytest.mark.parametrize("rank", [5, 60])
def test_few_values_above_nothing(rank: int) -> None:
    values = np.zeros(400)
    values[:7] = [9, 8, 8, 3, 1, 0.1, 0.01]
    check(turned(values), rank)


def test_values_that_come_often() -> None:
    """More often than a block has vectors: rounding and drawn vectors find the others."""
    values = np.full(400, 0.2)
    values[:50] = 1
    check(turned(values), 40)
    check(turned(np.ones(300)), 20)


def test_a_small_basis_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanczos, "_ROOMY_BYTES", 0)
    monkeypatch.setattr(lanczos, "_LEAST_BASIS", 8)
    monkeypatch.setattr(lanczos, "_ROWS_AT_ONCE", 7)
    turn, sizes = lanczos._turn, []

    def counted(basis: Tensor, vectors: Tensor) -> None:
        sizes.append(vectors.shape)
        turn(basis, vectors)

    monkeypatch.setattr(lanczos, "_turn", counted)
    check(turned(np.arange(1, 601.0) ** -0.3), 60)
    assert len(sizes) > 2


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**20),
    rank=st.integers(1, 30),
    more=st.integers(0, 60),
    kinds=st.sets(st.sampled_from([1e-4, 0.1, 0.5, 0.9, 1.0, 7.0]), min_size=1),
    rest=st.sampled_from([0.0, 1e-9, 0.01]),
)
def test_any_spectrum(seed: int, rank: int, more: int, kinds: set[float], rest: float) -> None:
    """Of each value no more copies than a block has vectors."""
    copies = np.repeat(sorted(kinds), block_of(rank))
    values = np.full(smallest_side(rank) + more, rest)
    values[: len(copies)] = copies[: len(values)]
    check(turned(values, seed), rank)


def test_the_seed_decides() -> None:
    matrix = turned(np.arange(1, 201.0) ** -1.0)
    assert torch.equal(found(matrix, 6, seed=3)[1], found(matrix, 6, seed=3)[1])


def test_what_cannot_be_done_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"leading: expected a side of 112 or more for rank 3, got 111"):
        found(torch.eye(111, dtype=torch.float64), 3)
    matrix = torch.eye(200, dtype=torch.float64)
    matrix[3, 3] = torch.nan
    with pytest.raises(ValueError, match="leading: a product is not finite"):
        found(matrix, 3)
    monkeypatch.setattr(lanczos, "_MOST_RESTARTS", 0)
    with pytest.raises(
        RuntimeError, match="leading: 100 vectors are not found to a tolerance of 1e-09 after 0 restarts"
    ):
        found(turned(np.linspace(1, 0.9, 900)), 100, 1e-9)
