from __future__ import annotations

import random
from typing import TYPE_CHECKING

import optuna
import pytest

from benchmarks import finding
from gnas_ext.search import Genotype, Trial
from gnas_ext.search.recommender import space_and_recipes
from gnas_ext.search.recommender.training_free import RP3BETA
from python_tests import logs

if TYPE_CHECKING:
    from gnas_ext.data import Interactions


@pytest.mark.parametrize("method", finding.METHODS)
def test_each_method_ends_in_a_measured_model(method: str) -> None:
    found = finding.searched(logs.split(), method, 0.02, seed=0)
    assert found["trials"] >= 1
    assert 0 < found["ndcg@20"] <= 1
    assert found["bytes"] > 0
    # This log has times: its test part is what came last.
    assert found["drawn"] is None


def test_another_test_part_is_drawn_from_the_whole_log() -> None:
    split = logs.split(times=False)
    parts = finding.drawn_anew(split)
    assert parts is not None
    train, test = parts

    def pairs(*parts: Interactions) -> list[tuple[int, int]]:
        return sorted((u, i) for part in parts for u, i in zip(part.user.tolist(), part.item.tolist(), strict=True))

    assert pairs(train, test) == pairs(split.train, split.valid, split.test)
    assert len(test) == pytest.approx(len(split.test), rel=0.1)
    assert pairs(test) != pairs(split.test)
    trial = Trial(0, Genotype(RP3BETA), "complete", (0.1,), attributes={"best_epoch": 0})
    ndcg = finding.on_drawn(split, trial, seed=0)
    assert ndcg is not None
    assert 0 < ndcg <= 1


def test_what_optuna_is_asked_for_is_of_the_space() -> None:
    space, _ = space_and_recipes("all", logs.touches())
    rng = random.Random(0)
    families = set()
    for _ in range(100):
        # A fixed trial answers what a random genotype says, and only what is asked.
        wanted = space.sample(rng)
        answers = {
            name: list(space.genes[name].values).index(value) if space.genes[name].ordinal else value
            for name, value in wanted.items()
        }
        assert finding.suggested(space, optuna.trial.FixedTrial(answers)) == wanted.as_dict()
        families.add(wanted["family"])
    assert len(families) > 3


def test_the_table_marks_the_front() -> None:
    def one(ndcg: float, size: int, cores: int = 2) -> dict[str, object]:
        genotype = {"family": "slim"}
        return {
            "ndcg@20": ndcg,
            "recall@20": 0.2,
            "valid": 0.125,
            "drawn": 0.15 if cores == 2 else None,
            "bytes": size,
            "trials": 3,
            "failed": 1,
            "measured": "2026-01-02",
            "cores": cores,
            "genotype": genotype,
        }

    lines = finding.written_table({"log/1/a/0": one(0.3, 50), "log/1/b/0": one(0.2, 90)}).splitlines()
    assert [line.split("|")[5].strip() for line in lines[-2:]] == ["0.1500"] * 2
    assert [line.split("|")[6].strip() for line in lines[-2:]] == ["0.1250"] * 2
    assert [line.split("|")[8].strip() for line in lines[-2:]] == ["yes", "no"]
    # On other cores it is another comparison.
    apart = finding.written_table({"log/1/a/0": one(0.3, 50), "log/1/b/0": one(0.2, 90, cores=1)})
    assert apart.count("| yes |") == 2
    assert apart.splitlines()[-1].split("|")[5].strip() == ""
    assert apart.startswith("Measured up to 2026-01-02.")
