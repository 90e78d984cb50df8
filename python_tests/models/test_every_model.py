"""What every model promises, whatever it is made of."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy import sparse

from gnas_ext.data.interactions import Interactions
from gnas_ext.models import (
    Table,
    fit_decayed_popularity,
    fit_ease,
    fit_graph_filter,
    fit_item_knn,
    fit_matrix_factorization,
    fit_popularity,
    fit_recent_popularity,
    fit_rp3beta,
    fit_slim,
)
from gnas_ext.models.response import plateau

if TYPE_CHECKING:
    from collections.abc import Callable

    from gnas_ext.models import Model

    Fit = Callable[[Interactions], Model]

USERS, ITEMS = 40, 25
ALL = np.arange(USERS, dtype=np.int32)


@pytest.fixture
def train() -> Interactions:
    """Users 0 and 39 touched nothing; items 0 and 24 were never touched; some pairs repeat."""
    rng = np.random.default_rng(7)
    return Interactions(
        rng.integers(1, USERS - 1, 300).astype(np.int32),
        rng.integers(1, ITEMS - 1, 300).astype(np.int32),
        np.sort(rng.integers(0, 10**7, 300)),
    )


@pytest.fixture(
    params=[
        "popularity",
        "recent",
        "decayed",
        "item_knn",
        "matrix_factorization",
        "graph_filter",
        "rp3beta",
        "ease",
        "slim",
    ]
)
def fit(request: pytest.FixtureRequest) -> Fit:
    fits: dict[str, Fit] = {
        "popularity": lambda train: fit_popularity(train, USERS, ITEMS),
        "recent": lambda train: fit_recent_popularity(train, USERS, ITEMS),
        "decayed": lambda train: fit_decayed_popularity(train, USERS, ITEMS, half_life_days=7),
        "item_knn": lambda train: fit_item_knn(train, USERS, ITEMS, neighbours=6),
        "matrix_factorization": lambda train: fit_matrix_factorization(train, USERS, ITEMS, dim=4, iterations=2),
        "rp3beta": lambda train: fit_rp3beta(train, USERS, ITEMS, neighbours=6),
        "ease": lambda train: fit_ease(train, USERS, ITEMS),
        "slim": lambda train: fit_slim(train, USERS, ITEMS, neighbours=6, l2=2.0),
        "graph_filter": lambda train: fit_graph_filter(
            train,
            USERS,
            ITEMS,
            response=partial(plateau, 5, 1.5),
            exponent=0.4,
            rank=3,
            low_weight=0.2,
            low_exponent=0.4,
        ),
    }
    return fits[request.param]


def stored_bytes(value: Any) -> int:
    """Bytes of every array that can be reached, found without asking the model."""
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, sparse.csr_array):
        return sum(array.size * array.itemsize for array in (value.data, value.indices, value.indptr))
    if dataclasses.is_dataclass(value):
        return sum(stored_bytes(getattr(value, field.name)) for field in dataclasses.fields(value))
    assert value is None or isinstance(value, int | float), f"the suite does not know how {type(value)} is stored"
    return 0


def test_knows_its_size(fit: Fit, train: Interactions) -> None:
    model = fit(train)
    assert (model.n_users, model.n_items) == (USERS, ITEMS)


def test_scores_all_items_in_float32_on_the_cpu(fit: Fit, train: Interactions) -> None:
    scores = fit(train).score(ALL[3:7])
    assert (scores.shape, scores.dtype, scores.device.type) == ((4, ITEMS), torch.float32, "cpu")
    assert scores.isfinite().all()


def test_scores_follow_the_order_of_the_users(fit: Fit, train: Interactions) -> None:
    model = fit(train)
    some = np.array([9, 2, 9], dtype=np.int32)
    torch.testing.assert_close(model.score(some), model.score(ALL)[some])


def test_scores_of_nobody_are_empty(fit: Fit, train: Interactions) -> None:
    assert fit(train).score(ALL[:0]).shape == (0, ITEMS)


def test_scores_are_the_callers_to_write_to(fit: Fit, train: Interactions) -> None:
    model = fit(train)
    before = model.score(ALL)
    model.score(ALL).fill_(-torch.inf)
    assert torch.equal(model.score(ALL), before)


def test_users_without_items_get_finite_scores(fit: Fit, train: Interactions) -> None:
    assert fit(train).score(ALL[[0, USERS - 1]]).isfinite().all()


def test_items_without_users_score_zero(fit: Fit, train: Interactions) -> None:
    assert not fit(train).score(ALL)[:, [0, ITEMS - 1]].any()


def test_the_same_log_gives_the_same_model(fit: Fit, train: Interactions) -> None:
    assert torch.equal(fit(train).score(ALL), fit(train).score(ALL))


def test_the_fit_leaves_the_log_as_it_was(fit: Fit, train: Interactions) -> None:
    before = train.select(np.arange(len(train)))
    fit(train)
    assert train.timestamp is not None
    assert before.timestamp is not None
    assert np.array_equal(train.user, before.user)
    assert np.array_equal(train.item, before.item)
    assert np.array_equal(train.timestamp, before.timestamp)


def test_bytes_are_those_of_everything_stored(fit: Fit, train: Interactions) -> None:
    model = fit(train)
    assert model.size_bytes() == stored_bytes(model) > 0


def test_the_suite_counts_scales_too() -> None:
    assert stored_bytes(Table(torch.zeros(3, 2, dtype=torch.int8), torch.ones(3))) == 3 * 2 + 3 * 4
