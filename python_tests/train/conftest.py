from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from gnas_ext.data import n_items, n_users
from gnas_ext.graph import bipartite
from gnas_ext.models.lightgcn import LightGCN
from gnas_ext.models.prior import time_prior
from gnas_ext.train import TrainOptions, fit
from python_tests.logs import touches
from python_tests.train.recipes import MORE, RECIPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from gnas_ext.data import Interactions
    from gnas_ext.models import FactorModel
    from gnas_ext.train import Epoch, Fit


@pytest.fixture
def train() -> Interactions:
    return touches()


@pytest.fixture(params=RECIPES)
def recipe(request: pytest.FixtureRequest) -> dict[str, Any]:
    return RECIPES[request.param]


@pytest.fixture(params=MORE)
def any_recipe(request: pytest.FixtureRequest) -> dict[str, Any]:
    return MORE[request.param]


def make_net(train: Interactions, seed: int = 0, **options: Any) -> LightGCN:
    graph = bipartite(train.user, train.item, n_users(train), n_items(train))
    generator = torch.Generator().manual_seed(seed)
    chosen: dict[str, Any] = {"dim": 6, "hops": 2, "generator": generator}
    return LightGCN(graph, **(chosen | options))


def trained(
    train: Interactions,
    *,
    prior_days: float | None = None,
    net: dict[str, Any] | None = None,
    validate: Callable[[FactorModel], float] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    **options: Any,
) -> Fit:
    """A small model trained from scratch: 3 passes of 64 touches a step, unless options say otherwise."""
    prior = None if prior_days is None else time_prior(train, n_items(train), prior_days)
    chosen: dict[str, Any] = {"epochs": 3, "batch": 64, "lr": 0.02, "seed": 1}
    return fit(make_net(train, **(net or {})), train, TrainOptions(**(chosen | options)), prior, validate, on_epoch)


def equal(one: FactorModel, two: FactorModel) -> bool:
    """Whether two models are the same to the last bit."""
    pairs = ((one.user.rows, two.user.rows), (one.item.rows, two.item.rows), (one.prior, two.prior))
    return all(a is b is None or (a is not None and b is not None and torch.equal(a, b)) for a, b in pairs)


def losses(result: Fit) -> list[float]:
    return [epoch.loss for epoch in result.epochs]


def scripted(*scores: float) -> Callable[[FactorModel], float]:
    """A validation that gives these scores, whatever the model."""
    coming = iter(scores)
    return lambda model: next(coming)
