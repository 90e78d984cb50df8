from __future__ import annotations

import itertools
import math
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext.search.selection import (
    Standing,
    crowding_distance,
    dominates,
    hypervolume,
    non_dominated_sort,
    pareto_front,
    standings,
    survivors,
    tournament,
)

if TYPE_CHECKING:
    from gnas_ext.search.selection import Losses


@st.composite
def points(draw: st.DrawFn, largest: int = 25) -> list[Losses]:
    """Points with one to three objectives, on a coarse grid so that ties and equal points are common."""
    width = draw(st.integers(1, 3))
    return draw(st.lists(st.tuples(*[st.integers(0, 5).map(float)] * width), min_size=1, max_size=largest))


def beaten(point: Losses, others: list[Losses]) -> bool:
    """The definition: some other is nowhere worse and somewhere better."""
    return any(
        all(other[i] <= point[i] for i in range(len(point))) and any(other[i] < point[i] for i in range(len(point)))
        for other in others
    )


@settings(deadline=None)
@given(points())
def test_fronts_are_what_is_left_when_the_ones_before_are_peeled_off(losses: list[Losses]) -> None:
    left = set(range(len(losses)))
    expected = []
    while left:
        front = sorted(a for a in left if not beaten(losses[a], [losses[b] for b in left]))
        expected.append(front)
        left -= set(front)
    assert non_dominated_sort(losses) == expected
    assert pareto_front(losses) == expected[0]


@settings(deadline=None)
@given(st.integers(1, 3), st.integers(2, 15), st.randoms(use_true_random=False))
def test_crowding_is_the_room_between_the_nearest_on_each_side(width: int, size: int, rng: random.Random) -> None:
    columns = [rng.sample(range(100), size) for _ in range(width)]
    losses = [tuple(map(float, row)) for row in zip(*columns, strict=True)]
    expected = []
    for point in losses:
        room = 0.0
        for i, column in enumerate(columns):
            below = [x for x in column if x < point[i]]
            above = [x for x in column if x > point[i]]
            room += (min(above) - max(below)) / (max(column) - min(column)) if below and above else math.inf
        expected.append(room)
    assert crowding_distance(losses) == pytest.approx(expected)


@settings(deadline=None)
@given(points(), st.integers(1, 25))
def test_nobody_goes_who_beats_one_that_stays(losses: list[Losses], size: int) -> None:
    stay = survivors(losses, size)
    assert stay == sorted(set(stay))
    assert len(stay) == min(size, len(losses))
    gone = set(range(len(losses))) - set(stay)
    assert not any(dominates(losses[a], losses[b]) for a in gone for b in stay)


def test_on_a_front_the_most_crowded_goes() -> None:
    assert survivors([(0.0, 4.0), (1.0, 2.9), (1.1, 2.8), (2.0, 2.0), (4.0, 0.0)], 4) == [0, 1, 3, 4]


def test_with_one_objective_the_worst_goes_and_of_equals_the_oldest() -> None:
    assert survivors([(3.0,), (1.0,), (2.0,)], 2) == [1, 2]
    assert survivors([(1.0,)] * 5, 3) == [2, 3, 4]


def test_a_tournament_is_won_by_rank_then_room_and_lost_by_the_worst() -> None:
    standing = [Standing(1, -math.inf), Standing(0, -0.5), Standing(0, -2.0)]
    rng = random.Random(0)
    wins = [0, 0, 0]
    for _ in range(9000):
        wins[tournament(standing, rng)] += 1
    assert wins == pytest.approx([1000, 3000, 5000], rel=0.1)


def test_standings_join_rank_and_crowding() -> None:
    losses = [(0.0, 2.0), (1.0, 1.0), (2.0, 0.0), (3.0, 3.0)]
    assert standings(losses) == [(0, -math.inf), (0, -2.0), (0, -math.inf), (1, 0.0)]


@settings(deadline=None)
@given(points(largest=8))
def test_hypervolume_is_the_number_of_unit_cubes_covered(losses: list[Losses]) -> None:
    width = len(losses[0])
    cubes = sum(
        any(all(x <= corner for x, corner in zip(point, cube, strict=True)) for point in losses)
        for cube in itertools.product(range(5), repeat=width)
    )
    assert hypervolume(losses, (5.0,) * width) == cubes


def test_points_beyond_the_reference_cover_nothing() -> None:
    assert hypervolume([(0.0, 7.0), (6.0, 0.0)], (5.0, 5.0)) == 0
    assert hypervolume([], (5.0, 5.0)) == 0
