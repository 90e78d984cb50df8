from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gnas_ext.errors import InputError
from gnas_ext.search import Categorical, Cell, Integer, SearchSpace, Study, Trial, importances
from gnas_ext.search.predictor import normal_scores

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

    from gnas_ext.search import Direction, Genotype


def number(genotype: Genotype, name: str) -> float:
    return float(genotype[name])  # type: ignore[arg-type]


def study_of(space: SearchSpace, value: Callable[[Genotype], tuple[float, ...]], count: int, seed: int = 0) -> Study:
    """A study of random genotypes, all minimised."""
    rng = random.Random(seed)
    genotypes = [space.sample(rng) for _ in range(count)]
    trials = [Trial(place, genotype, "complete", value(genotype)) for place, genotype in enumerate(genotypes)]
    directions: list[Direction] = ["minimize" for _ in trials[0].values]
    return Study(space, tuple(directions), trials)


def by_gene(frame: pl.DataFrame, column: str = "importance") -> dict[str, float]:
    return dict(zip(frame["gene"], frame[column], strict=True))


def total_effects(space: SearchSpace, value: Callable[[Genotype], tuple[float, ...]]) -> dict[str, float]:
    """By looking at all genotypes of a space without conditions: what is left of the variance when one is not known."""
    sequences = list(space.sequences())
    scores = normal_scores([value(space.decode(tokens)) for tokens in sequences])[:, 0]
    effects = {}
    for place, name in enumerate(space.names):
        groups: dict[tuple[int, ...], list[float]] = {}
        for tokens, score in zip(sequences, scores, strict=True):
            groups.setdefault((*tokens[:place], *tokens[place + 1 :]), []).append(float(score))
        effects[name] = float(np.mean([np.var(group) for group in groups.values()]) / scores.var())
    return effects


PLAIN = SearchSpace({name: Integer(0, 4) for name in "abcd"})


def additive(genotype: Genotype) -> tuple[float, ...]:
    return (4 * number(genotype, "a") + 2 * number(genotype, "b") + number(genotype, "c"),)


def interacting(genotype: Genotype) -> tuple[float, ...]:
    return (number(genotype, "a") + (number(genotype, "b") - 2) * (number(genotype, "c") - 2),)


# A predictor smooths, and what genes do together more than what each does alone: there it errs on the low side.
@pytest.mark.parametrize(("value", "near"), [(additive, 0.08), (interacting, 0.2)])
def test_they_are_the_total_effects_over_the_space(value: Callable[[Genotype], tuple[float, ...]], near: float) -> None:
    found = importances(study_of(PLAIN, value, 300), models=3, samples=256)
    expected = total_effects(PLAIN, value)
    assert found["fit"][0] > 0.9
    for gene, importance in by_gene(found).items():
        assert importance == pytest.approx(expected[gene], abs=near), gene
    assert found["gene"][3] == "d"
    assert found["importance"][3] < 0.02


def test_where_a_search_looked_does_not_decide() -> None:
    """Nearly all trials have the best value of the gene that matters most, as at the end of a search."""
    rng = random.Random(0)
    study = study_of(PLAIN, lambda g: (5 * number(g, "a") + number(g, "b"),), 150)
    kept = [trial for trial in study.trials if trial.genotype["a"] == 0 or rng.random() < 0.25]
    found = importances(Study(PLAIN, study.directions, kept))
    assert found["gene"][0] == "a"


def test_a_study_of_noise_has_no_fit() -> None:
    rng = random.Random(3)
    assert abs(importances(study_of(PLAIN, lambda g: (rng.random(),), 100), samples=8)["fit"][0]) < 0.3


def test_each_objective_has_its_own() -> None:
    study = study_of(PLAIN, lambda g: (number(g, "a"), -number(g, "d")), 60)
    found = importances(study, ["loss", "bytes"])
    assert found["objective"].unique(maintain_order=True).to_list() == ["loss", "bytes"]
    assert found.group_by("objective", maintain_order=True).first()["gene"].to_list() == ["a", "d"]
    assert len(found) == 8
    for _, rows in found.group_by("objective"):
        assert rows["importance"].is_sorted(descending=True)
        assert rows["importance"].is_between(0, 1).all()


