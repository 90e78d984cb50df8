from __future__ import annotations

import random
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from gnas_ext.data.interactions import Interactions
from gnas_ext.errors import InputError
from gnas_ext.models import fit_ease, fit_graph_filter, fit_rp3beta, fit_slim, fit_walk
from gnas_ext.models.response import monomial, personalized_pagerank, plateau
from gnas_ext.search.recommender import build, build_training_free, training_free_recipes, training_free_space
from gnas_ext.search.recommender import training_free as module
from python_tests.logs import touches

USERS, ITEMS = 40, 30
ALL = np.arange(USERS, dtype=np.int32)
SMALL = {**module.CHEBYCF, "rank": 64}


def scores(model: Any) -> torch.Tensor:
    found: torch.Tensor = model.score(ALL)
    return found


def test_published_points_are_on_the_grid() -> None:
    space = training_free_space(ITEMS)
    recipes = training_free_recipes(space)
    assert {recipe["family"] for recipe in recipes} == set(module.FAMILIES)
    for recipe in recipes:
        assert space.genotype(recipe).as_dict() == recipe


def test_every_genotype_can_be_built() -> None:
    space, train = training_free_space(ITEMS), touches()
    rng = random.Random(0)
    for _ in range(40):
        model = build(space.sample(rng), train).model
        assert (model.n_users, model.n_items) == (USERS, ITEMS)
        assert scores(model).isfinite().all()


@pytest.mark.parametrize(
    ("genotype", "fit", "options"),
    [
        (module.RP3BETA, fit_rp3beta, {"alpha": 0.8, "beta": 0.3, "normalize": True, "neighbours": 100}),
        (module.SLIM, fit_slim, {"neighbours": 100, "l2": 100.0}),
        (module.EASE, fit_ease, {"l2": 100.0}),
        (
            module.TURBO_CF_LINEAR,
            fit_walk,
            {"source": 0.4, "user": 1.2, "target": 0.4, "power": 0.7, "keep_self": True, "neighbours": 1000},
        ),
        (
            module.TURBO_CF_SECOND,
            fit_graph_filter,
            {"response": partial(monomial, [0, 1, -0.5, 0]), "user_exponent": 0.6, "item_exponent": 0.4},
        ),
        (
            module.GF_CF,
            fit_graph_filter,
            {"response": partial(monomial, [0, 1]), "rank": 256, "low_weight": 0.3, "low_exponent": 0.5},
        ),
        (
            SMALL,
            fit_graph_filter,
            {
                "response": partial(plateau, 8, 1.5),
                "exponent": 0.4,
                "rank": 64,
                "low_weight": 0.2,
                "low_exponent": 0.4,
            },
        ),
        (
            {
                **module.TURBO_CF_SECOND,
                "response": "pagerank",
                "hops": 3,
                "restart": 0.2,
                "user_exponent": 0.5,
                "item_exponent": 0.5,
            },
            fit_graph_filter,
            {"response": partial(personalized_pagerank, 3, 0.2)},
        ),
    ],
    ids=["rp3beta", "slim", "ease", "turbo linear", "turbo second", "gf-cf", "chebycf", "pagerank"],
)
def test_a_genotype_is_the_model_that_it_names(genotype: dict[str, Any], fit: Any, options: dict[str, Any]) -> None:
    expected = scores(fit(touches(), USERS, ITEMS, **options))
    torch.testing.assert_close(scores(build_training_free(genotype, touches())), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"order": 0}, "gene 'order': expected a whole number from 1 to 16, got 0"),
        ({"low_weight": None}, "gene 'low_weight': expected a number"),
        ({"colour": "red"}, "gene 'colour' is unknown"),
        ({"response": "sine"}, "gene 'response': expected one of"),
        ({"response": "pagerank"}, "gene 'hops' is missing"),
    ],
)
def test_a_genotype_that_names_no_model_is_refused_by_its_gene(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build({**module.CHEBYCF, **change}, touches())


def test_an_unknown_family_is_refused_by_its_gene() -> None:
    with pytest.raises(InputError, match=r"gene 'family': expected one of .*, got 'forest'"):
        build({"family": "forest"}, touches())


def test_ease_is_refused_where_its_table_is_too_large() -> None:
    assert "ease" not in training_free_space(20_001).genes["family"].values
    far = Interactions(np.zeros(1, dtype=np.int32), np.full(1, 20_000, dtype=np.int32))
    with pytest.raises(InputError, match=r"gene 'family': ease keeps a dense table .* 20,001 items are 1\.6 GB"):
        build(module.EASE, far)
