from __future__ import annotations

import numpy as np
import pytest
import torch

from gnas_ext.graph.csr import CSR
from gnas_ext.models.lowpass import low_pass


def graph_of(dense: torch.Tensor) -> tuple[CSR, CSR]:
    row, col = dense.nonzero(as_tuple=True)
    graph = CSR.from_coo(row, col, dense[row, col], (dense.shape[0], dense.shape[1]))
    back = graph.t()
    return graph, CSR(back.indptr, back.indices, back.weight, back.shape)


@pytest.fixture
def dense() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(90, 70, generator=generator) * (torch.rand(90, 70, generator=generator) < 0.2)


@pytest.mark.parametrize("rank", [1, 6, 30])
def test_values_and_span_are_those_of_the_full_decomposition(dense: torch.Tensor, rank: int) -> None:
    low = low_pass(*graph_of(dense), rank, tolerance=1e-5)
    _, singular, right = np.linalg.svd(dense.numpy().astype(np.float64), full_matrices=False)
    np.testing.assert_allclose(low.values, singular[:rank] ** 2, rtol=1e-4)
    projector = low.vectors.double() @ low.vectors.double().T
    np.testing.assert_allclose(projector, right[:rank].T @ right[:rank], atol=2e-4)


def test_vectors_are_orthonormal(dense: torch.Tensor) -> None:
    vectors = low_pass(*graph_of(dense), 12).vectors
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(12), atol=1e-5, rtol=0)


def test_the_seed_decides(dense: torch.Tensor) -> None:
    graph = graph_of(dense)
    assert torch.equal(low_pass(*graph, 4, seed=3).vectors, low_pass(*graph, 4, seed=3).vectors)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5)])
def test_there_are_no_more_vectors_than_the_smaller_side(shape: tuple[int, int]) -> None:
    low = low_pass(*graph_of(torch.rand(*shape)), 9)
    assert low.vectors.shape == (shape[1], 3)
    assert low.values.shape == (3,)


@pytest.mark.parametrize("shape", [(4, 3), (0, 3), (3, 0)])
def test_a_graph_without_edges_has_values_of_zero(shape: tuple[int, int]) -> None:
    low = low_pass(*graph_of(torch.zeros(shape)), 2)
    assert not low.values.any()
    assert low.vectors.isfinite().all()


def test_a_rank_below_one_is_refused(dense: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="rank of 1 or more, got 0"):
        low_pass(*graph_of(dense), 0)
