from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from gnas_ext.search import Categorical, Cell, Float, Integer, SearchSpace, Study, Trial, front, history

if TYPE_CHECKING:
    from collections.abc import Mapping

SPACE = SearchSpace(
    {
        "prior": Categorical([True, False]),
        "days": Integer(1, 99, when={"prior": [True]}),
        "share": Float(0, 1, levels=5),
        "size": Categorical([1, 2.5, None, "all"]),
        "net": Cell(2, ["gcn", "gat"]),
    }
)
REST: Mapping[str, object] = {"share": 0.25, "net.1.op": "gat", "net.2.from": 0, "net.2.op": "gat"}
VALUES = [(0.1, 50.0), None, (0.3, 90.0), (0.2, 20.0), (0.3, 95.0), (0.05, 99.0)]


@pytest.fixture
def study() -> Study:
    trials = []
    for number, values in enumerate(VALUES):
        prior = number != 2
        genes = {"prior": prior, "size": None if number == 3 else 2.5, **REST} | ({"days": number + 1} if prior else {})
        trials.append(
            Trial(
                number,
                SPACE.genotype(genes),
                "complete" if values else "failed",
                values or (),
                "" if values else "out of memory",
                seconds=number / 2,
                origin="mutation" if number else "random",
                parents=(0,) if number else (),
            )
        )
    return Study(SPACE, ("maximize", "minimize"), trials)


def test_a_trial_is_a_row_in_order(study: Study) -> None:
    rows = history(study, ["ndcg", "bytes"])
    assert rows["number"].to_list() == list(range(6))
    assert rows["state"].to_list() == ["complete", "failed", *["complete"] * 4]
    assert rows["reason"].to_list() == ["", "out of memory", *[""] * 4]
    assert rows["parents"].to_list() == [[], *[[0]] * 5]
    assert rows["origin"][0] == "random"
    assert rows["seconds"].to_list() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    assert rows["ndcg"].to_list() == [0.1, None, 0.3, 0.2, 0.3, 0.05]


def test_the_best_so_far_follows_the_direction_and_passes_over_failures(study: Study) -> None:
    rows = history(study, ["ndcg", "bytes"])
    assert rows["best_ndcg"].to_list() == [0.1, 0.1, 0.3, 0.3, 0.3, 0.3]
    assert rows["best_bytes"].to_list() == [50.0, 50.0, 50.0, 20.0, 20.0, 20.0]


def test_before_the_first_complete_trial_nothing_is_best(study: Study) -> None:
    study.trials = study.trials[1:]
    assert history(study)["best_value_0"].to_list() == [None, 0.3, 0.3, 0.3, 0.3]


def test_those_on_the_front_are_marked(study: Study) -> None:
    assert history(study)["on_front"].to_list() == [False, False, True, True, False, False]


def test_genes_are_columns_and_null_where_they_are_dead(study: Study) -> None:
    rows = history(study)
    assert rows["gene.prior"].dtype == pl.Boolean
    assert rows["gene.days"].to_list() == [1, 2, None, 4, 5, 6]
    assert rows["gene.share"].to_list() == [0.25] * 6
    assert rows["gene.net.2.op"].to_list() == ["gat"] * 6
    assert [name for name in rows.columns if name.startswith("gene.")] == [f"gene.{name}" for name in SPACE.names]


def test_a_gene_of_several_kinds_is_text_and_none_is_a_value_of_it(study: Study) -> None:
    assert history(study)["gene.size"].to_list() == ["2.5", "2.5", "2.5", "None", "2.5", "2.5"]


def test_the_hypervolume_is_the_study_s_and_goes_on_through_failures(study: Study) -> None:
    assert history(study)["hypervolume"].null_count() == 6  # too few for a scale
    study.trials += [replace(trial, number=trial.number + 6) for trial in study.trials]
    volume = history(study)["hypervolume"]
    assert volume.null_count() == 0
    assert volume[1] == volume[0]
    assert volume[-1] == pytest.approx(study.relative_hypervolume)
    assert volume.is_sorted()


def test_the_front_has_the_study_s_order(study: Study) -> None:
    study.directions = ("minimize", "maximize")
    rows = front(study, ["ndcg", "bytes"])
    assert rows["number"].to_list() == [trial.number for trial in study.front] == [5]
    study.directions = ("maximize", "minimize")
    rows = front(study, ["ndcg", "bytes"])
    assert rows["number"].to_list() == [2, 3]
    assert rows["bytes"].to_list() == [90.0, 20.0]
    assert {"gene.prior", "origin", "parents", "seconds"} <= set(rows.columns)


def test_names_are_counted_when_none_are_given(study: Study) -> None:
    assert {"value_0", "value_1", "best_value_1"} <= set(history(study).columns)
    one = Study(SPACE, ("maximize",))
    assert {"value", "best_value"} <= set(history(one).columns)


def test_a_study_without_trials_has_the_same_columns(study: Study) -> None:
    empty = history(Study(SPACE, study.directions))
    assert len(empty) == 0
    assert empty.schema == history(study).schema


@pytest.mark.parametrize("names", [["one"], ["same", "same"], "ab", ["ndcg", "bytes", "ms"]])
def test_names_must_be_one_an_objective(study: Study, names: Any) -> None:
    with pytest.raises(ValueError, match="expected 2 different names"):
        history(study, names)


def test_a_name_that_is_a_column_is_refused(study: Study) -> None:
    with pytest.raises(ValueError, match="'number' is a column already"):
        history(study, ["ndcg", "number"])


def test_an_origin_that_is_not_known_is_shown(study: Study) -> None:
    study.trials[0] = replace(study.trials[0], origin="warm")  # type: ignore[arg-type]
    assert history(study)["origin"][0] == "warm"


def test_what_was_not_evaluated_in_full_is_no_best(study: Study) -> None:
    study.trials[2] = replace(study.trials[2], fidelity=0.5)
    names = [f"goal_{place}" for place in range(len(study.directions))]
    rows = history(study, names)
    assert rows["fidelity"].to_list() == [1.0, 1.0, 0.5, 1.0, 1.0, 1.0]
    assert rows["goal_0"][2] == study.trials[2].values[0]
    assert rows["best_goal_0"][2] == rows["best_goal_0"][0]
    assert 2 not in front(study, names)["number"].to_list()
