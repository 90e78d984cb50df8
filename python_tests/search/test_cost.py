from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from gnas_ext.search import Categorical, Genotype, Integer, SearchSpace, Stop, Trial, evolve
from gnas_ext.search.cost import Cost, expected_seconds
from gnas_ext.search.features import Features
from gnas_ext.search.proposer import Proposal, Proposer
from python_tests.search.objectives import Ticking

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = SearchSpace({"kind": Categorical(["quick", "slow"]), **{f"x{place}": Integer(0, 9) for place in range(3)}})
WHERE = {"quick": 1.0, "slow": 100.0}


def trials(*seconds: float, failed: tuple[float, ...] = ()) -> list[Trial]:
    complete = [Trial(n, Genotype({"x": n}), "complete", (0.0,), seconds=s) for n, s in enumerate(seconds)]
    return complete + [Trial(n, Genotype({"y": n}), "failed", reason="r", seconds=s) for n, s in enumerate(failed)]


def test_the_slower_ones_of_late_are_what_is_usual() -> None:
    assert expected_seconds(trials(*range(100))) == 97
    assert expected_seconds(trials(1, 5, 2)) == 5
    assert expected_seconds(trials(*[100.0] * 10, *[1.0] * 20)) == 1
    assert expected_seconds([]) == 0


def test_failed_trials_count_only_where_there_is_nothing_else() -> None:
    assert expected_seconds(trials(10, failed=(0.1,) * 30)) == 10
    assert expected_seconds(trials(failed=(0.1, 0.2))) == 0.2


def genotype(kind: str, number: int) -> dict[str, object]:
    return {"kind": kind, "x0": number, "x1": (3 * number) % 10, "x2": (7 * number) % 10}


def test_it_takes_as_long_as_what_it_is_like() -> None:
    cost = Cost(Features(KINDS))
    assert cost.expected(KINDS.encode(KINDS.genotype(genotype("quick", 2)))) == 0
    for number in range(6):
        for kind, seconds in WHERE.items():
            one = KINDS.genotype(genotype(kind, number))
            cost.learn(KINDS.encode(one), Trial(0, one, "complete", (0.0,), seconds=seconds))
    expected = {kind: cost.expected(KINDS.encode(KINDS.genotype(genotype(kind, 5)))) for kind in WHERE}
    assert expected["quick"] < 3
    assert expected["slow"] > 30
    assert (cost.shortest, cost.longest) == (1.0, 100.0)


def test_what_is_like_nothing_takes_what_is_usual() -> None:
    space = SearchSpace({"kind": Categorical(["a", "b", "c"])})
    cost = Cost(Features(space))
    for kind, seconds in (("a", 1.0), ("b", 50.0)):
        one = space.genotype({"kind": kind})
        cost.learn(space.encode(one), Trial(0, one, "complete", (0.0,), seconds=seconds))
    assert cost.expected(space.encode(space.genotype({"kind": "c"}))) == pytest.approx(50, rel=0.01)


@pytest.mark.parametrize("predict", [True, False])
def test_the_last_minutes_are_for_what_is_quick(predict: bool) -> None:
    def worth(genotype: Genotype) -> float:
        return sum(float(str(genotype[f"x{place}"])) for place in range(3))

    evaluate = Ticking(lambda genotype: WHERE[str(genotype["kind"])], worth)
    slow = [genotype("slow", number) for number in range(5)]
    quick = [genotype("quick", number) for number in range(5)]
    study = evolve(KINDS, evaluate, minutes=10, initial=slow + quick, predict=predict, clock=evaluate.clock)
    assert study.stopped is Stop.MINUTES
    # A slow one no longer fitted into the last hundred seconds, quick ones did.
    assert 590 < evaluate.now <= 600
    assert {trial.genotype["kind"] for trial in study.trials[-20:]} == {"quick"}


def test_nothing_is_proposed_that_takes_too_long() -> None:
    proposer = Proposer(KINDS, ["maximize"], 0, 4, [])
    assert not isinstance(proposer.propose(0, within=0.001), Stop)  # nothing is known yet
    for number in range(12):
        one = KINDS.genotype(genotype("slow", number % 10))
        proposer.learn(Trial(number, one, "complete", (0.0,), seconds=100.0))
    assert proposer.propose(12, within=99.0) is Stop.MINUTES
    assert not isinstance(proposer.propose(12, within=100.0), Stop)
    assert not isinstance(proposer.propose(12, within=math.inf), Stop)


