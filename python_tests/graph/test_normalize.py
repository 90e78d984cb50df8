from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext import CSR
from gnas_ext.graph import normalize, weighted_degree

if TYPE_CHECKING:
    from gnas_ext.graph.normalize import Normalization

EXPONENTS = [(0.5, 0.5), (1.0, 0.0), (0.0, 1.0), (0.25, 0.75), (1.0, 1.0), (0.0, 0.0)]


def sparse(dense: torch.Tensor) -> CSR:
    row, col = dense.nonzero().T
    return CSR.from_coo(row, col, dense[row, col], (dense.shape[0], dense.shape[1]))


def dense_of(csr: CSR) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Entry by entry, repeated ones added up."""
    dense = np.zeros(csr.shape)
    weight = torch.ones(csr.nnz) if csr.weight is None else csr.weight
    for row in range(csr.rows):
        for entry in range(int(csr.indptr[row]), int(csr.indptr[row + 1])):
            dense[row, int(csr.indices[entry])] += float(weight[entry])
    return dense


def by_formula(
    dense: np.ndarray[tuple[int, int], np.dtype[np.float64]], row_exponent: float, col_exponent: float
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    out = np.zeros_like(dense)
    for i, j in np.argwhere(dense):
        out[i, j] = dense[i, j] / (dense[i].sum() ** row_exponent * dense[:, j].sum() ** col_exponent)
    return out


@pytest.fixture
def graph() -> CSR:
    """Row 2 and column 4 are empty."""
    generator = torch.Generator().manual_seed(0)
    dense = torch.rand(6, 5, generator=generator) * (torch.rand(6, 5, generator=generator) < 0.5)
    dense[2] = 0
    dense[:, 4] = 0
    return sparse(dense)


def test_the_degree_sums_the_weights_of_a_row(graph: CSR) -> None:
    np.testing.assert_allclose(weighted_degree(graph), dense_of(graph).sum(1), rtol=1e-6)


def test_without_weights_the_degree_counts_entries() -> None:
    graph = CSR(torch.tensor([0, 2, 2, 5]), torch.tensor([0, 1, 0, 1, 2]))
    assert weighted_degree(graph).tolist() == [2, 0, 3]


@pytest.mark.parametrize("exponents", EXPONENTS)
def test_weights_are_divided_by_powers_of_both_degrees(graph: CSR, exponents: tuple[float, float]) -> None:
    got = dense_of(normalize(graph, *exponents))
    np.testing.assert_allclose(got, by_formula(dense_of(graph), *exponents), rtol=1e-5)


@pytest.mark.parametrize(("name", "exponents"), [("symmetric", (0.5, 0.5)), ("left", (1, 0)), ("right", (0, 1))])
def test_names_stand_for_exponents(graph: CSR, name: Normalization, exponents: tuple[float, float]) -> None:
    got = dense_of(normalize(graph, name))
    np.testing.assert_allclose(got, by_formula(dense_of(graph), *exponents), rtol=1e-5)


def test_an_unknown_name_is_refused(graph: CSR) -> None:
    message = "normalize: expected exponents, or one of symmetric, left, right, got 'row'"
    with pytest.raises(ValueError, match=message):
        normalize(graph, "row")  # type: ignore[arg-type]


def test_a_graph_without_weights_counts_each_entry_as_one() -> None:
    bare = CSR(torch.tensor([0, 2, 2, 5]), torch.tensor([0, 1, 0, 1, 2]))
    np.testing.assert_allclose(dense_of(normalize(bare)), by_formula(dense_of(bare), 0.5, 0.5), rtol=1e-6)


def test_row_exponent_one_makes_rows_sum_to_one(graph: CSR) -> None:
    sums = dense_of(normalize(graph, 1.0, 0.0)).sum(1)
    np.testing.assert_allclose(sums, dense_of(graph).any(1), rtol=1e-6)
    assert set(sums.round(3)) == {0.0, 1.0}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_degree_may_be_beyond_half_precision(dtype: torch.dtype) -> None:
    many = 300
    row, col = torch.zeros(many, dtype=torch.int64), torch.arange(many)
    weight = torch.full((many,), 400.0, dtype=dtype)
    scaled = normalize(CSR.from_coo(row, col, weight, (1, many)), 1.0, 0.0).weight
    assert scaled is not None
    torch.testing.assert_close(scaled.float(), torch.full((many,), 1 / many), rtol=1e-2, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_the_dtype_of_the_weights_is_kept(graph: CSR, dtype: torch.dtype) -> None:
    weight = normalize(graph.to(dtype=dtype)).weight
    assert weight is not None
    assert weight.dtype == dtype


def test_the_graph_itself_is_left_as_it_was(graph: CSR) -> None:
    before = dense_of(graph)
    normalize(graph)
    assert np.array_equal(dense_of(graph), before)


@settings(deadline=None, max_examples=60)
@given(
    exponents=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    powers=st.lists(st.integers(-149, 0), min_size=1, max_size=12),
    seed=st.integers(0, 99),
)
def test_weights_however_faint_stay_finite(exponents: tuple[float, float], powers: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    weight = torch.tensor([2.0**power for power in powers], dtype=torch.float32)
    row, col = (torch.from_numpy(rng.integers(0, 4, len(powers))) for _ in range(2))
    scaled = normalize(CSR.from_coo(row, col, weight, (4, 4)), *exponents).weight
    assert scaled is not None
    assert scaled.isfinite().all()
    if sum(exponents) <= 1:
        assert float(scaled.max()) <= 1 + 1e-5


def test_a_faint_edge_of_its_own_is_as_strong_as_any() -> None:
    weight = torch.tensor([math.ldexp(1, -120), 1.0])
    scaled = normalize(CSR.from_coo(torch.tensor([0, 1]), torch.tensor([0, 1]), weight, (2, 2))).weight
    torch.testing.assert_close(scaled, torch.ones(2))
