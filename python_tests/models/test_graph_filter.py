from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext.data.interactions import Interactions
from gnas_ext.errors import InputError
from gnas_ext.evaluate import SeenItems, top_k_scores
from gnas_ext.models import fit_graph_filter, graph_filter, lowpass
from gnas_ext.models.response import monomial, personalized_pagerank, plateau

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.polynomial import Chebyshev

    Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

USERS, ITEMS = 60, 40
ALL = np.arange(USERS, dtype=np.int32)
LINEAR = partial(monomial, [0.0, 1.0])
CHEBY = partial(plateau, 8, 1.5)
EXACT: dict[str, Any] = {"tolerance": 1e-6, "low_tolerance": 1e-6}


def log(seed: int = 0, n: int = 500) -> Interactions:
    """User 59 and item 39 are in nothing."""
    rng = np.random.default_rng(seed)
    return Interactions(rng.integers(0, USERS - 1, n).astype(np.int32), rng.integers(0, ITEMS - 1, n).astype(np.int32))


def dense(
    train: Interactions,
    response: Callable[..., Chebyshev],
    a: float = 0.5,
    b: float = 0.5,
    e: float = 0.0,
    rank: int = 0,
    weight: float = 0.0,
    f: float = 0.0,
) -> Array:
    """The formula of the module, by a full eigendecomposition in float64."""
    touched = np.zeros((USERS, ITEMS))
    touched[train.user, train.item] = 1
    of_user, of_item = np.maximum(touched.sum(1), 1), np.maximum(touched.sum(0), 1)
    graph = of_user[:, None] ** -a * touched * of_item**-b
    values, vectors = np.linalg.eigh(graph.T @ graph)
    passed = response(1.0 if a == b == 0.5 else values[-1])(values)
    scores: Array = touched * of_item**-e @ (vectors * passed) @ vectors.T * of_item**e
    lead = vectors[:, len(values) - rank :]
    scores += weight * (touched * of_item**-f @ lead @ lead.T * of_item**f)
    return scores


def test_gf_cf_is_a_point() -> None:
    model = fit_graph_filter(
        log(), USERS, ITEMS, response=LINEAR, rank=9, low_weight=0.3, low_exponent=0.5, low_tolerance=1e-6
    )
    np.testing.assert_allclose(model.score(ALL), dense(log(), LINEAR, rank=9, weight=0.3, f=0.5), atol=2e-5)


def test_chebycf_is_a_point() -> None:
    model = fit_graph_filter(
        log(), USERS, ITEMS, response=CHEBY, exponent=0.4, rank=9, low_weight=0.2, low_exponent=0.4, **EXACT
    )
    np.testing.assert_allclose(model.score(ALL), dense(log(), CHEBY, e=0.4, rank=9, weight=0.2, f=0.4), atol=2e-5)


@pytest.mark.parametrize("coefficients", [[0, 2, -1], [0, 0.71, 0.1, -0.01]])
def test_turbo_cf_is_a_point(coefficients: list[float]) -> None:
    response = partial(monomial, coefficients)
    model = fit_graph_filter(log(), USERS, ITEMS, response=response, user_exponent=0.6, item_exponent=0.4)
    np.testing.assert_allclose(model.score(ALL), dense(log(), response, a=0.6, b=0.4), atol=2e-5)


@settings(deadline=None, max_examples=30)
@given(
    response=st.sampled_from([LINEAR, CHEBY, partial(personalized_pagerank, 4, 0.3), partial(monomial, [1.0])]),
    a=st.sampled_from([0.0, 0.5, 0.7]),
    b=st.sampled_from([0.3, 0.5, 1.0]),
    e=st.sampled_from([0.0, 0.4, 0.5]),
    f=st.sampled_from([0.0, 0.4]),
    rank=st.integers(0, ITEMS - 1),
    seed=st.integers(0, 9),
)
def test_every_mixture_follows_the_formula(
    response: Callable[[float], Chebyshev], a: float, b: float, e: float, f: float, rank: int, seed: int
) -> None:
    train = log(seed)
    weight = 0.4 if rank else 0.0
    # A span is told from its neighbour by the gap between them.
    model = fit_graph_filter(
        train,
        USERS,
        ITEMS,
        response=response,
        user_exponent=a,
        item_exponent=b,
        exponent=e,
        rank=rank,
        low_weight=weight,
        low_exponent=f,
        **EXACT,
    )
    expected = dense(train, response, a, b, e, rank, weight, f)
    np.testing.assert_allclose(model.score(ALL), expected, atol=5e-3 * np.abs(expected).max())


