from __future__ import annotations

import random
import sys
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

from gnas_ext.search.recommender import Objective, build, embedding_space, trained
from gnas_ext.search.recommender.compression import further_genes
from gnas_ext.search.recommender.taught import teacher_genes
from gnas_ext.search.recommender.trainings import Trainings, of_training
from gnas_ext.train import TrainOptions
from python_tests import logs
from python_tests.search.recommender.conftest import same

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gnas_ext.train.loop import Fit

LOG = logs.split()
AFTER = {*further_genes(), *teacher_genes()}


def variants(count: int) -> list[dict[str, Any]]:
    """Genotypes that differ in what is done after training alone."""
    space, rng = embedding_space(LOG.train), random.Random(3)
    genes = {name: gene.values[0] for name, gene in space.genes.items()}
    genes |= {"dim": 16, "hops": 1, "loss": "bpr", "epochs": 5, "batch": 512}
    genes = {name: value for name, value in genes.items() if name not in AFTER}
    found: dict[str, dict[str, Any]] = {}
    while len(found) < count:
        one = space.sample(rng)
        mixed = space.genotype(genes | {name: one[name] for name in AFTER if name in one}).as_dict()
        found[str(mixed)] = mixed
    return list(found.values())


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, Any]]:
    """What is trained, from here on."""
    genotypes: list[Mapping[str, Any]] = []

    def remembered(genotype: Mapping[str, Any], *arguments: Any, **options: Any) -> Fit:
        genotypes.append(genotype)
        return trained.train_genotype(genotype, *arguments, **options)

    monkeypatch.setattr(sys.modules["gnas_ext.search.recommender.build"], "train_genotype", remembered)
    return genotypes


def test_what_is_done_after_training_is_done_to_one_training(asked: list[Mapping[str, Any]]) -> None:
    trainings = Trainings()
    genotypes = variants(8)
    assert len(genotypes) == 8
    assert {one["teacher"] for one in genotypes} > {"none"}
    for genotype in genotypes:
        again = build(genotype, LOG.train, epochs=2, trainings=trainings)
        assert same(again.model, build(genotype, LOG.train, epochs=2).model)
        assert len(again.curve) == 2
    assert len(asked) == 1 + len(genotypes)


def test_another_training_is_done(asked: list[Mapping[str, Any]]) -> None:
    trainings = Trainings()
    genotype = variants(1)[0]
    given: dict[str, Any] = {"epochs": 2, "trainings": trainings}
    for options in ({}, {"seed": 1}, {"epochs": 3}, {"patience": 1}, {"seconds": 50.0}):
        build(genotype, LOG.train, **(given | options))
    build({**genotype, "lr": 0.08}, LOG.train, epochs=2, trainings=trainings)
    build(genotype, LOG.valid, epochs=2, trainings=trainings)
    assert len(asked) == 7


def test_what_has_no_room_goes() -> None:
    made: list[int] = []

    def once(number: int, size: int = 4) -> None:
        trainings.once(LOG.train, number, lambda: made.append(number), lambda _: size)

    trainings = Trainings(room=10)
    for number in (0, 1, 0, 1, 2, 1, 0):  # at the third, the first goes
        once(number)
    assert made == [0, 1, 2, 0]
    for size in (10, 11):  # what is larger than all room is never kept
        once(size, size)
        once(size, size)
    assert made[4:] == [10, 11, 11]
    once(10)
    assert len(made) == 7


def test_an_objective_trains_once(asked: list[Mapping[str, Any]]) -> None:
    objective = Objective(LOG, epochs=2, k=5)
    told = [objective.would_spare(variants(1)[0])]
    spared = []
    for genotype in variants(4):
        told.append(objective.would_spare(genotype))
        spared.append(objective(genotype).spared)
    assert len(asked) == 1
    assert told == [0.0, *spared]
    assert objective.would_spare({**variants(1)[0], "lr": 0.08}) == 0
    assert objective.would_spare({"family": "popularity"}) == 0
    # What a trial would have taken alone counts the training that it found.
    assert spared[0] == 0 < min(spared[1:])


def test_no_gene_of_training_is_forgotten() -> None:
    assert not AFTER & ({field.name for field in fields(TrainOptions)} | set(trained._NET))
    space = embedding_space(LOG.train)
    seen = {name for name, _ in of_training(dict.fromkeys(space.genes, 0))}  # type: ignore[attr-defined]
    assert seen == set(space.genes) - AFTER
