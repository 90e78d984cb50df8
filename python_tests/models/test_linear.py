"""The item–item models beside their formulas, written densely."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext.data.interactions import Interactions
from gnas_ext.errors import InputError
from gnas_ext.models import fit_ease, fit_rp3beta, fit_slim, fit_walk, slim

if TYPE_CHECKING:
    from torch import Tensor

    Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

USERS, ITEMS = 50, 24
ALL = np.arange(USERS, dtype=np.int32)


def log(seed: int = 0) -> Interactions:
    """User 49 and item 23 are in nothing."""
    rng = np.random.default_rng(seed)
    return Interactions(
        rng.integers(0, USERS - 1, 300).astype(np.int32), rng.integers(0, ITEMS - 1, 300).astype(np.int32)
    )


def touched(train: Interactions) -> Array:
    matrix = np.zeros((USERS, ITEMS))
    matrix[train.user, train.item] = 1
    return matrix


@settings(deadline=None, max_examples=25)
@given(
    source=st.sampled_from([0.0, 0.4, 1.0]),
    user=st.sampled_from([0.5, 1.2]),
    target=st.sampled_from([0.0, 0.6]),
    power=st.sampled_from([0.7, 1.0]),
    keep_self=st.booleans(),
)
def test_a_walk_is_the_product_of_its_steps(
    source: float, user: float, target: float, power: float, keep_self: bool
) -> None:
    matrix = touched(log())
    of_user, of_item = np.maximum(matrix.sum(1), 1), np.maximum(matrix.sum(0), 1)
    walk = (of_item[:, None] ** -source * matrix.T * of_user**-user) @ (matrix * of_item**-target)
    if not keep_self:
        np.fill_diagonal(walk, 0)
    model = fit_walk(
        log(), USERS, ITEMS, source=source, user=user, target=target, power=power, neighbours=99, keep_self=keep_self
    )
    np.testing.assert_allclose(model.similarity.toarray(), walk**power, rtol=1e-4)


def test_what_is_kept_of_a_row_has_a_sum_of_1_where_asked() -> None:
    plain, normal = (
        fit_walk(log(), USERS, ITEMS, source=0.3, user=0.7, target=0.4, power=1.4, neighbours=4, normalize=normalize)
        for normalize in (False, True)
    )
    kept = plain.similarity.toarray()
    sums = kept.sum(1, keepdims=True)
    assert (sums == 0).any()  # of an item that nobody touched nothing is kept
    np.testing.assert_allclose(normal.similarity.toarray(), kept / np.where(sums > 0, sums, 1), rtol=1e-5)
    same = fit_rp3beta(log(), USERS, ITEMS, alpha=0.9, beta=0.2, neighbours=3, normalize=True).similarity
    np.testing.assert_allclose(same.sum(1), (sums[:, 0] > 0).astype(float), rtol=1e-5)


def test_rp3beta_is_a_walk_of_which_the_best_is_kept() -> None:
    matrix = touched(log())
    of_user, of_item = np.maximum(matrix.sum(1), 1), np.maximum(matrix.sum(0), 1)
    out, home = (matrix.T / of_item[:, None]) ** 0.8, (matrix / of_user[:, None]) ** 0.8
    walk = out @ home / of_item**0.4
    np.fill_diagonal(walk, 0)
    model = fit_rp3beta(log(), USERS, ITEMS, alpha=0.8, beta=0.4, neighbours=5)
    kept = model.similarity.toarray()
    # By value: of entries that are equal but for rounding, either may be kept.
    np.testing.assert_allclose(np.sort(kept)[:, -5:], np.sort(walk)[:, -5:], rtol=1e-4)
    np.testing.assert_allclose(kept[kept > 0], walk[kept > 0], rtol=1e-4)
    np.testing.assert_allclose(model.score(ALL), matrix @ kept, rtol=1e-4, atol=1e-7)


def test_ease_is_its_closed_form() -> None:
    matrix = touched(log())
    inverse = np.linalg.inv(matrix.T @ matrix + 7 * np.eye(ITEMS))
    weight = -inverse / np.diag(inverse)
    np.fill_diagonal(weight, 0)
    np.testing.assert_allclose(fit_ease(log(), USERS, ITEMS, l2=7).score(ALL), matrix @ weight, atol=1e-5)


def test_ease_refuses_a_catalogue_that_is_too_large() -> None:
    with pytest.raises(InputError, match=r"24 items are 0\.0 GB, and at most 23 are taken; slim is"):
        fit_ease(log(), USERS, ITEMS, max_items=23)


def test_slim_on_all_items_is_a_ridge_regression_a_column() -> None:
    matrix = touched(log())
    scores = fit_slim(log(), USERS, ITEMS, neighbours=ITEMS, l2=5).score(ALL)
    for item in range(ITEMS - 1):
        near = np.flatnonzero(matrix.T @ matrix[:, item])
        near = near[near != item]
        weight = np.linalg.solve(
            matrix[:, near].T @ matrix[:, near] + 5 * np.eye(len(near)), matrix[:, near].T @ matrix[:, item]
        )
        np.testing.assert_allclose(scores[:, item], matrix[:, near] @ weight, atol=1e-4)


@pytest.mark.parametrize("positive", [True, False])
def test_slim_is_optimal_where_weights_are_bound(positive: bool) -> None:
    """By the conditions of Karush, Kuhn and Tucker, column by column."""
    matrix, l1, l2 = touched(log()), 0.6, 3.0
    weight = fit_slim(log(), USERS, ITEMS, neighbours=ITEMS, l1=l1, l2=l2, positive=positive).similarity.toarray()
    assert weight.any()
    assert not np.diag(weight).any()
    gradient = matrix.T @ (matrix @ weight - matrix) + l2 * weight
    np.fill_diagonal(gradient, 0)
    free = weight != 0
    np.testing.assert_allclose(gradient[free], -l1 * np.sign(weight[free]), atol=2e-3)
    together = matrix.T @ matrix > 0
    bound = together & ~free & ~np.eye(ITEMS, dtype=bool)
    assert (gradient[bound] >= -l1 - 2e-3).all()
    if positive:
        assert (weight >= 0).all()
    else:
        assert (gradient[bound] <= l1 + 2e-3).all()


def test_slim_ends_at_once_where_it_would_take_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slim, "_BLOCK_FLOATS", 6 * 6)  # a system at a time
    solved: list[int] = []

    def slow(gram: Tensor, *given: Any) -> Tensor:
        solved.append(len(gram))
        time.sleep(0.02)
        return gram[:, 0]

    monkeypatch.setattr(slim, "_solve", slow)
    fit_slim(log(), USERS, ITEMS, neighbours=6, seconds=100.0)
    assert len(solved) == ITEMS - 1
    solved.clear()
    with pytest.raises(TimeoutError, match=r"would take \d+ s, and may take 0; take fewer neighbours"):
        fit_slim(log(), USERS, ITEMS, neighbours=6, seconds=0.1)
    assert len(solved) < ITEMS / 2


def test_blocks_do_not_change_slim(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fit_slim(log(), USERS, ITEMS, neighbours=6)
    monkeypatch.setattr(slim, "_BLOCK_FLOATS", 6 * 6 * 2)
    np.testing.assert_allclose(
        fit_slim(log(), USERS, ITEMS, neighbours=6).similarity.toarray(), whole.similarity.toarray(), atol=1e-6
    )


@pytest.mark.parametrize(
    ("fit", "options", "message"),
    [
        (fit_walk, {"source": 1, "user": 1, "target": 0, "neighbours": 0}, "neighbours >= 1"),
        (fit_walk, {"source": 1, "user": 1, "target": float("nan")}, "finite powers"),
        (fit_walk, {"source": 1, "user": 1, "target": 0, "power": 0}, "power above 0"),
        (fit_slim, {"neighbours": 0}, "neighbours >= 1"),
        (fit_slim, {"l1": -1}, "l1 >= 0"),
        (fit_slim, {"l2": 0}, "l2 > 0"),
        (fit_ease, {"l2": 0}, "l2 above 0"),
    ],
)
def test_settings_outside_are_refused(fit: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(log(), USERS, ITEMS, **options)
