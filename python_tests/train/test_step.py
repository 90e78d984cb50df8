from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
import torch

from gnas_ext.models.prior import time_prior
from gnas_ext.ops import spmm
from gnas_ext.train import Loss, TrainOptions, fit
from gnas_ext.train.step import Step
from python_tests.train.conftest import make_net, scripted, trained

if TYPE_CHECKING:
    from gnas_ext.data.interactions import Interactions

# How far it goes.


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


# What it costs.


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


@pytest.mark.parametrize("loss", ["cosine_contrastive", "alignment_uniformity"])
def test_a_prior_that_a_loss_would_not_train_is_refused(train: Interactions, loss: str) -> None:
    with pytest.raises(ValueError, match=f"expected no prior with loss '{loss}'"):
        trained(train, loss=loss, prior_days=9.0)
