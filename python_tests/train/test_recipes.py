from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from gnas_ext.data.interactions import Interactions
from gnas_ext.errors import InputError
from gnas_ext.evaluate import evaluate
from gnas_ext.models.prior import time_prior
from gnas_ext.train import TrainOptions, fit
from gnas_ext.train.step import Step
from python_tests.logs import touches
from python_tests.train.conftest import equal, losses, make_net, trained
from python_tests.train.recipes import MORE, RECIPES

if TYPE_CHECKING:
    from collections.abc import Callable

# It repeats.


def test_the_same_seed_trains_the_same_model(train: Interactions, any_recipe: dict[str, Any]) -> None:
    one, two = (trained(train, **any_recipe, epochs=2) for _ in range(2))
    assert equal(one.model, two.model)
    assert losses(one) == losses(two)


def test_another_seed_trains_another_model(train: Interactions, recipe: dict[str, Any]) -> None:
    assert not equal(trained(train, **recipe).model, trained(train, **recipe, seed=2).model)


@pytest.mark.parametrize("name", MORE)
def test_it_repeats_exactly_for_any_number_of_threads(name: str, threads: Callable[[int], None]) -> None:
    """On sizes that torch and BLAS divide among threads."""
    large = touches(n_users=300, n_items=200, each=30).select(np.arange(2400))
    recipe = MORE[name] | {"batch": 1200, "epochs": 1, "negatives": 500, "weight_decay": 1.0}
    recipe["net"] = recipe.get("net", {}) | {"dim": 32}
    if "edges_kept" in recipe["net"]:
        recipe["epochs"] = 2  # a mask that moves, and one that stands
    threads(1)
    alone = trained(large, **recipe)
    for number in (2, 3) if name in RECIPES else (3,):
        threads(number)
        again = trained(large, **recipe)
        assert equal(alone.model, again.model)
        assert losses(alone) == losses(again)


# A full sum over items is cut into a part a thread where they are many.
@pytest.mark.parametrize(("loss", "items"), [("bpr", 200), ("softmax", 200), ("multinomial", 40_000)])
def test_the_gradient_of_the_priors_weight_repeats_for_any_number_of_threads(
    loss: str, items: int, threads: Callable[[int], None]
) -> None:
    """One number for all scores of a step: seen alone, for Adam hides its last bits."""
    large = touches(n_users=300, n_items=200, each=30)
    if items > 200:
        large = Interactions(large.user, large.item * (items // 200) + (items // 200 - 1))
    options = TrainOptions(loss=loss, negatives=500)  # type: ignore[arg-type]
    gradients = []
    for number in (1, 2, 3, 4):
        threads(number)
        step = Step(make_net(large), large, options, time_prior(large, items, 10.0), torch.Generator())
        step(torch.arange(2048))
        gradients.append(step.prior_weight.grad)
    assert gradients == [gradients[0]] * 4


# It learns.


def test_the_loss_falls(train: Interactions, any_recipe: dict[str, Any]) -> None:
    falling = losses(trained(train, **any_recipe, epochs=10, batch=160))
    assert np.mean(falling[-3:]) < np.mean(falling[:3])


def test_each_user_gets_what_that_user_touched() -> None:
    """Rows are codes: user 3 touched item 3 alone."""
    own = np.arange(8, dtype=np.int32)
    model = trained(Interactions(own, own[::-1].copy()), epochs=60, net={"hops": 1}).model
    assert model.score(own).argmax(1).tolist() == own[::-1].tolist()


def test_codes_without_touches_have_finite_rows(any_recipe: dict[str, Any]) -> None:
    train = Interactions(np.array([0, 4, 4], np.int32), np.array([3, 0, 3], np.int32))
    model = trained(train, **any_recipe).model
    assert (model.n_users, model.n_items) == (5, 4)
    assert model.score(np.arange(5, dtype=np.int32)).isfinite().all()


def test_one_touch_is_enough(any_recipe: dict[str, Any]) -> None:
    """There is nothing to compare it with."""
    one = np.zeros(1, np.int32)
    model = trained(Interactions(one, one, np.zeros(1, np.int64)), **any_recipe).model
    assert model.score(one).isfinite().all()


def test_a_log_in_which_touches_come_twice_will_do(train: Interactions, any_recipe: dict[str, Any]) -> None:
    again = Interactions.concatenate([train, train.select(np.arange(0, len(train), 3))])
    result = trained(again, **any_recipe, epochs=1)
    assert math.isfinite(losses(result)[0])
    assert result.model.item.rows.isfinite().all()


@pytest.mark.parametrize("name", ["softmax", "simplex of the batch", "directau", "bpr mixed", "simgcl", "lazy"])
def test_a_batch_larger_than_the_log_is_the_log(train: Interactions, name: str) -> None:
    one, two = (trained(train, **(MORE[name] | {"batch": batch})) for batch in (len(train), 10 * len(train)))
    assert equal(one.model, two.model)
    assert losses(one) == losses(two)


@pytest.mark.parametrize("name", ["bpr", "softmax", "simplex", "directau", "cosines", "xsimgcl", "lazy", "adagrad"])
def test_what_is_not_a_number_is_not_hidden(train: Interactions, name: str) -> None:
    """Neither by a step nor by the judge."""
    recipe = {key: value for key, value in MORE[name].items() if key not in ("net", "prior_days")}
    net = make_net(train, **MORE[name].get("net", {}))
    with torch.no_grad():
        net.item[3] = math.nan
    result = fit(net, train, TrainOptions(epochs=1, **recipe))
    assert math.isnan(losses(result)[0])
    assert result.model.score(np.arange(40, dtype=np.int32))[:, 3].isnan().all()
    with pytest.raises(InputError, match="with NaN"):
        evaluate(result.model, train, train.select(np.arange(9)))
