from __future__ import annotations

import numpy as np
import pytest
import torch

from gnas_ext.graph.csr import CSR
from gnas_ext.models import lanczos, lowpass
from gnas_ext.models.lowpass import beyond, low_pass


def graph_of(dense: torch.Tensor) -> CSR:
    row, col = dense.nonzero(as_tuple=True)
    return CSR.from_coo(row, col, dense[row, col], (dense.shape[0], dense.shape[1]))


@pytest.fixture(params=["lanczos", "lapack"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to the vectors, whatever the size."""
    monkeypatch.setattr(lowpass, "_DENSE", 0 if request.param == "lanczos" else 1 << 62)
    monkeypatch.setattr(lanczos, "_LEAST_BASIS", 8)
    return str(request.param)


@pytest.fixture(params=[(190, 150), (150, 190)], ids=["tall", "wide"])
def dense(request: pytest.FixtureRequest) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = request.param
    return torch.rand(*shape, generator=generator) * (torch.rand(*shape, generator=generator) < 0.2)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("rank", [1, 6, 30, 119, 149])
def test_values_and_span_are_those_of_the_full_decomposition(dense: torch.Tensor, rank: int) -> None:
    graph = graph_of(dense)
    low = low_pass(graph, rank, tolerance=1e-5)
    _, singular, right = np.linalg.svd(dense.numpy().astype(np.float64), full_matrices=False)
    np.testing.assert_allclose(low.values, singular[:rank] ** 2, rtol=1e-4)
    projector = low.vectors.double() @ low.vectors.double().T
    np.testing.assert_allclose(projector, right[:rank].T @ right[:rank], atol=2e-4)
    assert beyond(graph, low) == pytest.approx(singular[rank] ** 2, rel=2e-2)


@pytest.mark.parametrize("shape", [(40, 9000), (9000, 40), (300, 3000), (3000, 300)])
@pytest.mark.parametrize("rank", [1, 12, 35])
def test_one_side_is_far_smaller(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], rank: int) -> None:
    monkeypatch.setattr(lowpass, "_DENSE", 0)
    generator = torch.Generator().manual_seed(0)
    dense = torch.rand(*shape, generator=generator) * (torch.rand(*shape, generator=generator) < 0.05)
    graph = graph_of(dense)
    low = low_pass(graph, rank, tolerance=1e-5)
    singular = np.linalg.svd(dense.numpy().astype(np.float64), compute_uv=False)
    np.testing.assert_allclose(low.values, singular[:rank] ** 2, rtol=1e-4)
    torch.testing.assert_close(low.vectors.T @ low.vectors, torch.eye(rank), atol=1e-5, rtol=0)
    missed = dense.T @ (dense @ low.vectors) - low.vectors * low.values
    assert float((missed.norm(dim=0) / low.values).max()) < 1e-4
    assert beyond(graph, low) == pytest.approx(singular[rank] ** 2, rel=2e-2)


@pytest.mark.usefixtures("way")
def test_vectors_are_orthonormal_and_point_up(dense: torch.Tensor) -> None:
    vectors = low_pass(graph_of(dense), 12).vectors
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(12), atol=1e-5, rtol=0)
    assert (vectors.gather(0, vectors.abs().argmax(0, keepdim=True)) > 0).all()


def test_it_is_as_exact_as_it_is_asked_to_be(dense: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lowpass, "_DENSE", 0)
    for tolerance in (1e-1, 1e-3, 1e-6):
        values, vectors = low_pass(graph_of(dense), 8, tolerance=tolerance)
        missed = (dense.T @ (dense @ vectors) - vectors * values).norm(dim=0) / values
        assert float(missed.max()) <= tolerance + 1e-5


@pytest.mark.usefixtures("way")
def test_the_seed_decides(dense: torch.Tensor) -> None:
    graph = graph_of(dense)
    assert torch.equal(low_pass(graph, 4, seed=3).vectors, low_pass(graph, 4, seed=3).vectors)


@pytest.mark.usefixtures("way")
def test_what_was_missed_of_a_value_that_comes_often_is_beyond() -> None:
    """40 parts that do not touch, each with a largest value of 4."""
    part = torch.zeros(5, 4)
    part[0, 0], part[1, 1], part[2, 2] = 2, 1, 0.5
    graph = graph_of(torch.kron(torch.eye(40), part))
    low = low_pass(graph, 20)
    assert low.values[0] == pytest.approx(4, rel=1e-4)
    assert beyond(graph, low) == pytest.approx(4, rel=1e-3)


@pytest.mark.usefixtures("way")
def test_a_graph_of_low_rank_ends_with_zeros() -> None:
    generator = torch.Generator().manual_seed(0)
    dense = torch.randn(80, 3, generator=generator) @ torch.randn(3, 70, generator=generator)
    low = low_pass(graph_of(dense), 10)
    np.testing.assert_allclose(low.values[3:] / low.values[0], 0, atol=1e-5)
    torch.testing.assert_close(low.vectors.T @ low.vectors, torch.eye(10), atol=1e-5, rtol=0)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("edges", [1, 2, 5])
@pytest.mark.parametrize("rank", [1, 3, 10])
def test_a_few_edges_are_enough(edges: int, rank: int) -> None:
    generator = torch.Generator().manual_seed(0)
    row, col = torch.randperm(30, generator=generator)[:edges], torch.randperm(40, generator=generator)[:edges]
    graph = CSR.from_coo(row, col, torch.ones(edges), (30, 40))
    low = low_pass(graph, rank)
    assert low.values[0] == pytest.approx(1, rel=1e-4)
    torch.testing.assert_close(low.vectors.T @ low.vectors, torch.eye(rank), atol=1e-5, rtol=0)
    assert 0 <= beyond(graph, low) <= 1 + 1e-4


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (1, 4), (2, 1)])
def test_there_are_no_more_vectors_than_the_smaller_side(shape: tuple[int, int]) -> None:
    graph = graph_of(torch.rand(*shape))
    low = low_pass(graph, 9)
    assert low.vectors.shape == (shape[1], min(shape))
    assert low.values.shape == (min(shape),)
    assert beyond(graph, low) == 0


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("shape", [(4, 3), (0, 3), (3, 0)])
def test_a_graph_without_edges_has_values_of_zero(shape: tuple[int, int]) -> None:
    graph = graph_of(torch.zeros(shape))
    low = low_pass(graph, 2)
    assert low.values.shape == (min(2, *shape),)
    assert not low.values.any()
    assert low.vectors.shape == (shape[1], min(2, *shape))
    assert low.vectors.isfinite().all()
    assert beyond(graph, low) == 0


def test_a_weight_that_is_not_finite_is_refused(dense: torch.Tensor) -> None:
    dense[dense > 0.9] = torch.nan
    with pytest.raises(ValueError, match="low_pass: a weight is not finite"):
        low_pass(graph_of(dense), 2)


def test_a_rank_below_one_is_refused(dense: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="rank of 1 or more, got 0"):
        low_pass(graph_of(dense), 0)
