from __future__ import annotations

import random
from statistics import mean
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from gnas_ext.errors import InputError
from gnas_ext.search import Categorical, Genotype, Integer, LogFloat, Outcome, SearchSpace, Stop, autoencoder, evolve
from gnas_ext.search.selection import hypervolume
from python_tests.search.objectives import Ticking

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
NUMBERS = SearchSpace({f"x{place}": Integer(0, 9) for place in range(6)})
MIXED = SearchSpace(
    {
        "family": Categorical(["graph", "factors"]),
        "hops": Integer(1, 4, when={"family": ["graph"]}),
        "agg": Categorical(["sum", "mean", "max"], when={"family": ["graph"]}),
        "dim": Categorical([8, 16, 32, 64, 128], ordered=True),
        "lr": LogFloat(1e-4, 1e-1, levels=13),
        "prior": Categorical([True, False]),
        "days": LogFloat(1, 365, levels=9, when={"prior": [True]}),
    },
    valid=lambda g: not (g["family"] == "factors" and g["dim"] == 128),
)


def number(genotype: Genotype, name: str) -> float:
    value = genotype[name]
    assert isinstance(value, (int, float))
    return float(value)


def distance(genotype: Genotype) -> float:
    """A bowl whose bottom, 0, is at (1, 4, 7, 2, 5, 8)."""
    return sum((number(genotype, f"x{place}") - (3 * place + 1) % 9) ** 2 for place in range(6))


def quality(genotype: Genotype) -> float:
    """A made-up recommender: conditional genes, a switch that pays only if the rest is right."""
    score = 0.1 * {8: 0, 16: 1, 32: 2, 64: 3, 128: 2}[int(number(genotype, "dim"))]
    score -= abs(number(genotype, "lr") - 0.01)
    if genotype["family"] == "graph":
        score += 0.2 * (genotype["agg"] == "mean") - 0.05 * abs(number(genotype, "hops") - 3)
    if genotype["prior"]:
        score += 0.3 - 0.004 * abs(number(genotype, "days") - 60)
    return score


def random_search(space: SearchSpace, evaluate: Callable[[Genotype], T], evaluations: int, seed: int) -> list[T]:
    """Values of different random genotypes."""
    rng = random.Random(seed)
    seen: dict[Genotype, None] = {}
    while len(seen) < evaluations:
        seen[space.sample(rng)] = None
    return [evaluate(genotype) for genotype in seen]


@pytest.mark.parametrize(
    ("space", "evaluate"), [(NUMBERS, lambda g: -distance(g)), (MIXED, quality)], ids=["numbers", "mixed"]
)
def test_evolution_beats_random_search(space: SearchSpace, evaluate: Callable[[Genotype], float]) -> None:
    seeds = range(12)
    ours = [evolve(space, evaluate, evaluations=100, seed=seed).best.values[0] for seed in seeds]
    rival = [max(random_search(space, evaluate, 100, seed)) for seed in seeds]
    assert mean(ours) > mean(rival)
    assert sum(a >= b for a, b in zip(ours, rival, strict=True)) >= 10


def test_evolution_covers_more_of_a_front_than_random_search() -> None:
    def two_bowls(genotype: Genotype) -> tuple[float, float]:
        return distance(genotype), sum(
            (number(genotype, f"x{place}") - (2 * place + 5) % 10) ** 2 for place in range(6)
        )

    ours, rival = [], []
    for seed in range(8):
        study = evolve(NUMBERS, two_bowls, evaluations=100, directions=["minimize", "minimize"], seed=seed)
        ours.append(study.hypervolume((300, 300)))
        rival.append(hypervolume(random_search(NUMBERS, two_bowls, 100, seed), (300, 300)))
    assert mean(ours) > mean(rival)
    assert sum(a > b for a, b in zip(ours, rival, strict=True)) >= 6


@pytest.mark.parametrize(
    ("space", "evaluate"), [(NUMBERS, lambda g: -distance(g)), (MIXED, quality)], ids=["numbers", "mixed"]
)
def test_a_predictor_helps(space: SearchSpace, evaluate: Callable[[Genotype], float]) -> None:
    with_it, without = (
        [evolve(space, evaluate, evaluations=60, seed=seed, predict=predict).best.values[0] for seed in range(8)]
        for predict in (True, False)
    )
    assert mean(with_it) > mean(without)
    assert sum(a >= b for a, b in zip(with_it, without, strict=True)) >= 7


def test_a_trial_says_where_it_comes_from() -> None:
    study = evolve(NUMBERS, lambda g: -distance(g), evaluations=80, initial=[{f"x{i}": 5 for i in range(6)}])
    assert [trial.number for trial in study.trials] == list(range(80))
    assert study.trials[0].origin == "initial"
    for trial in study.trials[1:]:
        assert len(trial.parents) == {"mutation": 1, "crossover": 2, "random": 0}[trial.origin]
        assert all(parent < trial.number for parent in trial.parents)
    assert {"mutation", "crossover"} <= {trial.origin for trial in study.trials}


