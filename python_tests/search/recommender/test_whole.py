from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from gnas_ext.data import Interactions, n_items
from gnas_ext.search.recommender import (
    build,
    classic_space,
    embedding_space,
    space_and_recipes,
    training_free_space,
    whole_recipes,
    whole_space,
)
from gnas_ext.search.recommender.whole import plain
from python_tests import logs

if TYPE_CHECKING:
    from gnas_ext.data import Split


def test_a_genotype_is_one_of_its_familys_space_and_back(split: Split) -> None:
    whole = whole_space(split.train)
    parts = [embedding_space(split.train), training_free_space(n_items(split.train)), classic_space(split.train)]
    homes = {family: part for part in parts for family in part.genes["family"].values}
    rng = random.Random(0)
    drawn = [whole.sample(rng) for _ in range(300)]
    assert {genotype["family"] for genotype in drawn} == set(homes)
    for genotype in drawn:
        # Every gene of the family's own space is there, with one of its values, and no other.
        home = homes[genotype["family"]]
        assert home.genotype(plain(genotype)).as_dict() == plain(genotype)


def test_it_has_as_many_genotypes_as_its_parts(split: Split) -> None:
    parts = [embedding_space(split.train), training_free_space(n_items(split.train)), classic_space(split.train)]
    assert whole_space(split.train).size() == sum(part.size() for part in parts)


def test_recipes_are_of_the_space_and_of_many_families(split: Split) -> None:
    space = whole_space(split.train)
    recipes = [space.genotype(recipe) for recipe in whole_recipes(space, split.train)]
    assert len(set(recipes)) == len(recipes)
    assert len({recipe["family"] for recipe in recipes}) >= 7


def test_recipes_suit_the_log() -> None:
    batches, places = [], []
    for count, times in ((1, True), (1, False), (2_000, True)):
        one = logs.touches(times=times)
        timestamp = None if one.timestamp is None else np.tile(one.timestamp, count)
        train = Interactions(np.tile(one.user, count), np.tile(one.item, count), timestamp)
        recipes = whole_recipes(whole_space(train), train)
        small = next(recipe for recipe in recipes if recipe.get("dim") == 16)
        batches.append(small["batch"])
        places.append(recipes.index(small))
    # A step of a large log is larger, and without times small models beside a popularity come late.
    assert batches[:2] == [2048, 2048]
    assert batches[2] > 2048
    assert places[0] == places[2] == 1 < places[1]


@pytest.mark.parametrize("family", ["graph_filter", "item_knn", "matrix_factorization"])
def test_a_genotype_builds_what_its_family_builds(split: Split, family: str) -> None:
    rng = random.Random(1)
    space = whole_space(split.train)
    genotype = next(g for g in iter(lambda: space.sample(rng), None) if g["family"] == family)
    one, two = build(genotype, split.train).model, build(plain(genotype), split.train).model
    users = np.arange(one.n_users, dtype=np.int32)
    assert torch.equal(one.score(users), two.score(users))


def test_an_unknown_choice_is_refused(split: Split) -> None:
    with pytest.raises(ValueError, match="expected models of graph, trained, training-free, classic, all, got 'deep'"):
        space_and_recipes("deep", split.train)  # type: ignore[arg-type]
