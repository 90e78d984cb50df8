from __future__ import annotations

import math
from dataclasses import replace
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

import pytest

from gnas_ext.errors import InputError
from gnas_ext.search import Genotype, Stop, Study, Trial
from gnas_ext.search.recommender import Finalist, choose, classic_space, find
from gnas_ext.search.recommender.finals import affordable, expected_finals, play, qualified
from python_tests import logs

if TYPE_CHECKING:
    from pathlib import Path

    from gnas_ext.search.recommender import Found, Goal


def trial(number: int, ndcg: float, size: int) -> Trial:
    return Trial(number, Genotype({"a": number}), "complete", (ndcg, size), attributes={"bytes": size})


def study_of(*results: tuple[float, int] | None) -> Study:
    """Trials with an NDCG and bytes; None for a failed one."""
    trials = [
        Trial(number, Genotype({"a": number}), "failed", reason="no") if result is None else trial(number, *result)
        for number, result in enumerate(results)
    ]
    return Study(classic_space(logs.touches()), ("maximize", "minimize"), trials)


@pytest.mark.parametrize(
    ("results", "wanted"),
    [
        ([(0.2, 900), (0.1, 10)], [0, 1]),
        ([(0.2, 900), (0.1995, 10), (0.1985, 5)], [1, 0]),  # within half a percent, the smallest
        ([(0.1995, 10), (0.2, 10)], [1, 0]),  # equal bytes: the better
        ([(0.2, 10), (0.2, 10)], [0, 1]),  # equal: the first
        ([None, (0.1, 10), None], [1]),
        ([(0.0, 20), (0.0, 10)], [1, 0]),
        ([(0.3, 90), (0.1, 1), (0.2, 10)], [0, 2]),  # after the one that would be chosen, the best
    ],
)
def test_the_smallest_of_the_best_and_then_the_best_qualify(
    results: list[tuple[float, int] | None], wanted: list[int]
) -> None:
    assert [one.number for one in qualified(study_of(*results), 2)] == wanted


@pytest.mark.parametrize(
    ("scores", "sizes", "wanted"),
    [
        ([(0.3, 0.1), (0.25, 0.25)], [5, 9], 1),  # the lucky one is not
        ([(0.2, 0.2), (0.1995, 0.1995)], [9, 5], 1),
        ([(0.2,), (0.1,)], [9, 5], 0),
    ],
)
def test_the_mean_decides(scores: list[tuple[float, ...]], sizes: list[int], wanted: int) -> None:
    finalists = [
        Finalist(trial(number, one[0], size), one) for number, (one, size) in enumerate(zip(scores, sizes, strict=True))
    ]
    assert choose(finalists).trial.number == wanted


def lasting(*seconds: float) -> list[Trial]:
    return [replace(trial(place, 0.1, 1), seconds=took) for place, took in enumerate(seconds)]


@pytest.mark.parametrize(
    ("seconds", "wanted", "rounds"),
    [
        (math.inf, [0, 1, 2], 2),
        (139, [0, 1, 2], 2),
        (137, [0, 1], 2),
        (70, [0, 1], 2),
        (68, [0, 1], 1),
        (35, [0, 1], 1),
        (34, [], 0),
    ],
)
def test_there_are_as_many_finals_as_there_is_time_for(seconds: float, wanted: list[int], rounds: int) -> None:
    trials = lasting(10, 20, 30)
    assert affordable(trials, 2, seconds) == ([trials[place] for place in wanted], rounds)


def test_what_takes_too_long_leaves_its_place_but_for_the_first() -> None:
    trials = lasting(10, 500, 20, 10)
    assert affordable(trials, 2, 100) == ([trials[0], *trials[2:]], 2)
    assert affordable(lasting(500, 10, 20, 10), 2, 100) == ([], 0)


def test_finals_side_by_side_wait_for_the_longest() -> None:
    trials = lasting(10, 20, 60)
    assert expected_finals(trials, 1, 2) == expected_finals(trials[2:], 1)
    assert expected_finals(trials, 2, 1) == pytest.approx(3 * expected_finals(trials[2:], 1))


def test_one_seed_or_one_trial_is_no_final() -> None:
    assert affordable([trial(0, 0.1, 1), trial(1, 0.1, 1)], 0, math.inf) == ([], 0)
    assert affordable([trial(0, 0.1, 1)], 2, math.inf) == ([], 0)