def test_a_decoder_proposes_beside_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autoencoder, "STEPS", 50)
    study = evolve(NUMBERS, lambda g: -distance(g), evaluations=60, decode=True)
    decoded = [trial for trial in study.trials if trial.origin == "decoder"]
    assert decoded
    assert all(len(trial.parents) == 1 and trial.parents[0] < trial.number for trial in decoded)
    assert len({trial.genotype for trial in study.trials}) == 60


def test_no_genotype_is_evaluated_twice() -> None:
    evaluated: list[Genotype] = []

    def evaluate(genotype: Genotype) -> float:
        evaluated.append(genotype)
        return quality(genotype)

    study = evolve(MIXED, evaluate, evaluations=400, population=6)
    assert len(evaluated) == len(set(evaluated)) == study.evaluations == 400
    assert study.stopped is Stop.EVALUATIONS


def test_one_seed_is_one_study_and_another_seed_another() -> None:
    studies = [evolve(MIXED, quality, evaluations=60, seed=seed) for seed in (3, 3, 4)]
    assert studies[0].trials == studies[1].trials
    assert studies[0].trials != studies[2].trials


def test_a_small_space_is_evaluated_whole_and_the_search_says_so() -> None:
    space = SearchSpace({"a": Integer(0, 4), "b": Categorical(["x", "y"])}, valid=lambda g: g["a"] != 2)
    study = evolve(space, lambda g: number(g, "a"), evaluations=100, population=4)
    assert len({trial.genotype for trial in study.trials}) == study.evaluations == 8
    assert study.stopped is Stop.EXHAUSTED
    assert str(study.stopped) == "every genotype of the space has been evaluated"


def test_failed_trials_are_recorded_and_the_search_goes_on() -> None:
    def evaluate(genotype: Genotype) -> Any:
        match genotype["x0"]:
            case 0:
                raise RuntimeError("no memory")
            case 1:
                return float("nan")
            case 2:
                return (1.0, 2.0)
            case _:
                return -distance(genotype)

    study = evolve(NUMBERS, evaluate, evaluations=120, predict=False)  # a predictor soon keeps away from them
    failed = {trial.genotype["x0"]: trial.reason for trial in study.trials if trial.state == "failed"}
    assert study.evaluations == 120
    assert set(failed) == {0, 1, 2}
    assert failed[0].startswith("RuntimeError: no memory (test_engine.py:")
    assert "nan" in failed[1]
    assert "2 values; expected 1" in failed[2]
    assert study.best.genotype["x0"] not in failed


def test_what_fails_is_kept_away_from_however_good_its_like_is() -> None:
    """The more the better, until it is too much."""

    def evaluate(genotype: Genotype) -> float:
        if genotype["x0"] == 9:
            raise MemoryError
        return sum(number(genotype, name) for name in genotype)

    study = evolve(NUMBERS, evaluate, evaluations=120)
    assert study.best.genotype["x0"] == 8
    assert sum(trial.state == "failed" for trial in study.trials[60:]) < 6


def test_a_search_in_which_everything_fails_ends_and_says_why_there_is_no_best() -> None:
    study = evolve(NUMBERS, lambda g: float("nan"), evaluations=30)
    assert study.evaluations == 30
    with pytest.raises(
        InputError, match="no trial of 30 is complete; the last one failed: ValueError: evaluate returned nan"
    ):
        _ = study.best


def test_the_deadline_is_kept() -> None:
    evaluate = Ticking(lambda genotype: 7 + number(genotype, "x0") / 3)
    study = evolve(NUMBERS, evaluate, minutes=5, clock=evaluate.clock)
    assert study.stopped is Stop.MINUTES
    assert 5 * 60 - 10 < evaluate.now <= 5 * 60
    assert evaluate.now == pytest.approx(sum(trial.seconds for trial in study.trials))


def test_what_comes_after_the_search_is_left_its_seconds() -> None:
    evaluate = Ticking(lambda _: 10)
    # The more trials there were, the more is asked for.
    study = evolve(NUMBERS, evaluate, minutes=5, reserve=lambda study: 2.0 * study.evaluations, clock=evaluate.clock)
    assert study.stopped is Stop.MINUTES
    assert study.evaluations == 25


@pytest.mark.parametrize("fidelities", [(), (0.5, 1.0)])
def test_recipes_have_a_share_of_the_minutes(fidelities: tuple[float, ...]) -> None:
    recipes = [{f"x{place}": count for place in range(6)} for count in range(10)]

    def origins(**options: Any) -> list[str]:
        evaluate = Ticking(lambda _: 10, lambda genotype: number(genotype, "x0"))
        study = evolve(
            NUMBERS, evaluate, minutes=2, initial=recipes, fidelities=fidelities, clock=evaluate.clock, **options
        )
        return [trial.origin for trial in study.trials]

    assert origins().count("initial") == 10
    some = origins(initial_share=0.25)
    assert 1 < some.count("initial") < 10
    assert "initial" not in some[some.count("initial") + some.count("promotion") :]
    with pytest.raises(ValueError, match=r"expected initial_share of 0 to 1, got 1\.5"):
        origins(initial_share=1.5)


