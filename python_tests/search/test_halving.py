from __future__ import annotations

import random
from functools import partial
from itertools import pairwise
from statistics import mean
from typing import TYPE_CHECKING, Any

import optuna
import pytest

from gnas_ext.errors import InputError
from gnas_ext.search import Genotype, Integer, Outcome, SearchSpace, Stop, Study, Trial, evolve
from gnas_ext.search.cost import expected_seconds
from gnas_ext.search.executor import Here
from gnas_ext.search.halving import Halving
from gnas_ext.search.proposer import Proposal, Proposer
from gnas_ext.search.selection import standings
from python_tests.search.objectives import Ticking, shares

if TYPE_CHECKING:
    from pathlib import Path

SPACE = SearchSpace({f"x{place}": Integer(0, 9) for place in range(5)})
SHARES = (1 / 9, 1 / 3, 1.0)


def cost(genotype: Genotype) -> float:
    return sum((int(str(value)) - 6) ** 2 for value in genotype.values())


def rough(genotype: Genotype, fidelity: float) -> Outcome:
    """A bowl, seen the less clearly the lower the fidelity; and a sum, which is always clear."""
    blur = random.Random(f"{genotype}/{fidelity}").gauss(0, 12 * (1 - fidelity))
    if genotype["x0"] == 9:
        raise RuntimeError("nine")
    return Outcome((-cost(genotype) + blur, sum(int(str(value)) for value in genotype.values())), {"share": fidelity})


def search(evaluations: int = 80, **options: Any) -> Study:
    chosen: dict[str, Any] = {"directions": ["maximize", "minimize"], "population": 8, "fidelities": SHARES}
    return evolve(SPACE, rough, evaluations=evaluations, **(chosen | options))


@pytest.fixture(scope="module")
def study() -> Study:
    return search()


def at(study: Study, fidelity: float) -> list[Trial]:
    return [trial for trial in study.trials if trial.fidelity == fidelity]


def test_each_trial_is_evaluated_at_its_fidelity(study: Study) -> None:
    assert {trial.attributes["share"] == trial.fidelity for trial in study.trials if trial.state == "complete"} == {
        True
    }


def test_a_third_of_each_fidelity_goes_on(study: Study) -> None:
    for low, high in pairwise(SHARES):
        # One may have become due with the last trial.
        assert 0 <= len(at(study, low)) // 3 - len(at(study, high)) <= 1
    assert len(at(study, 1.0)) >= 5


def test_what_goes_on_was_among_the_best_third_of_its_fidelity(study: Study) -> None:
    promotions = [trial for trial in study.trials if trial.origin == "promotion"]
    assert promotions
    for trial in promotions:
        (parent,) = trial.parents
        source = study.trials[parent]
        assert source.genotype == trial.genotype
        assert SHARES.index(source.fidelity) + 1 == SHARES.index(trial.fidelity)
        peers = [one for one in study.trials[: trial.number] if one.fidelity == source.fidelity]
        complete = [one for one in peers if one.state == "complete"]
        places = standings([study.losses(one) for one in complete])
        better = sum(place < places[complete.index(source)] for place in places)
        assert better < len(peers) // 3


def test_no_genotype_is_evaluated_twice_at_a_fidelity(study: Study) -> None:
    assert len({(trial.genotype, trial.fidelity) for trial in study.trials}) == len(study.trials)


def test_only_full_evaluations_are_compared_in_the_end(study: Study) -> None:
    assert {trial.fidelity for trial in study.front} == {1.0}
    assert study.best.values[0] == max(trial.values[0] for trial in at(study, 1.0) if trial.state == "complete")


def test_recipes_come_first_and_at_the_lowest_fidelity() -> None:
    recipes = [{f"x{place}": number for place in range(5)} for number in (1, 2, 3, 4)]
    trials = search(12, initial=recipes).trials
    firsts = [trial for trial in trials if trial.origin == "initial"]
    assert [trial.genotype.as_dict() for trial in firsts] == recipes
    assert {trial.fidelity for trial in firsts} == {SHARES[0]}


@pytest.mark.parametrize("share", [0.2, 0.5, 0.77, 0.95])
def test_a_search_that_was_cut_off_goes_on_to_the_same_study(tmp_path: Path, study: Study, share: float) -> None:
    path = tmp_path / "journal"
    search(journal=path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert search(journal=path, resume=True).trials == study.trials


def test_a_journal_is_not_resumed_with_other_fidelities(tmp_path: Path) -> None:
    search(5, journal=tmp_path / "j")
    with pytest.raises(InputError, match="fidelities"):
        search(9, fidelities=(0.5, 1), journal=tmp_path / "j", resume=True)


def test_optuna_takes_only_full_evaluations_for_results(tmp_path: Path, study: Study) -> None:
    search(journal=tmp_path / "j")
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(tmp_path / "j")))
    theirs = optuna.load_study(study_name=None, storage=storage)
    assert {tuple(trial.values) for trial in theirs.best_trials} == {trial.values for trial in study.front}