def test_mean_and_spread_are_those_of_the_scores() -> None:
    finalist = Finalist(trial(0, 0.1, 1), (0.1, 0.2, 0.4))
    assert finalist.mean == pytest.approx(mean(finalist.scores))
    assert finalist.spread == pytest.approx(stdev(finalist.scores))
    assert Finalist(trial(0, 0.1, 1), (0.1,)).spread == 0


def rerun(shift: float, fails: int = -1) -> Any:
    def objective(genotype: Genotype) -> tuple[float, float]:
        if genotype["a"] == fails:
            raise RuntimeError("no")
        return float(str(genotype["a"])) + shift, 0.0

    return objective


def test_each_runs_once_with_each_objective() -> None:
    done: list[int] = []
    finalists = play(
        [trial(4, 0.5, 1), trial(2, 0.25, 1)],
        [rerun(10), rerun(20)],
        minutes=None,
        journal=None,
        on_run=done.append,
        directions=["maximize", "minimize"],
    )
    # Each round is brought to the mean of the search, 0.375.
    assert finalists[0].scores == pytest.approx((0.5, 14 * 0.375 / 13, 24 * 0.375 / 23))
    assert finalists[1].scores == pytest.approx((0.25, 12 * 0.375 / 13, 22 * 0.375 / 23))
    assert done == [1, 2, 3, 4]


def test_a_round_that_one_failed_counts_for_none() -> None:
    finalists = play(
        [trial(4, 0.5, 1), trial(2, 0.25, 1)],
        [rerun(10, fails=2), rerun(20)],
        minutes=None,
        journal=None,
        directions=["maximize", "minimize"],
    )
    assert finalists[0].scores == pytest.approx((0.5, 24 * 0.375 / 23))
    assert finalists[1].scores == pytest.approx((0.25, 22 * 0.375 / 23))


def test_a_round_of_nothing_but_zeros_stays_so() -> None:
    trials = [trial(0, 0.5, 1), trial(-0, 0.25, 2)]
    finalists = play(trials, [rerun(0)], minutes=None, journal=None, directions=["maximize", "minimize"])
    assert [one.scores for one in finalists] == [(0.5, 0.0), (0.25, 0.0)]


class Lasting:
    """An objective whose evaluations take as long as those of the search did, and a little more."""

    def __init__(self, trials: list[Trial]) -> None:
        self.now = 0.0
        self._took = {one.genotype["a"]: one.seconds for one in trials}

    def __call__(self, genotype: Genotype) -> tuple[float, float]:
        self.now += 1.1 * self._took[genotype["a"]]
        return 0.1, 0.0


@pytest.mark.parametrize("seconds", [(100.0, 20.0, 20.0, 20.0, 20.0), (20.0, 20.0, 100.0), (100.0, 10.0)])
def test_what_there_is_time_for_is_played_to_the_end(seconds: tuple[float, ...]) -> None:
    trials = lasting(*seconds)
    objective = Lasting(trials)
    left = expected_finals(trials, 1)
    ways, minutes = ["maximize", "minimize"], left / 60
    again, rounds = affordable(trials, 1, left)
    played = play(
        trials, [objective], again, rounds, minutes=minutes, journal=None, directions=ways, clock=lambda: objective.now
    )
    assert [len(one.scores) for one in played] == [2] * len(trials)


def test_finals_go_on_where_there_is_time_for_others(tmp_path: Path) -> None:
    trials, ways, journal = lasting(10, 500, 20), ["maximize", "minimize"], tmp_path / "finals"

    def final(left: float) -> tuple[list[int], float]:
        objective = Lasting(trials)
        again, rounds = affordable(trials, 2, left)
        played = play(
            trials,
            [objective, objective],
            again,
            rounds,
            minutes=left / 60,
            journal=journal,
            directions=ways,
            clock=lambda: objective.now,
        )
        assert [one.trial for one in played] == again
        return [len(one.scores) for one in played], objective.now

    scores, took = final(100)
    assert scores == [3, 3]
    assert took == pytest.approx(66)
    scores, took = final(2_000)
    assert scores == [3, 3, 3]
    assert took == pytest.approx(1_100)
    assert final(100) == ([3, 3], 0)


def search(**options: Any) -> Found:
    chosen: dict[str, Any] = {"evaluations": 5, "epochs": 2, "population": 4, "k": 5, "finalists": 2, "seeds": 3}
    return find(logs.split(), **(chosen | options))


@pytest.fixture(scope="module")
def found() -> Found:
    return search()


