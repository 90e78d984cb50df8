from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gnas_ext.errors import InputError
from gnas_ext.search import Categorical, Cell, Integer, SearchSpace, Study, Trial, evolve, genealogy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gnas_ext.search import Genotype

SPACE = SearchSpace({"a": Integer(0, 9), "b": Integer(0, 9), "c": Integer(0, 9)})


def trial(number: int, genes: str, parents: Sequence[int], value: float | None, origin: str = "mutation") -> Trial:
    """A trial whose genes a, b, c are three digits."""
    genotype = SPACE.genotype(dict(zip("abc", map(int, genes), strict=True)))
    state = "failed" if value is None else "complete"
    values = () if value is None else (value,)
    return Trial(number, genotype, state, values, origin=origin, parents=tuple(parents))  # type: ignore[arg-type]


FAMILY = [
    trial(0, "111", (), 1.0, "random"),
    trial(1, "999", (), 2.0, "random"),
    trial(2, "112", (0,), 3.0),
    trial(3, "777", (), 0.5, "random"),
    trial(4, "199", (1, 2), 5.0, "crossover"),
    trial(5, "195", (4, 0), 4.5, "crossover"),
]


@pytest.fixture
def study() -> Study:
    return Study(SPACE, ("maximize",), list(FAMILY))


def test_all_ancestors_are_there_and_nobody_else(study: Study) -> None:
    rows = genealogy(study, 5)
    assert rows["number"].to_list() == [0, 1, 2, 4, 5]
    assert dict(zip(rows["number"], rows["steps"], strict=True)) == {5: 0, 4: 1, 0: 1, 1: 2, 2: 2}


def test_the_line_leads_back_by_the_nearest_parents(study: Study) -> None:
    rows = genealogy(study, study.trials[5])
    assert rows.filter("on_line")["number"].to_list() == [1, 4, 5]
    assert dict(zip(rows["number"], rows["nearest"], strict=True)) == {0: None, 1: None, 2: 0, 4: 1, 5: 4}


def test_changes_say_from_which_parent_a_value_is(study: Study) -> None:
    changes = dict(genealogy(study, 5).select("number", "changes").iter_rows())
    assert changes[0] == []
    assert changes[2] == [{"gene": "c", "before": "1", "after": "2", "taken_from": None}]
    assert changes[4] == [{"gene": "a", "before": "9", "after": "1", "taken_from": 2}]
    assert changes[5] == [{"gene": "c", "before": "9", "after": "5", "taken_from": None}]


def test_what_a_step_brought_is_measured_from_the_nearest_parent(study: Study) -> None:
    rows = genealogy(study, 5, ["ndcg"])
    assert rows["ndcg"].to_list() == [1.0, 2.0, 3.0, 5.0, 4.5]
    assert rows["change_ndcg"].to_list() == [None, None, 2.0, 3.0, -0.5]


def test_values_at_other_fidelities_are_no_change(study: Study) -> None:
    study.trials[2] = replace(study.trials[2], fidelity=1 / 3)
    study.trials[0] = replace(study.trials[0], fidelity=1 / 3)
    rows = genealogy(study, 4, ["ndcg"])
    # From 0 to 2 both are rough; 4 is nearest to 1, in full.
    assert dict(zip(rows["number"], rows["change_ndcg"], strict=True)) == {0: None, 1: None, 2: 2.0, 4: 3.0}
    study.trials[1] = replace(study.trials[1], fidelity=1 / 3)
    assert genealogy(study, 4, ["ndcg"])["change_ndcg"].to_list() == [None, None, 2.0, None]


def test_it_is_the_best_trial_s_if_none_is_named(study: Study) -> None:
    assert genealogy(study)["number"].to_list() == [0, 1, 2, 4]
    with pytest.raises(InputError, match="no trial of 0 is complete"):
        genealogy(Study(SPACE, ("maximize",)))


def test_a_trial_without_parents_is_alone(study: Study) -> None:
    rows = genealogy(study, 3)
    assert rows["number"].to_list() == [3]
    assert rows["on_line"].to_list() == [True]


def test_changes_come_apart_into_rows(study: Study) -> None:
    rows = genealogy(study, 5).explode("changes").unnest("changes").drop_nulls("gene")
    assert rows.select("number", "gene", "after").rows() == [(2, "c", "2"), (4, "a", "1"), (5, "c", "5")]


def test_genes_that_die_or_come_alive_are_changes() -> None:
    space = SearchSpace({"prior": Categorical([True, False]), "days": Integer(1, 9, when={"prior": [True]})})
    before, after = space.genotype({"prior": False}), space.genotype({"prior": True, "days": 4})
    study = Study(
        space,
        ("maximize",),
        [Trial(0, before, "complete", (1.0,)), Trial(1, after, "complete", (2.0,), parents=(0,), origin="mutation")],
    )
    assert genealogy(study, 1)["changes"].to_list()[1] == [
        {"gene": "prior", "before": "False", "after": "True", "taken_from": None},
        {"gene": "days", "before": None, "after": "4", "taken_from": None},
    ]


def test_a_cell_is_one_change() -> None:
    space = SearchSpace({"net": Cell(2, ["gcn", "gat"]), "lr": Integer(0, 3)})
    genes = {"net.1.op": "gat", "net.2.from": 1, "net.2.op": "gcn", "lr": 0}
    first = Trial(0, space.genotype(genes), "complete", (1.0,))
    second = Trial(1, space.genotype(genes | {"net.2.from": 0}), "complete", (2.0,), parents=(0,), origin="mutation")
    changes = genealogy(Study(space, ("maximize",), [first, second]))["changes"].to_list()[1]
    assert changes == [{"gene": "net", "before": "gat(0) gcn(1)", "after": "gcn(0) gat(0)", "taken_from": None}]


def test_parents_that_the_study_does_not_hold_are_passed_over(study: Study) -> None:
    study.trials.append(trial(6, "555", (44, 6, 7), 9.0, "warm"))
    rows = genealogy(study)
    assert rows["number"].to_list() == [6]
    assert rows["origin"].to_list() == ["warm"]
    assert rows["nearest"].to_list() == [None]


def test_a_failed_trial_has_a_history_too(study: Study) -> None:
    study.trials += [trial(6, "198", (5,), None), trial(7, "197", (6,), 1.0)]
    rows = genealogy(study, 7)
    assert rows["change_value"].to_list()[-2:] == [None, None]
    assert rows.filter("on_line")["number"].to_list() == [1, 4, 5, 6, 7]


def test_a_trial_that_is_not_there_is_refused(study: Study) -> None:
    with pytest.raises(InputError, match="no trial 17 in the study, which has 6"):
        genealogy(study, 17)


def test_of_a_real_search_each_step_is_what_its_parents_explain() -> None:
    def value(genotype: Genotype) -> float:
        return -sum((int(str(genotype[name])) - 7) ** 2 for name in "abc")

    study = evolve(SPACE, value, evaluations=30, population=10, seed=1)
    rows = genealogy(study)
    known = {one.number: one for one in study.trials}
    assert len(rows.filter(rows["nearest"].is_not_null())) > 2
    for number, nearest, changes, change in rows.select("number", "nearest", "changes", "change_value").iter_rows():
        if nearest is not None:
            genes = {name: str(value) for name, value in known[nearest].genotype.items()}
            genes |= {one["gene"]: one["after"] for one in changes}
            assert genes == {name: str(value) for name, value in known[number].genotype.items()}
            assert change == known[number].values[0] - known[nearest].values[0]
