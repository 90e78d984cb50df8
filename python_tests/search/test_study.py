from __future__ import annotations

import pytest

from gnas_ext.errors import InputError
from gnas_ext.search import Direction, Integer, SearchSpace, Study, Trial

SPACE = SearchSpace({"x": Integer(0, 99)})


def study_of(directions: tuple[Direction, ...], *values: tuple[float, ...] | None) -> Study:
    """A study whose trials have these values; None for one that failed."""
    trials = [
        Trial(n, SPACE.genotype({"x": n}), "failed" if v is None else "complete", v or (), "" if v else "why")
        for n, v in enumerate(values)
    ]
    return Study(SPACE, directions, trials)


def test_best_and_front_follow_the_directions() -> None:
    values = ((0.1, 100.0), (0.3, 500.0), None, (0.2, 100.0), (0.25, 600.0))
    study = study_of(("maximize", "minimize"), *values)
    assert [trial.number for trial in study.front] == [1, 3]
    assert study.best.number == 1
    study = study_of(("minimize", "minimize"), *values)
    assert [trial.number for trial in study.front] == [0]


def test_with_one_objective_the_front_is_all_that_share_the_best_value() -> None:
    study = study_of(("maximize",), (1.0,), (3.0,), (2.0,), (3.0,))
    assert [trial.number for trial in study.front] == [1, 3]
    assert study.best.number == 1


def test_best_is_the_first_of_the_front_when_the_first_objective_ties() -> None:
    study = study_of(("maximize", "minimize"), (1.0, 9.0), (1.0, 5.0), (0.5, 1.0))
    assert study.best == study.front[0]
    assert study.best.number == 1


def test_without_a_complete_trial_there_is_no_best_and_the_error_says_why() -> None:
    with pytest.raises(InputError, match="no trial of 2 is complete; the last one failed: why"):
        _ = study_of(("maximize",), None, None).best
    assert study_of(("maximize",), None).front == []


def test_hypervolume_is_measured_from_the_worse_side_of_each_direction() -> None:
    study = study_of(("maximize", "minimize"), (3.0, 2.0), (1.0, 1.0))
    assert study.hypervolume((0.0, 4.0)) == 3 * 2 + 1 * 1
    with pytest.raises(ValueError, match="reference of 2 numbers, got 1"):
        study.hypervolume((0.0,))