def test_finalists_are_trained_with_seeds_of_their_own(found: Found) -> None:
    assert [len(one.scores) for one in found.finalists] == [3, 3]
    assert all(len(set(one.scores)) > 1 for one in found.finalists)
    assert found.trial is choose(found.finalists).trial
    assert [one.scores[0] for one in found.finalists] == [one.trial.values[0] for one in found.finalists]


def test_finals_are_resumed(found: Found, tmp_path: Path) -> None:
    journal = tmp_path / "journal.log"
    assert search(journal=journal).finalists == found.finalists
    kept = tmp_path / "journal.log.finals"
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) * 2 // 3])
    told: list[tuple[int, int]] = []
    again = search(journal=journal, resume=True, on_rerun=lambda done, wanted: told.append((done, wanted)))
    assert again.finalists == found.finalists
    assert told
    assert told[-1] == (4, 4)
    assert len(told) < 4


def test_finals_begin_anew_where_the_search_went_on_to_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal, ways = tmp_path / "finals", ["maximize", "minimize"]
    first, second, third = trial(4, 0.5, 1), trial(2, 0.25, 1), trial(7, 0.75, 1)

    def final(*trials: Trial, seeds: int = 1) -> list[int]:
        context = {"finalists": [one.genotype.as_dict() for one in trials]}
        objectives = [rerun(10 * place) for place in range(1, seeds + 1)]
        played = play(trials, objectives, minutes=None, journal=journal, context=context, directions=ways)
        assert [one.scores[0] for one in played] == [one.values[0] for one in trials]
        level, sums = mean(one.values[0] for one in trials), [sum(one.scores[1:]) for one in played]
        assert mean(sums) == pytest.approx(seeds * level)
        return [len(one.scores) for one in played]

    assert final(first, second) == [2, 2]
    assert final(third, first) == [2, 2]
    assert final(third, first, seeds=2) == [3, 3]
    assert caplog.messages == [f"{journal}: of other finalists or seeds; these finals begin anew"] * 2


def test_a_search_with_finals_goes_on(found: Found, tmp_path: Path) -> None:
    journal = tmp_path / "journal.log"
    search(journal=journal, evaluations=3)
    assert search(journal=journal, resume=True).finalists == found.finalists


def test_who_interrupts_the_search_gets_no_finals() -> None:
    def interrupt(study: Study, _: Trial) -> None:
        if study.evaluations == 3:
            raise KeyboardInterrupt

    found = search(on_trial=interrupt)
    assert found.study.stopped is Stop.INTERRUPTED
    assert {len(one.scores) for one in found.finalists} == {1}


@pytest.mark.parametrize("goals", [("ndcg", "bytes", "ms"), ("ndcg", "ms"), ("ndcg",)])
def test_whatever_the_goals_there_are_finals(goals: tuple[Goal, ...]) -> None:
    found = search(goals=goals, evaluations=2, epochs=1, seeds=2, models="classic")
    assert [len(one.scores) for one in found.finalists] == [2, 2]
    assert found.trial is choose(found.finalists).trial


def test_too_few_evaluations_for_a_full_one_are_refused_before_any() -> None:
    with pytest.raises(InputError, match=r"^12 evaluations: .* number 13 .*--evaluations.*--halving"):
        search(evaluations=12, fidelities=(1 / 9, 1 / 3, 1), on_trial=pytest.fail)


def test_a_worker_gives_the_same_finals(found: Found) -> None:
    assert search(workers=1).finalists == found.finalists


def test_cheap_trials_lead_to_full_ones() -> None:
    found = search(evaluations=14, fidelities=(0.25, 1.0), models="all", seeds=1)
    shares = [one.fidelity for one in found.study.trials]
    assert set(shares) == {0.25, 1.0}
    assert found.trial.fidelity == 1
    # Fewer users and fewer passes: what is trained takes at most half of them.
    rough = [one for one in found.study.trials if one.fidelity < 1 and one.attributes.get("curve")]
    assert rough
    assert all(len(one.attributes["curve"]) == 1 for one in rough)


def test_a_search_begins_with_the_best_of_an_earlier_one(found: Found) -> None:
    again = search(warm_start=found.study, seeds=1, evaluations=2)
    assert again.study.trials[0].genotype in {one.genotype for one in found.study.front}


@pytest.mark.parametrize("wrong", [{"finalists": 0}, {"seeds": 0}])
def test_there_is_at_least_one_of_each(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected finalists and seeds of 1 or more"):
        search(**wrong)
