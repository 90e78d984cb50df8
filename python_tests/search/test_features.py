from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext.search import Categorical, Cell, Integer, LogFloat, SearchSpace
from gnas_ext.search.features import Features, Vector

MIXED = SearchSpace(
    {
        "agg": Categorical(["sum", "mean", "max"]),
        "lr": LogFloat(1e-4, 1e-1, levels=13),
        "deep": Categorical([True, False]),
        "net": Cell(4, ["gcn", "gat", "skip"], identity="skip", when={"deep": [True]}),
    }
)


def cosine(a: Vector, b: Vector, columns: int) -> float:
    dense = np.zeros((2, columns))
    dense[0, a.columns], dense[1, b.columns] = a.values, b.values
    return float(dense[0] @ dense[1])


@settings(deadline=None, max_examples=50)
@given(st.randoms(use_true_random=False))
def test_a_vector_has_length_one_and_each_column_once(rng: random.Random) -> None:
    features = Features(MIXED)
    for _ in range(5):
        vector = features(MIXED.encode(MIXED.sample(rng)))
        assert vector.values @ vector.values == pytest.approx(1)
        assert len(set(vector.columns)) == len(vector.columns)
        assert vector.columns.max() < len(features)


def test_a_vector_does_not_depend_on_what_was_seen_before() -> None:
    rng = random.Random(0)
    sequences = [MIXED.encode(MIXED.sample(rng)) for _ in range(30)]
    forth, back = Features(MIXED), Features(MIXED)
    ahead = [forth(tokens) for tokens in sequences]
    behind = [back(tokens) for tokens in reversed(sequences)][::-1]
    for a, b in zip(ahead, behind, strict=True):
        assert np.array_equal(a.values, b.values)


def test_levels_that_lie_side_by_side_are_alike() -> None:
    space = SearchSpace({"x": Integer(0, 20), "kind": Categorical(["a", "b"])})
    features = Features(space)
    vectors = [features((token, 1)) for token in range(1, 22)]
    near = [cosine(vectors[10], other, len(features)) for other in vectors]
    assert near[:11] == sorted(near[:11])
    assert near[10:] == sorted(near[10:], reverse=True)
    assert cosine(features((1, 1)), features((1, 2)), len(features)) == pytest.approx(0.5)


def test_a_cell_is_seen_through_its_operations_edges_and_shape() -> None:
    cell = Cell(4, [*"abcd"])
    space = SearchSpace({"net": cell})
    features = Features(space)

    def vector(*nodes: tuple[int, str]) -> Vector:
        genotype = {f"net.{place}.op": op for place, (_, op) in enumerate(nodes, start=1)}
        genotype |= {f"net.{place}.from": end for place, (end, _) in enumerate(nodes, start=1) if place > 1}  # type: ignore[misc]
        return features(space.encode(genotype))

    chain = vector((0, "a"), (1, "b"), (2, "c"), (3, "d"))
    one_else = vector((0, "a"), (1, "b"), (2, "c"), (3, "c"))
    star = vector((0, "a"), (0, "b"), (0, "c"), (0, "d"))
    nothing = vector((0, "d"), (0, "d"), (0, "d"), (0, "d"))
    likeness = [cosine(chain, other, len(features)) for other in (chain, one_else, star, nothing)]
    assert likeness == sorted(likeness, reverse=True)
    assert likeness[0] == pytest.approx(1)


def test_idle_nodes_count_for_the_number_of_the_others_alone() -> None:
    with_skip = SearchSpace({"net": Cell(3, ["a", "skip"], identity="skip")})
    features = Features(with_skip)
    idle = features(
        with_skip.encode({"net.1.op": "skip", "net.2.from": 1, "net.2.op": "a", "net.3.from": 2, "net.3.op": "a"})
    )
    inner = features(
        with_skip.encode({"net.1.op": "a", "net.2.from": 1, "net.2.op": "skip", "net.3.from": 2, "net.3.op": "a"})
    )
    assert cosine(idle, inner, len(features)) == pytest.approx(1)
    # An identity beside another node is an output of its own.
    beside = features(
        with_skip.encode({"net.1.op": "skip", "net.2.from": 0, "net.2.op": "a", "net.3.from": 2, "net.3.op": "a"})
    )
    assert cosine(idle, beside, len(features)) < 0.99
