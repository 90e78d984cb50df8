from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext.search import Direction, Study
from gnas_ext.search.volume import FIRST, scale_of, volumes

from .test_study import study_of

FIGURES = st.integers(-9, 9).map(float)
STUDIES = st.integers(1, 3).flatmap(lambda n: st.lists(st.tuples(*[FIGURES] * n), min_size=FIRST, max_size=20))


@settings(deadline=None, max_examples=40)
@given(STUDIES)
def test_it_never_falls_and_is_never_zero(losses: list[tuple[float, ...]]) -> None:
    found = volumes(losses)
    assert len(found) == len(losses)
    assert found == sorted(found)
    assert found[0] > 0  # the worst of the first trials counts too


@settings(deadline=None, max_examples=40)
@given(STUDIES)
def test_what_is_shown_live_is_what_the_history_says(losses: list[tuple[float, ...]]) -> None:
    directions: list[Direction] = ["minimize" for _ in losses[0]]
    study = study_of(tuple(directions), *losses)
    whole = volumes(losses)
    for count in range(len(losses) + 1):
        live = Study(study.space, study.directions, study.trials[:count]).relative_hypervolume
        if count < FIRST:
            assert live is None
        else:
            assert live == pytest.approx(whole[count - 1], rel=1e-12)


@settings(deadline=None, max_examples=40)
@given(STUDIES, st.sampled_from([0.25, 1.0, 1024.0]), st.sampled_from([-0.5, 0.0, 64.0]))
def test_the_units_of_an_objective_do_not_matter(losses: list[tuple[float, ...]], factor: float, shift: float) -> None:
    # Where the first trials are all equal in an objective, no range says what its unit is.
    if all(len(set(values)) > 1 for values in zip(*losses[:FIRST], strict=True)):
        other = [(point[0] * factor + shift, *point[1:]) for point in losses]
        assert volumes(other) == pytest.approx(volumes(losses), rel=1e-9)


def test_the_box_of_the_first_trials_is_one() -> None:
    losses = [(float(n), float(FIRST - n)) for n in range(FIRST)]
    assert volumes([*losses, (0.0, 1.0)])[-1] == pytest.approx(1.0)
    assert volumes([*losses, (0.0, 1.0)])[-2] < 1.0


def test_with_one_objective_it_is_how_far_the_best_has_come() -> None:
    losses = [(float(x),) for x in (10, 9, 8, 7, 6, 5, 4, 0)]
    assert volumes([*losses, (-11.0,), (5.0,)])[-3:] == pytest.approx([1.0, 2.0, 2.0])


def test_a_late_outlier_changes_nothing() -> None:
    rng = random.Random(0)
    losses = [(rng.random(), rng.random()) for _ in range(30)]
    calm = volumes(losses)
    assert volumes([*losses[:20], (1e9, 1e9), *losses[20:]]) == [*calm[:20], calm[19], *calm[20:]]


def test_it_is_the_area_that_points_drawn_at_random_find() -> None:
    rng = random.Random(1)
    losses = [(rng.gauss(0, 1), rng.gauss(0, 1)) for _ in range(25)]
    columns = list(zip(*losses[:FIRST], strict=True))
    low = [min(column) for column in columns]
    reference = [max(column) + 0.1 * (max(column) - min(column)) for column in columns]
    ideal = [min(column) for column in zip(*losses, strict=True)]
    box = (reference[0] - ideal[0]) * (reference[1] - ideal[1])
    unit = (reference[0] - low[0]) * (reference[1] - low[1])
    inside = 0
    for _ in range(20_000):
        x, y = rng.uniform(ideal[0], reference[0]), rng.uniform(ideal[1], reference[1])
        inside += any(a <= x and b <= y for a, b in losses)
    assert volumes(losses)[-1] == pytest.approx(inside / 20_000 * box / unit, rel=0.03)


def test_without_enough_trials_there_is_no_scale() -> None:
    assert scale_of([(1.0,)] * (FIRST - 1)) is None
    assert volumes([(1.0,)] * (FIRST - 1)) == []
