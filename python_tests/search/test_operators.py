from __future__ import annotations

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext.search import Categorical, Integer, SearchSpace
from gnas_ext.search.operators import crossover, mutate

seeds = st.integers(0, 10**6)


@settings(deadline=None, max_examples=50)
@given(seed=seeds)
def test_children_are_canonical_and_valid(space: SearchSpace, seed: int) -> None:
    rng = random.Random(seed)
    mother, father = space.encode(space.sample(rng)), space.encode(space.sample(rng))
    for child in (crossover(space, mother, father, rng), mutate(space, mother, rng)):
        assert child is None or space.encode(space.decode(child)) == child


@settings(deadline=None, max_examples=50)
@given(seed=seeds)
def test_a_child_of_two_has_its_genes_from_them(space: SearchSpace, seed: int) -> None:
    rng = random.Random(seed)
    mother, father = space.encode(space.sample(rng)), space.encode(space.sample(rng))
    child = crossover(space, mother, father, rng)
    if child is not None:
        for token, a, b in zip(child, mother, father, strict=True):
            # Dead in the child; from a parent; or dead in both, so that there was none to take.
            assert token == 0 or token in (a, b) or (a, b) == (0, 0)


@settings(deadline=None, max_examples=50)
@given(seed=seeds)
def test_a_mutant_differs(space: SearchSpace, seed: int) -> None:
    rng = random.Random(seed)
    tokens = space.encode(space.sample(rng))
    assert mutate(space, tokens, rng) != tokens


def test_crossover_mixes_both_parents_evenly() -> None:
    space = SearchSpace({f"g{place}": Integer(0, 1) for place in range(10)})
    rng = random.Random(0)
    ones = sum(sum(crossover(space, (1,) * 10, (2,) * 10, rng) or ()) - 10 for _ in range(500))
    assert 2300 < ones < 2700


def test_ordinal_genes_prefer_neighbours_and_others_do_not() -> None:
    space = SearchSpace({"ordinal": Integer(0, 20), "nominal": Categorical(list(range(21)))})
    rng = random.Random(0)
    moves: Counter[str] = Counter()
    for _ in range(2000):
        ordinal, nominal = mutate(space, (11, 11), rng) or (0, 0)
        moves["ordinal near"] += abs(ordinal - 11) == 1
        moves["ordinal far"] += abs(ordinal - 11) > 1
        moves["nominal near"] += abs(nominal - 11) == 1
        moves["nominal far"] += abs(nominal - 11) > 1
    assert moves["ordinal near"] > 2 * moves["ordinal far"] > 0
    assert moves["nominal far"] > 5 * moves["nominal near"] > 0


def test_mutation_reaches_every_value() -> None:
    space = SearchSpace({"a": Integer(0, 9)})
    rng = random.Random(0)
    assert {mutate(space, (1,), rng) for _ in range(500)} == {(token,) for token in range(2, 11)}


def test_a_gene_that_comes_alive_gets_a_value() -> None:
    space = SearchSpace({"on": Categorical([True, False]), "depth": Integer(1, 3, when={"on": [True]})})
    rng = random.Random(0)
    assert {mutate(space, (2, 0), rng) for _ in range(100)} == {(1, 1), (1, 2), (1, 3)}


def test_where_nothing_valid_is_near_there_is_no_child() -> None:
    space = SearchSpace({"a": Integer(1, 4), "b": Integer(1, 4)}, valid=lambda g: g == {"a": 2, "b": 2})
    rng = random.Random(0)
    assert mutate(space, (2, 2), rng) is None
    assert crossover(space, (1, 1), (3, 3), rng) is None
