from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext.models.response import lowered, monomial, personalized_pagerank, plateau, split_constant

COEFFICIENTS = st.lists(st.floats(-3, 3), min_size=1, max_size=9)
TOPS = st.floats(0.05, 2.0)
LOOK = np.linspace(0, 1, 37)


@settings(deadline=None)
@given(coefficients=COEFFICIENTS, top=TOPS)
def test_a_monomial_series_is_the_polynomial(coefficients: list[float], top: float) -> None:
    x = LOOK * top
    expected = sum(c * x**k for k, c in enumerate(coefficients))
    np.testing.assert_allclose(monomial(coefficients, top)(x), expected, atol=1e-9)


def test_pagerank_is_the_sum_over_hops() -> None:
    expected = sum(0.2 * 0.8**k * LOOK**k for k in range(5))
    np.testing.assert_allclose(personalized_pagerank(4, 0.2)(LOOK), expected, atol=1e-12)


def test_a_plateau_of_flatness_one_is_a_line() -> None:
    np.testing.assert_allclose(plateau(1, 1.0, 2.0)(LOOK), 0.5 + (LOOK - 1) * np.cos(np.pi / 4), atol=1e-12)


def test_the_plateau_is_that_of_chebycf_at_its_published_point() -> None:
    """By its own recipe: x = 1 - 2 lambda, targets at the extrema, sums over the zeros of T_9."""
    order, flatness = 8, 1.5
    x = np.cos((order - np.arange(order + 1)) / order * np.pi)
    target = np.where(x < 0, 0.5 + 0.5 * np.abs(x) ** flatness, 0.5 - 0.5 * np.abs(x) ** flatness)
    zeros = np.cos((order + 1.5 - np.arange(1, order + 2)) / (order + 1) * np.pi)
    series = [2 / (order + 1) * float(np.cos(k * np.arccos(zeros)) @ target) for k in range(order + 1)]
    series[0] /= 2
    expected = sum(c * np.cos(k * np.arccos(1 - 2 * LOOK)) for k, c in enumerate(series))
    np.testing.assert_allclose(plateau(order, flatness)(LOOK), expected, atol=1e-12)


@settings(deadline=None)
@given(coefficients=COEFFICIENTS, top=TOPS)
def test_constant_and_rest_make_the_response(coefficients: list[float], top: float) -> None:
    response = monomial(coefficients, top)
    constant, rest = split_constant(response)
    x = LOOK * top
    np.testing.assert_allclose(constant + x * rest(x), response(x), atol=1e-8)
    assert rest.degree() <= max(0, len(coefficients) - 2)


@pytest.mark.parametrize("top", [0.3, 1.0, 1.7])
@pytest.mark.parametrize(("coefficients", "hops"), [([0, 1, 0, 0], 0), ([0.5, 1, 2, 0, 0, 0], 1), ([1, 0, 0], 0)])
def test_zeros_at_the_end_of_a_monomial_cost_no_hops(coefficients: list[float], hops: int, top: float) -> None:
    constant, rest = split_constant(monomial(coefficients, top))
    assert rest.degree() == hops
    assert constant == pytest.approx(coefficients[0])
    assert (constant == 0) == (coefficients[0] == 0)


@settings(deadline=None)
@given(coefficients=COEFFICIENTS, top=st.floats(0.05, 1.0), tolerance=st.sampled_from([1e-6, 1e-3, 0.1]))
def test_a_lower_degree_stays_within_tolerance(coefficients: list[float], top: float, tolerance: float) -> None:
    rest = split_constant(monomial(coefficients))[1]
    lower = lowered(rest, top, tolerance)
    x = np.linspace(0, top, 53)
    assert lower.degree() <= rest.degree()
    assert np.abs(x * (rest(x) - lower(x))).max() <= tolerance * 1.01 + 1e-9


def test_without_tolerance_no_degree_is_saved() -> None:
    rest = split_constant(plateau(7, 1.5))[1]
    assert lowered(rest, 0.2, 0.0).degree() == rest.degree() == 6


@pytest.mark.parametrize("coefficients", [[], [1.0, float("nan")]])
def test_coefficients_must_be_finite(coefficients: list[float]) -> None:
    with pytest.raises(ValueError, match="monomial: expected finite coefficients"):
        monomial(coefficients)


@pytest.mark.parametrize(("hops", "restart"), [(0, 0.5), (3, 0.0), (3, 1.0), (3, float("nan"))])
def test_walks_must_go_somewhere(hops: int, restart: float) -> None:
    with pytest.raises(ValueError, match="personalized_pagerank: expected hops >= 1"):
        personalized_pagerank(hops, restart)


@pytest.mark.parametrize(("order", "flatness"), [(0, 1.0), (3, 0.0), (3, float("nan"))])
def test_plateaus_must_rise(order: int, flatness: float) -> None:
    with pytest.raises(ValueError, match="plateau: expected order >= 1"):
        plateau(order, flatness)