def test_seconds_that_are_known_are_not_learned() -> None:
    """The one that is short in the objective is told to be long."""
    evaluate = Ticking(lambda genotype: 10.0 - int(str(genotype["x0"])))
    recipes = [{"x0": count} for count in (9, 1, 2)]
    study = evolve(
        SearchSpace({"x0": Integer(0, 9)}),
        evaluate,
        minutes=0.3,
        initial=recipes,
        expected=lambda genotype: 100 if genotype["x0"] == 9 else 1,
        predict=False,
        clock=evaluate.clock,
    )
    assert study.stopped is Stop.MINUTES
    assert [trial.genotype["x0"] for trial in study.trials[:2]] == [1, 2]
    assert 9 not in [trial.genotype["x0"] for trial in study.trials]


def seen(spared: Callable[[Genotype], float]) -> Proposer:
    """A proposer that has seen slow and quick ones; the slow ones are worth more."""
    proposer = Proposer(KINDS, ["maximize"], 0, 12, [], spared=spared)
    for number in range(10):
        for kind, seconds in WHERE.items():
            one = KINDS.genotype(genotype(kind, number))
            proposer.learn(Trial(number, one, "complete", (float(kind == "slow"),), seconds=seconds))
    return proposer


def proposed(proposer: Proposer, numbers: range, within: float) -> list[Genotype]:
    found = [proposer.propose(number, within=within) for number in numbers]
    return [KINDS.decode(one.tokens) for one in found if isinstance(one, Proposal)]


def test_what_is_spared_does_not_have_to_fit() -> None:
    def spared(genotype: Genotype) -> float:
        return 99.0 if genotype["kind"] == "slow" and genotype["x0"] == 5 else 0.0

    found = proposed(seen(spared), range(20, 60), within=50.0)
    slow = [one for one in found if one["kind"] == "slow"]
    assert slow
    assert {one["x0"] for one in slow} == {5}
    assert "slow" not in {one["kind"] for one in proposed(seen(lambda _: 0.0), range(20, 60), within=50.0)}


def test_of_the_promising_one_that_is_half_done_comes_first_while_minutes_count() -> None:
    def spared(genotype: Genotype) -> float:
        return 90.0 if genotype["x1"] in (2, 3) else 0.0

    def begun(proposer: Proposer, within: float) -> int:
        return sum(spared(one) > 0 for one in proposed(proposer, range(20, 60), within))

    plain, told = seen(lambda _: 0.0), seen(spared)
    assert begun(told, 1e4) > 2 * begun(plain, 1e4)
    assert proposed(told, range(20, 60), math.inf) == proposed(plain, range(20, 60), math.inf)


def test_time_is_shared_between_the_first_objective_and_the_front() -> None:
    """The slow ones are few bytes, the quick ones worth more."""

    def both(genotype: Genotype) -> tuple[float, float]:
        slow = genotype["kind"] == "slow"
        return sum(float(str(genotype[f"x{place}"])) for place in range(3)) + 5 * (not slow), 1.0 - slow

    seconds = {}
    for share in (0.0, 0.5):
        evaluate = Ticking(lambda genotype: WHERE[str(genotype["kind"])], both)
        study = evolve(
            KINDS,
            evaluate,
            minutes=13,
            directions=["maximize", "minimize"],
            first_share=share,
            population=8,
            clock=evaluate.clock,
        )
        children = [trial for trial in study.trials if trial.origin in ("mutation", "crossover")]
        seconds[share] = sum(trial.seconds for trial in children if trial.genotype["kind"] == "quick")
    assert seconds[0.5] > 2 * seconds[0.0]


@pytest.mark.parametrize("beside", [{"fidelities": (0.5, 1)}, {"workers": 1}])
def test_nobody_knows_what_workers_are_spared(beside: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="spared= is not for fidelities or workers"):
        evolve(KINDS, lambda _: 0.0, minutes=1, spared=lambda _: 0.0, **beside)
