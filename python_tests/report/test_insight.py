from __future__ import annotations

import pytest

from gnas_ext.report import Ancestor, insight_of
from gnas_ext.report.data import GeneShare
from gnas_ext.report.evolution import change, goal, importance_table, value
from gnas_ext.search import Integer, SearchSpace, Study, Trial

SPACE = SearchSpace({"a": Integer(0, 4), "b": Integer(0, 4)})


def study_of(count: int) -> Study:
    """Each trial but the first is a mutant of the one before; a decides over NDCG, b over bytes."""
    trials = []
    for n in range(count):
        genotype = SPACE.genotype({"a": n % 5, "b": n // 5 % 5})
        values = (0.1 + 0.01 * (n % 5), 1000.0 - 100 * (n // 5 % 5))
        origin, parents = ("mutation", (n - 1,)) if n else ("random", ())
        trials.append(Trial(n, genotype, "complete", values, origin=origin, parents=parents))  # type: ignore[arg-type]
    return Study(SPACE, ("maximize", "minimize"), trials)


def test_a_study_gives_shares_and_fits_for_each_objective() -> None:
    study = study_of(25)
    told = insight_of(study, study.trials[1], ["ndcg", "bytes"])
    assert [(share.gene, share.objective) for share in told.importances] == [
        *(("a", "ndcg"), ("b", "ndcg")),
        *(("b", "bytes"), ("a", "bytes")),
    ]
    assert told.importances[0].importance > 0.6
    assert list(told.fits) == ["ndcg", "bytes"]
    assert min(told.fits.values()) > 0.5


def test_too_few_trials_have_no_shares_but_a_line() -> None:
    study = study_of(7)
    told = insight_of(study, study.trials[5], ["ndcg", "bytes"])
    assert (told.importances, told.fits) == ([], {})
    assert [step.number for step in told.lineage] == [0, 1, 2, 3, 4, 5]
    assert told.lineage[0] == Ancestor(
        0, "random", [], [], [("ndcg", 0.1, None, False), ("bytes", 1000.0, None, False)]
    )
    last = told.lineage[-1]
    assert (last.parents, last.changes) == ([4], [("a", "4", "0", None), ("b", "0", "1", None)])
    (_, _, ndcg, ndcg_better), (_, _, size, size_better) = last.figures
    assert ndcg == pytest.approx(-0.04)
    assert size == -100.0
    assert (ndcg_better, size_better) == (False, True)


def test_genes_that_hardly_matter_are_counted() -> None:
    shares = [GeneShare(f"g{n}", "ndcg", 0.5 - n / 40, 0.0) for n in range(20)]
    table = importance_table(shares)
    assert [gene for gene, _ in table.rows] == [f"g{n}" for n in range(12)]
    assert table.others == "8 more genes have 0.20 or less."
    assert importance_table([]).rows == []


def test_a_gene_that_matters_for_one_objective_alone_is_shown() -> None:
    shares = [GeneShare(f"g{n}", goal, n / 40 if goal == "ndcg" else 0.01, 0.0) for goal in "ab" for n in range(13)]
    shares = [s if s.gene != "g0" or s.objective == "a" else GeneShare("g0", "b", 0.9, 0.0) for s in shares]
    table = importance_table(shares)
    assert "g0" in [gene for gene, _ in table.rows]


@pytest.mark.parametrize(
    ("objective", "figure", "difference", "told"),
    [
        ("ndcg", 0.1753, 0.0021, ("0.1753", "+0.0021")),
        ("bytes", 124_000.0, -124_000.0, ("124 kB", "−50%")),
        ("ms", 0.3, 0.1, ("0.3", "+50%")),
        ("accuracy", -2.0, 1.0, ("-2", "+1")),
        ("ndcg", 0.1753, 0.00004, ("0.1753", "")),
        ("bytes", 124_000.0, 10.0, ("124 kB", "")),
    ],
)
def test_figures_have_their_units(objective: str, figure: float, difference: float, told: tuple[str, str]) -> None:
    assert (value(figure, objective), change(difference, objective, figure)) == told


def test_what_is_not_known_is_a_dash_and_other_goals_keep_their_names() -> None:
    assert value(None, "ndcg") == value(float("nan"), "bytes") == "–"
    assert (goal("ndcg"), goal("accuracy")) == ("NDCG@20", "accuracy")
