from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from gnas_ext.compress import quantize_model
from gnas_ext.data import Interactions, n_items, n_users
from gnas_ext.graph import bipartite, decay
from gnas_ext.models import FactorModel
from gnas_ext.models.lightgcn import LightGCN
from gnas_ext.models.prior import time_prior
from gnas_ext.search.recommender import build, build_classic, recommender_space, train_genotype
from gnas_ext.train import TrainOptions, fit
from python_tests.logs import touches
from python_tests.search.recommender.conftest import same

if TYPE_CHECKING:
    from gnas_ext.models import Model
    from gnas_ext.train import Epoch

# More items than the negatives of any genotype: a step draws no more than there are.
TRAIN = touches(n_items=1100)
USERS, ITEMS = n_users(TRAIN), n_items(TRAIN)
SPACE = recommender_space(TRAIN)
# All genes live, so that each can matter.
BASE: dict[str, Any] = SPACE.genotype(
    {
        "dim": 8,
        "hops": 2,
        "combine": "halving",
        "free_users": True,
        "user_exponent": 0.25,
        "item_exponent": 0.75,
        "edge_dropout": 0.2,
        "prior": True,
        "prior_half_life_days": SPACE.genes["prior_half_life_days"].values[2],
        "loss": "softmax",
        "negatives": 64,
        "lr": 0.008,
        "weight_decay": 0.01,
        "edge_decay": True,
        "edge_half_life_days": SPACE.genes["edge_half_life_days"].values[6],
        "recent_draws": True,
        "draw_half_life_days": SPACE.genes["draw_half_life_days"].values[5],
        "columns_kept": 1.0,
        "codes": "none",
        "bits": 8,
    }
).as_dict()
# Genes that live only where others have some value.
LIVE: dict[str, dict[str, Any]] = {
    "columns_taught": {"columns_kept": 0.5, "columns_taught": False},
    "columns_kept": {"columns_taught": False},
    "codes": {"columns_a_byte": 2, "rare_share": 0.0},
    "columns_a_byte": {"codes": "nearest", "columns_a_byte": 2},
    "rare_share": {"codes": "refit", "columns_a_byte": 2, "rare_share": 0.0},
    "bits": {"bits_taught": False},
    "bits_taught": {"bits": 2, "bits_taught": False},
}


def built(genotype: dict[str, Any], **options: Any) -> Model:
    chosen: dict[str, Any] = {"epochs": 1, "seed": 3}
    return build(genotype, TRAIN, **(chosen | options)).model


def test_the_genes_end_up_where_they_are_named() -> None:
    assert TRAIN.timestamp is not None
    weight = decay(TRAIN.timestamp, BASE["edge_half_life_days"])
    net = LightGCN(
        bipartite(TRAIN.user, TRAIN.item, USERS, ITEMS, weight, user_exponent=0.25, item_exponent=0.75),
        dim=8,
        hops=2,
        combine="halving",
        edge_dropout=0.2,
        free_users=True,
        generator=torch.Generator().manual_seed(3),
    )
    options = TrainOptions(
        loss="softmax",
        lr=0.008,
        weight_decay=0.01,
        negatives=64,
        half_life_days=BASE["draw_half_life_days"],
        epochs=2,
        seed=4,
    )
    expected = fit(net, TRAIN, options, time_prior(TRAIN, ITEMS, BASE["prior_half_life_days"])).model
    got = train_genotype(BASE, TRAIN, epochs=2, seed=3).model
    assert same(got, expected)


@pytest.mark.parametrize("gene", SPACE.names)
def test_every_value_of_every_gene_makes_another_model(gene: str) -> None:
    """The others as they are; those that the value kills no longer count."""
    genes = BASE | LIVE.get(gene, {})
    base = built(SPACE.genotype(genes).as_dict())
    for value in SPACE.genes[gene].values:
        if value != genes[gene]:
            changed = SPACE.genotype(genes | {gene: value}).as_dict()
            assert not same(built(changed), base), f"{gene}={value} changes nothing"


@pytest.mark.parametrize("bits", [8, 32])
def test_the_model_is_compressed_as_its_genotype_says(bits: int) -> None:
    genotype = BASE | {"bits": bits}
    trained = train_genotype(genotype, TRAIN, epochs=1, seed=3).model
    got = built(genotype)
    assert isinstance(got, FactorModel)
    assert same(got, quantize_model(trained, bits))
    assert got.user.rows.dtype == (torch.int8 if bits == 8 else torch.float32)


def test_the_course_of_training_is_handed_on() -> None:
    told: list[Epoch] = []
    scores = iter([0.1, 0.4, 0.3, 0.2, 0.9])
    result = build(BASE, TRAIN, validate=lambda model: next(scores), epochs=9, patience=2, seed=3, on_epoch=told.append)
    assert (result.best_epoch, result.stopped, len(result.curve)) == (2, "patience", 4)
    assert result.curve == tuple(told)
    assert same(result.model, built(BASE, epochs=2))


def test_seconds_cut_training_short() -> None:
    result = build(BASE, TRAIN, epochs=9, seconds=0.0)
    assert (result.stopped, len(result.curve)) == ("seconds", 1)


def test_a_classic_is_built_without_passes() -> None:
    genotype = {"family": "item_knn", "neighbours": 5, "shrinkage": 3}
    result = build(genotype, TRAIN, validate=lambda model: 1 / 0)
    assert same(result.model, build_classic(genotype, TRAIN))
    assert (result.curve, result.best_epoch, result.stopped) == ((), 0, None)


def test_a_log_without_times_can_be_trained_on() -> None:
    train = touches(times=False)
    space = recommender_space(train)
    genotype = space.genotype({name: BASE[name] for name in space.names if name in BASE}).as_dict()
    model = build(genotype, train, epochs=1, seed=3).model
    assert model.score(np.arange(40, dtype=np.int32)).isfinite().all()


def test_the_model_knows_the_codes_of_its_log_and_no_more() -> None:
    train = Interactions(np.array([0, 3], np.int32), np.array([5, 0], np.int32), np.array([0, 86_400], np.int64))
    model = build(BASE, train, epochs=1).model
    assert (model.n_users, model.n_items) == (4, 6)
    assert model.score(np.arange(4, dtype=np.int32)).isfinite().all()
