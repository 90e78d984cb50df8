from __future__ import annotations

import math
from dataclasses import replace
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
import torch

from gnas_ext.data.interactions import Interactions
from gnas_ext.errors import InputError
from gnas_ext.evaluate import evaluate
from gnas_ext.graph import decay
from gnas_ext.models.prior import time_prior
from gnas_ext.ops import spmm
from gnas_ext.train import Loss, TrainOptions, fit, loop
from gnas_ext.train.step import Step
from python_tests.logs import touches
from python_tests.train.conftest import equal, make_net, trained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gnas_ext.models import FactorModel
    from gnas_ext.train import Epoch, Fit

# What draws or sums, for all that is asked of training: the losses that draw, dropout, recency, priors.
RECIPES: dict[str, dict[str, Any]] = {
    "bpr": {"loss": "bpr"},
    "softmax": {"loss": "softmax", "negatives": 16},
    "all": {
        "loss": "softmax",
        "negatives": 16,
        "half_life_days": 20.0,
        "prior_days": 10.0,
        "net": {"edge_dropout": 0.4, "combine": "halving"},
    },
    "no users": {"loss": "bpr", "prior_days": 10.0, "net": {"free_users": False}, "half_life_days": 5.0},
}
# And all else, for what may depend on it: that it repeats, and that it learns.
MORE: dict[str, dict[str, Any]] = RECIPES | {
    "simplex": {"loss": "cosine_contrastive", "negatives": 16, "margin": 0.3, "avoid_known": True},
    "simplex of the batch": {"loss": "cosine_contrastive", "negatives_from": "batch", "margin": 0.3},
    "directau": {"loss": "alignment_uniformity", "cosine_lr": True},
    "cosines": {"loss": "softmax", "similarity": "cosine", "temperature": 0.2, "corrected": False, "negatives": 16},
    "batch": {"loss": "softmax", "negatives_from": "batch", "prior_days": 10.0},
    "mixed": {"loss": "softmax", "negatives_from": "mixed", "negatives": 15, "avoid_known": True, "cosine_lr": True},
    "bpr by popularity": {"similarity": "cosine", "temperature": 0.3, "negatives_from": "popularity"},
    "bpr in the batch": {"negatives_from": "batch", "avoid_known": True},
    "bpr mixed": {"negatives_from": "mixed", "avoid_known": True, "cosine_lr": True},
    "simgcl": {"contrast": "views", "net": {"edge_dropout": 0.2}},
    "xsimgcl": {"contrast": "layers", "loss": "softmax", "negatives": 16, "similarity": "cosine"},
    "multinomial": {"loss": "multinomial", "prior_days": 10.0, "weight_decay": 0.01},
    "multinomial of cosines": {"loss": "multinomial", "similarity": "cosine", "temperature": 0.2, "cosine_lr": True},
    "multinomial without hops": {"loss": "multinomial", "optimizer": "rowwise_adagrad", "net": {"hops": 0}},
    "lazy": {"optimizer": "lazy_adam", "loss": "softmax", "negatives": 16, "prior_days": 10.0, "net": {"hops": 0}},
    "lazy simplex": {"optimizer": "lazy_adam", "loss": "cosine_contrastive", "margin": 0.3, "net": {"hops": 0}},
    "adagrad": {"optimizer": "rowwise_adagrad", "lr": 0.1, "net": {"hops": 0}, "cosine_lr": True},
    "learned": {"net": {"combine": "learned", "edge_dropout": 0.3, "loop": 0.2, "residual": 0.1}},
    "concat": {"loss": "alignment_uniformity", "net": {"combine": "concat"}},
    "attention": {"net": {"attention": True, "combine": "learned"}},
    "relu": {"net": {"transform": "relu", "combine": "last"}},
}


@pytest.fixture(params=RECIPES)
def recipe(request: pytest.FixtureRequest) -> dict[str, Any]:
    return RECIPES[request.param]


@pytest.fixture(params=MORE)
def any_recipe(request: pytest.FixtureRequest) -> dict[str, Any]:
    return MORE[request.param]


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def losses(result: Fit) -> list[float]:
    return [epoch.loss for epoch in result.epochs]


def scripted(*scores: float) -> Callable[[FactorModel], float]:
    """A validation that gives these scores, whatever the model."""
    coming = iter(scores)
    return lambda model: next(coming)


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