def test_workers_are_told_the_fidelity() -> None:
    space = SearchSpace({"a": Integer(0, 19), "b": Integer(0, 19)})
    study = evolve(space, shares, evaluations=20, fidelities=(0.25, 1.0), workers=1)
    assert {trial.values[0] for trial in study.trials if trial.fidelity == 0.25} == {0.25}
    assert {trial.values[0] for trial in study.complete} == {1.0}


def test_at_equal_cost_cheap_looks_find_better_ones() -> None:
    def clear(genotype: Genotype, fidelity: float = 1.0) -> float:
        return -cost(genotype) + random.Random(f"{genotype}/{fidelity}").gauss(0, 4 * (1 - fidelity))

    halved, plain = [], []
    for seed in range(12):
        found = evolve(SPACE, clear, evaluations=60, fidelities=SHARES, population=8, seed=seed, predict=False)
        spent = round(sum(trial.fidelity for trial in found.trials))
        halved.append(found.best.values[0])
        plain.append(evolve(SPACE, clear, evaluations=spent, population=8, seed=seed, predict=False).best.values[0])
    assert mean(halved) > mean(plain) + 5


def test_time_is_kept_for_trials_as_long_as_they_are_at_their_fidelity() -> None:
    def trial(seconds: float, fidelity: float) -> Trial:
        return Trial(0, Genotype({"x": 1}), "complete", (0.0,), seconds=seconds, fidelity=fidelity)

    done = [trial(2.0, 0.25), trial(3.0, 0.25), trial(5.0, 0.5)]
    assert expected_seconds(done, 0.25) == 3
    assert expected_seconds(done, 0.5) == 5
    assert expected_seconds(done, 1.0) == 10


@pytest.mark.parametrize("seconds", [1.0, 4.0])
def test_no_trial_of_any_fidelity_is_started_that_would_end_too_late(seconds: float) -> None:
    evaluate = Ticking(lambda _: 9 * seconds, lambda genotype: -cost(genotype))
    study = evolve(SPACE, evaluate, minutes=5, population=8, fidelities=SHARES, clock=evaluate.clock)
    assert study.stopped is Stop.MINUTES
    assert {trial.fidelity for trial in study.trials} == set(SHARES)
    # It ends where what comes next, of the highest fidelity perhaps, no longer fits.
    assert 300 - 9 * seconds < evaluate.now <= 300


def test_what_is_due_when_the_last_of_several_ends_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """By then the other place had been told that there is nothing left to do."""
    monkeypatch.setattr(Here, "capacity", 2)
    space = SearchSpace({"x0": Integer(0, 2)})
    study = evolve(space, lambda genotype, _: float(str(genotype["x0"])), evaluations=9, fidelities=(1 / 3, 1.0))
    assert study.stopped is Stop.EXHAUSTED
    assert [trial.genotype["x0"] for trial in at(study, 1.0)] == [2]


def test_what_there_is_no_time_for_stays_due() -> None:
    breeder = partial(Proposer, SPACE, ["maximize"], 0, 8, ())
    halving = Halving((1 / 3, 1.0), SPACE, ["maximize"], 8, breeder)
    for number in range(3):
        genotype = Genotype({f"x{place}": number for place in range(5)})
        halving.learn(Trial(number, genotype, "complete", (float(number),), seconds=10, fidelity=1 / 3))
    for _ in range(2):
        assert halving.propose(3, within=20) is Stop.MINUTES
    due = halving.propose(3, within=31)
    assert isinstance(due, Proposal)
    assert (due.parents, due.fidelity) == ((2,), 1.0)


def test_seconds_are_not_said_of_fidelities() -> None:
    with pytest.raises(ValueError, match="expected= is not for fidelities"):
        search(expected=lambda _: 1.0)


def test_a_study_without_a_full_evaluation_says_so() -> None:
    with pytest.raises(InputError, match=r"none of 2 trials was evaluated in full; .* or leave out --halving"):
        _ = search(2).best


@pytest.mark.parametrize("wrong", [(0.5,), (0.5, 0.5, 1.0), (0.0, 1.0), (1.0, 0.5), (0.1, 2.0)])
def test_fidelities_rise_to_one(wrong: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected fidelities that rise from above 0 to 1, such as \(1/9, 1/3, 1\)"):
        evolve(SPACE, rough, evaluations=1, fidelities=wrong)