def test_a_recipe_that_the_share_is_too_short_for_is_left_out() -> None:
    seconds = {0: 1.0, 5: 60.0}
    evaluate = Ticking(lambda genotype: seconds[int(number(genotype, "x0"))])
    space = SearchSpace({"x0": Categorical([0, 5]), "x1": Integer(0, 9)})
    slow, quick = ([{"x0": which, "x1": place} for place in range(5)] for which in (5, 0))
    recipes = quick[:2] + slow + quick[2:]
    study = evolve(
        space, evaluate, minutes=10, initial=recipes, initial_share=0.25, predict=False, clock=evaluate.clock
    )
    taken = [trial.genotype["x0"] for trial in study.trials if trial.origin == "initial"]
    # Of 150 seconds, a third one of a minute would not have left any; those of a second have their place.
    assert taken == [0, 0, 5, 5, 0, 0, 0]


def test_the_first_objective_may_have_more_of_the_children() -> None:
    """Two objectives that contradict each other."""

    def best(first_share: float) -> list[float]:
        def both(genotype: Genotype) -> tuple[float, float]:
            worth = sum(number(genotype, name) for name in NUMBERS.genes)
            return worth, -worth

        studies = [
            evolve(
                NUMBERS,
                both,
                evaluations=60,
                directions=["maximize", "maximize"],
                first_share=first_share,
                seed=seed,
            )
            for seed in range(3)
        ]
        return [study.best.values[0] for study in studies]

    assert sum(best(0.5)) > sum(best(0.0))
    with pytest.raises(ValueError, match=r"expected first_share of 0 to 1, got -0\.1"):
        best(-0.1)


def test_whichever_budget_ends_first_ends_the_search() -> None:
    for evaluations, wanted in ((3, 3), (99, 30)):
        evaluate = Ticking(lambda _: 10)
        study = evolve(NUMBERS, evaluate, minutes=5, evaluations=evaluations, clock=evaluate.clock)
        assert study.evaluations == wanted


def test_seconds_that_were_spared_count() -> None:
    study = evolve(NUMBERS, lambda _: Outcome(0.0, spared=5.0), evaluations=2)
    assert all(5 <= trial.seconds < 6 for trial in study.trials)


def test_recipes_are_evaluated_first_and_once() -> None:
    recipe = {f"x{place}": place for place in range(6)}
    study = evolve(NUMBERS, distance, evaluations=10, directions=["minimize"], initial=[recipe, dict(recipe)])
    assert study.trials[0].genotype == recipe
    assert [trial.origin for trial in study.trials] == ["initial"] + ["random"] * 9


def test_a_recipe_that_is_not_of_the_space_is_refused() -> None:
    with pytest.raises(InputError, match=r"initial\[1\]: gene 'x3' is missing"):
        evolve(NUMBERS, distance, evaluations=9, initial=[dict.fromkeys(NUMBERS.names, 1), {"x0": 1, "x1": 1, "x2": 1}])


def test_ctrl_c_ends_the_search_and_keeps_what_there_is() -> None:
    calls = 0

    def evaluate(genotype: Genotype) -> float:
        nonlocal calls
        calls += 1
        if calls == 8:
            raise KeyboardInterrupt
        return 0.0

    study = evolve(NUMBERS, evaluate, evaluations=50)
    assert (study.evaluations, study.stopped) == (7, Stop.INTERRUPTED)


def test_on_trial_sees_each_trial_and_the_study_so_far() -> None:
    calls: list[tuple[int, int, Stop | None]] = []
    evolve(NUMBERS, distance, evaluations=5, on_trial=lambda s, t: calls.append((s.evaluations, t.number, s.stopped)))
    assert calls == [(count, count - 1, None) for count in range(1, 6)]


def test_what_evaluate_says_besides_is_kept_with_the_trial() -> None:
    study = evolve(NUMBERS, lambda g: Outcome(distance(g), {"curve": [1, 2]}), evaluations=3)
    assert [trial.attributes for trial in study.trials] == [{"curve": [1, 2]}] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "expected a budget"),
        ({"evaluations": 5, "directions": []}, "expected directions"),
        ({"evaluations": 5, "directions": ["up"]}, r"expected directions .* got \('up',\)"),
        ({"evaluations": 5, "population": 1}, "population of at least 2, got 1"),
        ({"evaluations": 5, "resume": True}, "resume=True needs journal="),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evolve(NUMBERS, distance, **options)