def test_the_learning_rate_falls_to_nothing_along_half_a_cosine(train: Interactions) -> None:
    step = Step(make_net(train), train, TrainOptions(lr=0.4), None, torch.Generator(), touches=160)
    (optimizer,) = step.optimizers
    rates = []
    for _ in range(8):
        rates.append(optimizer.param_groups[0]["lr"])
        step(torch.arange(20))
    assert rates == pytest.approx([0.2 + 0.2 * math.cos(math.pi * done / 8) for done in range(8)])
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0)


def test_it_falls_over_all_passes(train: Interactions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ends training sooner; and the rate of the prior's weight falls with it."""
    seen: list[list[float]] = []
    step = Step.__call__

    def looking(self: Step, rows: torch.Tensor) -> float:
        seen.append([group["lr"] for group in self.optimizers[0].param_groups])
        return step(self, rows)

    monkeypatch.setattr(Step, "__call__", looking)
    trained(train, cosine_lr=True, prior_days=9.0, epochs=4, patience=1, batch=200, validate=scripted(0.3, 0.2))
    falling = [0.5 + 0.5 * math.cos(math.pi * shown / (4 * 480)) for shown in (0, 200, 400, 480, 680, 880)]
    assert [rates[0] for rates in seen] == pytest.approx([0.02 * part for part in falling])
    assert [rates[1] for rates in seen] == pytest.approx([0.02 * part for part in falling])


def test_the_penalty_keeps_embeddings_small(train: Interactions) -> None:
    free, held = (trained(train, weight_decay=weight, epochs=10).model for weight in (0.0, 1.0))
    assert held.item.rows.norm() < 0.7 * free.item.rows.norm()


def dense_embeddings(train: Interactions, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What a net of `make_net` scores with before any step, by dense algebra."""
    net = make_net(train, seed)
    touched = spmm(net.graph, torch.eye(net.graph.cols))
    user, item = net.user.detach(), net.item.detach()
    one, two = (touched @ item, touched.T @ user), (touched @ touched.T @ user, touched.T @ touched @ item)
    return (user + one[0] + two[0]) / 3, (item + one[1] + two[1]) / 3


@pytest.mark.parametrize("with_prior", [False, True])
def test_the_first_bpr_step_costs_what_the_formula_says(train: Interactions, with_prior: bool) -> None:
    got = trained(train, epochs=1, batch=len(train), weight_decay=0.5, prior_days=9.0 if with_prior else None)
    generator = torch.Generator().manual_seed(1)
    rows = torch.randperm(len(train), generator=generator)
    drawn = torch.randint(30, (len(train),), generator=generator)
    users, items = dense_embeddings(train, seed=0)
    user, item = torch.from_numpy(train.user).long()[rows], torch.from_numpy(train.item).long()[rows]
    difference = (users[user] * (items[item] - items[drawn])).sum(1)
    if with_prior:
        prior = time_prior(train, 30, 9.0)
        popularity = prior.table[prior.moment[rows]]
        difference += popularity.gather(1, item[:, None])[:, 0] - popularity.gather(1, drawn[:, None])[:, 0]
    net = make_net(train)
    penalty = (net.user[user].square().sum() + net.item[item].square().sum()) / len(train)
    wanted = torch.log1p(torch.exp(-difference)).mean() + 0.5 * penalty
    assert got.epochs[0].loss == pytest.approx(float(wanted.detach()), rel=1e-4)


def test_the_first_softmax_step_costs_what_the_formula_says(train: Interactions) -> None:
    got = trained(train, loss="softmax", negatives=11, epochs=1, batch=len(train), weight_decay=0.0, prior_days=9.0)
    generator = torch.Generator().manual_seed(1)
    rows = torch.randperm(len(train), generator=generator)
    drawn = torch.randint(30, (11,), generator=generator).tolist()
    users, items = dense_embeddings(train, seed=0)
    prior = time_prior(train, 30, 9.0)
    costs = []
    for row in rows.tolist():
        own = int(train.item[row])
        scores = items @ users[train.user[row]] + prior.table[prior.moment[row]]
        others = sum(math.exp(scores[item]) for item in drawn if item != own) * 30 / 11
        costs.append(math.log(math.exp(scores[own]) + others) - float(scores[own]))
    assert got.epochs[0].loss == pytest.approx(np.mean(costs), rel=1e-4)


@pytest.mark.parametrize("loss", ["cosine_contrastive", "alignment_uniformity"])
def test_the_first_step_of_a_loss_of_cosines_costs_what_its_formula_says(train: Interactions, loss: str) -> None:
    """Without a temperature, and with the cosines of what scores."""
    options: dict[str, Any] = {"margin": 0.1, "negative_weight": 7.0, "uniformity": 2.0, "temperature": 0.2}
    got = trained(train, loss=loss, negatives_from="batch", epochs=1, batch=len(train), weight_decay=0.0, **options)
    users, items = (torch.nn.functional.normalize(side) for side in dense_embeddings(train, seed=0))
    touching, touched = users[train.user], items[train.item]
    if loss == "cosine_contrastive":
        counting = torch.from_numpy(train.item[:, None] != train.item)
        missed = ((touching @ touched.T - 0.1).clamp(min=0) * counting).sum(1) / counting.sum(1)
        wanted = (1 - (touching * touched).sum(1) + 7 * missed).mean()
    else:
        crowded = [torch.pdist(side).square().mul(-2).exp().mean().log() for side in (touching, touched)]
        wanted = (touching - touched).square().sum(1).mean() + 2 * (crowded[0] + crowded[1]) / 2
    assert got.epochs[0].loss == pytest.approx(float(wanted), rel=1e-4)


# What is served.


@pytest.mark.parametrize("loss", get_args(Loss))
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_scores_are_similarities_by_temperature(
    train: Interactions, loss: str, similarity: str, temperature: float
) -> None:
    """Two of the losses know neither temperatures nor lengths."""
    options: dict[str, Any] = {"loss": loss, "similarity": similarity, "temperature": temperature}
    net = make_net(train, edge_dropout=0.3)
    result = fit(net, train, TrainOptions(epochs=2, batch=100, lr=0.05, **options))
    users, items = net.eval()()
    if similarity == "cosine" or loss in ("cosine_contrastive", "alignment_uniformity"):
        wanted = torch.nn.functional.cosine_similarity(users[:, None], items[None], dim=2)
    else:
        wanted = users @ items.T
    if loss in ("bpr", "softmax", "multinomial"):
        wanted = wanted / temperature
    torch.testing.assert_close(result.model.score(np.arange(40, dtype=np.int32)), wanted.detach(), rtol=1e-4, atol=1e-5)


def test_the_prior_is_served_beside_the_similarity(train: Interactions) -> None:
    """As it was trained: no temperature divides it."""
    model = trained(train, loss="softmax", similarity="cosine", temperature=0.5, prior_days=9.0).model
    assert model.prior is not None
    users = np.arange(40, dtype=np.int32)
    cosines = torch.nn.functional.cosine_similarity(model.user.rows[:, None], model.item.rows[None], dim=2)
    torch.testing.assert_close(model.score(users), 2 * cosines + model.prior, rtol=1e-4, atol=1e-5)


# The prior.


def test_without_a_prior_the_model_has_none(train: Interactions) -> None:
    assert trained(train).model.prior is None


def test_the_served_prior_is_the_popularity_of_now_with_one_learned_weight(train: Interactions) -> None:
    prior = trained(train, prior_days=10.0).model.prior
    assert prior is not None
    ratio = prior / time_prior(train, 30, 10.0).now
    torch.testing.assert_close(ratio, ratio[0].expand(30))
    assert ratio[0] != 1


# What is drawn.


def drawn_rows(train: Interactions, seed: int = 0, **options: Any) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    batches = loop._batches(train, TrainOptions(**options), torch.Generator().manual_seed(seed))
    return torch.cat(batches).numpy()


@pytest.mark.parametrize("stamped", [True, False])
def test_a_pass_shows_every_touch_once(train: Interactions, stamped: bool) -> None:
    log = train if stamped else replace(train, timestamp=None)
    rows = drawn_rows(log, half_life_days=math.inf if stamped else 3.0)
    assert sorted(rows.tolist()) == list(range(len(train)))
    assert rows.tolist() != list(range(len(train)))


def test_recent_touches_are_drawn_as_often_as_they_weigh(train: Interactions) -> None:
    assert train.timestamp is not None
    times_drawn = np.zeros(len(train))
    for seed in range(300):
        times_drawn += np.bincount(drawn_rows(train, seed, half_life_days=15.0), minlength=len(train))
    weight = decay(train.timestamp, 15.0)
    wanted = weight / weight.sum() * times_drawn.sum()
    decile = np.arange(len(train)) * 10 // len(train)
    np.testing.assert_allclose(np.bincount(decile, times_drawn), np.bincount(decile, wanted), rtol=0.06)


def test_steps_have_the_batch_size(train: Interactions) -> None:
    batches = loop._batches(train, TrainOptions(batch=100), torch.Generator())
    assert [len(batch) for batch in batches] == [100, 100, 100, 100, 80]


@pytest.mark.parametrize("batch", [1, 30, 100, 10_000])
def test_a_softmax_over_all_items_takes_users_whole(batch: int) -> None:
    rng = np.random.default_rng(1)
    # User 3 has no touch, user 5 more than a batch.
    user = rng.permutation(np.repeat([0, 1, 2, 4, 5, 6], [5, 9, 1, 30, 140, 20])).astype(np.int32)
    train = Interactions(user, np.zeros(len(user), np.int32))
    batches = loop._batches(train, TrainOptions(loss="multinomial", batch=batch), torch.Generator())
    assert sorted(torch.cat(batches).tolist()) == list(range(len(user)))
    users = [set(user[rows.numpy()].tolist()) for rows in batches]
    assert sum(map(len, users)) == 6
    assert all(users)
    assert len(batches) == {1: 6, 10_000: 1}.get(batch, len(batches))


# When it stops.


def test_it_stops_when_validation_gets_no_better(train: Interactions) -> None:
    result = trained(train, epochs=20, patience=3, validate=scripted(0.1, 0.3, 0.2, 0.3, 0.25, 0.9))
    assert (result.stopped, len(result.epochs), result.best_epoch) == ("patience", 5, 2)
    assert [epoch.score for epoch in result.epochs] == [0.1, 0.3, 0.2, 0.3, 0.25]


def test_the_model_is_that_of_the_best_pass(train: Interactions, recipe: dict[str, Any]) -> None:
    result = trained(train, **recipe, epochs=5, validate=scripted(0.1, 0.3, 0.2, 0.2, 0.2))
    assert equal(result.model, trained(train, **recipe, epochs=2).model)


def test_better_in_time_goes_on_to_the_last_pass(train: Interactions) -> None:
    result = trained(train, epochs=4, patience=2, validate=scripted(0.1, 0.0, 0.2, 0.1))
    assert (result.stopped, len(result.epochs), result.best_epoch) == ("epochs", 4, 3)


def test_without_validation_the_last_pass_is_kept(train: Interactions) -> None:
    result = trained(train, epochs=9, patience=1)
    assert (result.stopped, len(result.epochs), result.best_epoch) == ("epochs", 9, 9)
    assert all(epoch.score is None for epoch in result.epochs)


def test_validation_is_looked_at_and_nothing_more(train: Interactions, recipe: dict[str, Any]) -> None:
    """Scores decide which pass is kept, not what is learned."""
    seen = trained(train, **recipe, epochs=5, validate=scripted(0.5, 0.4, 0.3, 0.2, 0.6))
    unseen = trained(train, **recipe, epochs=5)
    assert losses(seen) == losses(unseen)
    assert equal(seen.model, unseen.model)


def test_validation_gets_the_model_as_it_would_be_served(train: Interactions) -> None:
    given: list[FactorModel] = []

    def validate(model: FactorModel) -> float:
        given.append(model)
        return float(len(given))

    result = trained(train, net={"edge_dropout": 0.5}, validate=validate)
    assert [equal(result.model, model) for model in given] == [False, False, True]


def test_scores_that_are_not_numbers_end_it_with_the_last_model(train: Interactions) -> None:
    result = trained(train, epochs=9, patience=2, validate=lambda model: math.nan)
    assert (result.stopped, len(result.epochs), result.best_epoch) == ("patience", 2, 2)
    assert equal(result.model, trained(train, epochs=2).model)


def test_out_of_time_it_finishes_the_step_at_hand(train: Interactions) -> None:
    result = trained(train, epochs=9, seconds=0.0)
    assert (result.stopped, len(result.epochs)) == ("seconds", 1)
    assert not equal(result.model, trained(train, epochs=1).model)  # a pass has several steps


def test_time_is_wall_time(train: Interactions, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count()
    monkeypatch.setattr("gnas_ext.train.loop.time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
    # One step a pass: the clock is looked at when it starts and at the end of each pass.
    result = trained(train, epochs=9, seconds=3.5, batch=len(train))
    assert (result.stopped, len(result.epochs)) == ("seconds", 4)
    assert [epoch.seconds for epoch in result.epochs] == [1.0, 2.0, 3.0, 4.0]


def test_a_pass_is_cut_between_two_steps(train: Interactions, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks, steps = count(), 0
    monkeypatch.setattr("gnas_ext.train.loop.time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
    step = Step.__call__

    def counted(self: Step, rows: torch.Tensor) -> float:
        nonlocal steps
        steps += 1
        return step(self, rows)

    monkeypatch.setattr(Step, "__call__", counted)
    # Eight steps a pass: the clock is looked at before each but the first, and at the end.
    result = trained(train, epochs=2, seconds=10.5)
    assert (result.stopped, len(result.epochs), steps) == ("seconds", 2, 8 + 3)


def test_the_last_pass_is_not_out_of_time(train: Interactions) -> None:
    assert trained(train, epochs=1, seconds=0.0, batch=len(train)).stopped == "epochs"


def test_each_pass_is_told(train: Interactions) -> None:
    told: list[Epoch] = []
    result = trained(train, on_epoch=told.append)
    assert tuple(told) == result.epochs
    assert [epoch.number for epoch in told] == [1, 2, 3]
    assert [epoch.seconds for epoch in told] == sorted(epoch.seconds for epoch in told)


# What is refused.


@pytest.mark.parametrize("loss", ["cosine_contrastive", "alignment_uniformity"])
def test_a_prior_that_a_loss_would_not_train_is_refused(train: Interactions, loss: str) -> None:
    with pytest.raises(ValueError, match=f"expected no prior with loss '{loss}'"):
        trained(train, loss=loss, prior_days=9.0)


def test_an_empty_log_is_refused(train: Interactions) -> None:
    with pytest.raises(ValueError, match="expected at least one touch"):
        fit(make_net(train), train.select(np.arange(0)), TrainOptions())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"loss": "hinge"},
            "'softmax', 'multinomial', 'cosine_contrastive' or 'alignment_uniformity', got 'hinge'",
        ),
        ({"similarity": "l2"}, "expected similarity 'dot' or 'cosine', got 'l2'"),
        (
            {"negatives_from": "hard"},
            "expected negatives_from 'uniform', 'popularity', 'batch' or 'mixed', got 'hard'",
        ),
        ({"contrast": "edges"}, "expected contrast 'none', 'views' or 'layers', got 'edges'"),
        ({"optimizer": "sgd"}, "expected optimizer 'adam', 'lazy_adam' or 'rowwise_adagrad', got 'sgd'"),
        ({"epochs": 0}, "expected epochs of 1 or more, got 0"),
        ({"patience": 0}, "expected patience of 1 or more, got 0"),
        ({"batch": 0}, "expected batch of 1 or more, got 0"),
        ({"negatives": 0}, "expected negatives of 1 or more, got 0"),
        ({"lr": 0.0}, "expected lr above 0"),
        ({"lr": math.nan}, "expected lr above 0"),
        ({"temperature": 0.0}, "expected temperature above 0, got 0.0"),
        ({"contrast_temperature": -1.0}, "expected contrast_temperature above 0, got -1.0"),
        ({"weight_decay": -1.0}, "weight_decay of 0 or more"),
        ({"negative_weight": -1.0}, "negative_weight of 0 or more, got -1.0"),
        ({"uniformity": math.nan}, "uniformity of 0 or more, got nan"),
        ({"contrast_weight": -0.1}, "contrast_weight of 0 or more, got -0.1"),
        ({"contrast_noise": -0.1}, "contrast_noise of 0 or more, got -0.1"),
        ({"loss": "multinomial", "half_life_days": 9.0}, "half_life_days of inf with loss 'multinomial', got 9.0"),
        ({"half_life_days": 0.0}, "half_life_days above 0"),
    ],
)
def test_options_outside_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainOptions(**options)