CONDITIONAL = SearchSpace(
    {
        "family": Categorical(["graph", "classic"]),
        "hops": Integer(1, 5, when={"family": ["graph"]}),
        "neighbours": Integer(1, 5, when={"family": ["classic"]}),
        "idle": Integer(0, 4),
    }
)


def test_a_conditional_gene_counts_as_often_as_it_is_alive() -> None:
    def value(genotype: Genotype) -> tuple[float, ...]:
        return (number(genotype, "hops") if "hops" in genotype else 3.0,)

    study = study_of(CONDITIONAL, value, 120)
    found = importances(study)
    shares, alive = by_gene(found), by_gene(found, "alive")
    assert alive["hops"] == sum("hops" in trial.genotype for trial in study.trials)
    assert alive["hops"] + alive["neighbours"] == alive["family"] == 120
    # Of the variance all comes from hops where it is alive; drawing the family draws hops as well.
    assert min(shares["hops"], shares["family"]) > 5 * max(shares["neighbours"], shares["idle"])


def test_a_cell_is_one_choice() -> None:
    net = Cell(3, ["gcn", "gat", "skip"], identity="skip")
    space = SearchSpace({"lr": Integer(0, 9), "net": net})

    def value(genotype: Genotype) -> tuple[float, ...]:
        return (float(sum(node.operation == "gat" for node in net.nodes_of(genotype, "net"))),)

    found = importances(study_of(space, value, 100))
    assert found["gene"].to_list() == ["net", "lr"]
    assert found["importance"][0] > 0.8 > 0.2 > found["importance"][1]


def test_a_constraint_is_kept() -> None:
    asked = []

    def valid(genotype: Genotype) -> bool:
        asked.append(genotype)
        return genotype["a"] != genotype["b"]

    space = SearchSpace({name: Integer(0, 3) for name in "abc"}, valid=valid)
    study = study_of(space, lambda g: (number(g, "a"),), 60)
    asked.clear()
    assert by_gene(importances(study))["a"] > 0.7
    assert asked  # genotypes that it refuses were drawn again


def test_a_gene_with_one_value_decides_nothing() -> None:
    space = SearchSpace({"a": Integer(0, 4), "only": Categorical(["one"])})
    assert by_gene(importances(study_of(space, lambda g: (number(g, "a"),), 30)))["only"] == 0


def test_where_all_is_equal_nothing_matters() -> None:
    found = importances(study_of(PLAIN, lambda g: (1.0,), 20))
    assert found["importance"].to_list() == [0.0] * 4
    assert found["fit"].to_list() == [0.0] * 4


def test_they_repeat_exactly_for_a_seed() -> None:
    study = study_of(PLAIN, lambda g: (number(g, "a") * number(g, "b"),), 40)
    one, same, other = (importances(study, seed=seed, models=3, samples=32) for seed in (1, 1, 2))
    assert one.equals(same)
    assert not one.equals(other)


def test_failed_trials_are_left_out() -> None:
    study = study_of(PLAIN, lambda g: (number(g, "a"),), 30)
    study.trials.append(Trial(30, study.trials[0].genotype, "failed", (), "why"))
    assert importances(study)["trials"].unique().to_list() == [30]


def test_a_long_study_is_learnt_from_in_part() -> None:
    found = importances(study_of(PLAIN, lambda g: (number(g, "a"),), 620), models=2, samples=32)
    assert found["gene"][0] == "a"
    assert found["trials"][0] == 620


def test_too_few_trials_are_refused() -> None:
    with pytest.raises(InputError, match="importances need 12 complete trials, got 11"):
        importances(study_of(PLAIN, lambda g: (number(g, "a"),), 11))


@pytest.mark.parametrize("wrong", [{"models": 1}, {"samples": 1}])
def test_arguments_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="2 or more"):
        importances(study_of(PLAIN, lambda g: (number(g, "a"),), 20), **wrong)  # type: ignore[arg-type]
