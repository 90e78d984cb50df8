from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gnas_ext.graph import bipartite, decay
from gnas_ext.ops import spmm

USER = np.array([2, 0, 1, 0, 2, 4], np.int32)
ITEM = np.array([1, 0, 1, 3, 3, 0], np.int32)
WEIGHT = np.array([0.5, 1, 0.25, 2, 1, 0.125], np.float32)


def dense(
    weight: np.ndarray[tuple[int], np.dtype[np.float32]], a: float, b: float
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """5 users, of whom 3 touched nothing, and 4 items, of which nobody touched 2; touch by touch."""
    of_user, of_item = np.zeros(5), np.zeros(4)
    for user, item, value in zip(USER, ITEM, weight, strict=True):
        of_user[user] += value
        of_item[item] += value
    out = np.zeros((5, 4))
    for user, item, value in zip(USER, ITEM, weight, strict=True):
        out[user, item] = value / (max(of_user[user], 1) ** a * max(of_item[item], 1) ** b)
    return out


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (1.0, 0.25), (0.0, 0.75)])
@pytest.mark.parametrize("weighted", [False, True])
def test_edges_are_touches_divided_by_powers_of_degrees(a: float, b: float, weighted: bool) -> None:
    graph = bipartite(USER, ITEM, 5, 4, WEIGHT if weighted else None, a, b)
    expected = dense(WEIGHT if weighted else np.ones(6, np.float32), a, b)
    np.testing.assert_allclose(spmm(graph, torch.eye(4)), expected, rtol=1e-5)


def test_by_default_it_is_that_of_lightgcn() -> None:
    expected = dense(np.ones(6, np.float32), 0.5, 0.5)
    np.testing.assert_allclose(spmm(bipartite(USER, ITEM, 5, 4), torch.eye(4)), expected, rtol=1e-5)


def test_the_transpose_carries_from_users_to_items() -> None:
    graph = bipartite(USER, ITEM, 5, 4, WEIGHT)
    np.testing.assert_allclose(spmm(graph.t(), torch.eye(5)), dense(WEIGHT, 0.5, 0.5).T, rtol=1e-5)


def test_faded_edges_stay_faint() -> None:
    graph = bipartite(USER, ITEM, 5, 4, WEIGHT * 1e-30, 1.0, 1.0)
    assert graph.weight is not None
    np.testing.assert_allclose(graph.weight.sort().values, np.sort(WEIGHT) * 1e-30, rtol=1e-5)


def test_it_has_a_row_a_user_and_a_column_an_item() -> None:
    graph = bipartite(USER, ITEM, 7, 9)
    assert graph.weight is not None
    assert (graph.shape, graph.nnz) == ((7, 9), 6)
    assert (graph.indices.dtype, graph.weight.dtype) == (torch.int32, torch.float32)


def test_the_arrays_of_the_log_are_left_as_they_were() -> None:
    before = USER.copy(), ITEM.copy(), WEIGHT.copy()
    bipartite(USER, ITEM, 5, 4, WEIGHT)
    assert all(np.array_equal(a, b) for a, b in zip(before, (USER, ITEM, WEIGHT), strict=True))


def test_a_touch_counts_half_after_every_half_life() -> None:
    days = np.array([0, 3, 10, 17, 24])
    left = decay(days * 86_400 + 1_600_000_000, 7.0)
    assert left.dtype == np.float32
    np.testing.assert_allclose(left, [0.5 ** ((24 - day) / 7) for day in days], rtol=1e-6)


def test_the_last_touch_counts_whole_in_any_order() -> None:
    assert decay(np.array([86_400, 172_800, 0]), 1.0).tolist() == [0.5, 1.0, 0.25]


def test_an_endless_half_life_lets_nothing_fade() -> None:
    assert decay(np.array([0, 10**9]), math.inf).tolist() == [1.0, 1.0]


def test_times_before_1970_fade_too() -> None:
    assert decay(np.array([-172_800, -86_400]), 1.0).tolist() == [0.5, 1.0]