def test_vectors_save_products_within_the_tolerance() -> None:
    point: dict[str, Any] = {"response": CHEBY, "rank": 20, "low_weight": 0.2, "exponent": 0.4, "low_exponent": 0.4}
    short = fit_graph_filter(log(), USERS, ITEMS, **point)
    whole = fit_graph_filter(log(), USERS, ITEMS, **point, tolerance=0)
    assert len(short.series) < len(whole.series)
    torch.testing.assert_close(short.score(ALL), whole.score(ALL), atol=2e-3, rtol=0)


def test_copies_of_a_value_that_the_vectors_lack_do_not_spoil_the_polynomial(monkeypatch: pytest.MonkeyPatch) -> None:
    """30 parts that do not touch have a largest value of 1 each; a search by products finds some of them."""
    monkeypatch.setattr(lowpass, "_DENSE", 0)
    rng = np.random.default_rng(0)
    part = np.repeat(np.arange(30), 40)
    user, item = part * 10 + rng.integers(0, 10, len(part)), part * 8 + rng.integers(0, 8, len(part))
    train = Interactions(user.astype(np.int32), item.astype(np.int32))
    point: dict[str, Any] = {"response": CHEBY, "rank": 24, "low_weight": 0.2}
    short, whole = (fit_graph_filter(train, 300, 240, **point, tolerance=tolerance) for tolerance in (1e-4, 0))
    everyone = np.arange(300, dtype=np.int32)
    torch.testing.assert_close(short.score(everyone), whole.score(everyone), atol=2e-3, rtol=0)


def test_items_and_users_in_nothing_score_zero() -> None:
    model = fit_graph_filter(log(), USERS, ITEMS, response=CHEBY, rank=4, low_weight=0.2)
    scores = model.score(ALL)
    assert not scores[:, ITEMS - 1].any()
    assert not scores[USERS - 1].any()


def test_an_empty_log_scores_zero() -> None:
    nothing = Interactions(np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int32))
    assert not fit_graph_filter(nothing, 3, 4, response=CHEBY, rank=2, low_weight=1.0).score(ALL[:3]).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": -1}, "rank and tolerance of 0 or more"),
        ({"tolerance": float("nan")}, "rank and tolerance of 0 or more"),
        ({"rank": 3}, "rank and low_weight both 0 or neither"),
        ({"low_weight": 0.3}, "rank and low_weight both 0 or neither"),
    ],
)
def test_settings_that_make_no_filter_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_graph_filter(log(), USERS, ITEMS, response=LINEAR, **settings)


@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize(("at_once", "with_vectors"), [(7, 504), (7, 14), (4, 10), (64, 504)])
def test_lists_are_those_of_the_scores(
    monkeypatch: pytest.MonkeyPatch, at_once: int, with_vectors: int, rank: int
) -> None:
    monkeypatch.setattr(graph_filter, "_AT_ONCE", at_once)
    monkeypatch.setattr(graph_filter, "_WITH_VECTORS", with_vectors)
    low = {"rank": rank, "low_weight": 0.2} if rank else {}
    model = fit_graph_filter(log(), USERS, ITEMS, response=CHEBY, **low)  # type: ignore[arg-type]
    assert model.best(ALL[:0], 5, None)[1].shape == (0, 5)
    seen = SeenItems.from_interactions(log(), USERS)
    users = ALL[::-2].copy()
    items, scores = top_k_scores(model, users, 50, seen)
    expected = model.score(users).numpy().copy()
    mine = seen.select(users)
    expected[mine.rows(), mine.items] = -np.inf
    for row, line in enumerate(expected):
        order = np.lexsort((np.arange(ITEMS), -line))
        kept = order[np.isfinite(line[order])]
        left = 50 - len(kept)
        np.testing.assert_allclose(scores[row], np.append(line[kept], [-np.inf] * left), rtol=1e-4, atol=1e-6)
        assert sorted(items[row].tolist()) == sorted([*kept.tolist(), *[-1] * left])


def test_nan_in_a_vector_is_refused_with_its_user() -> None:
    model = fit_graph_filter(log(), USERS, ITEMS, response=CHEBY, rank=4, low_weight=0.2)
    model.vectors[3, 1] = torch.nan
    with pytest.raises(InputError, match="GraphFilter scores user 0 with NaN"):
        top_k_scores(model, ALL, 5)
