"""`make bench-recommenders`, on a log that is read in no time."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchmarks import recommenders
from benchmarks.recommenders import Figures, Point, each
from gnas_ext.search.recommender import build
from gnas_ext.search.recommender.training_free import RP3BETA
from python_tests.logs import touches

if TYPE_CHECKING:
    from pathlib import Path

    from gnas_ext.search.recommender import Built


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder as the published ones: valid.txt is a part of train.txt."""
    rows = touches()
    folder = tmp_path / "data" / "tiny"
    folder.mkdir(parents=True)
    part = np.random.default_rng(0).choice(3, len(rows), p=[0.7, 0.1, 0.2])
    for name, inside in (("train", part < 2), ("valid", part == 1), ("test", part == 2)):
        lines = [" ".join(map(str, [user, *rows.item[inside & (rows.user == user)]])) for user in np.unique(rows.user)]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return tmp_path / "data"


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    path = tmp_path / "docs.md"
    path.write_text("before\n<!-- figures -->\nold\n<!-- end of figures -->\nafter\n")
    return path


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Every genotype that is measured, in order."""
    points = {
        "one": Point("One", {"": [{"family": "popularity"}]}, {"tiny": (0.25, 0.125)}),
        "two": Point("Two", {"": each(RP3BETA, beta=[0.0, 0.4])}, {}),
    }
    monkeypatch.setattr(recommenders, "POINTS", points)
    monkeypatch.setattr(recommenders, "SETS", ("tiny",))
    made: list[dict[str, Any]] = []

    def noted(genotype: dict[str, Any], *rest: Any, **options: Any) -> Built:
        made.append(genotype)
        return build(genotype, *rest, **options)

    monkeypatch.setattr(recommenders, "build", noted)
    return made


def run(monkeypatch: pytest.MonkeyPatch, data: Path, docs: Path, *more: str) -> None:
    found = str(data.parent / "figures.json")
    given = ["recommenders", "--data", str(data), "--sets", "tiny", "--found", found, "--docs", str(docs), *more]
    monkeypatch.setattr(sys, "argv", given)
    recommenders.main()


def test_the_best_on_validation_is_measured_on_test_once(
    monkeypatch: pytest.MonkeyPatch, data: Path, docs: Path, calls: list[dict[str, Any]]
) -> None:
    run(monkeypatch, data, docs)
    assert len(calls) == 1 + 2 + 1
    figures = json.loads((data.parent / "figures.json").read_text())
    tried = figures["tiny/two"]["valid"]
    assert figures["tiny/two"]["genotype"] == max(tried, key=lambda entry: entry["ndcg"])["genotype"] == calls[-1]
    text = docs.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| tiny | One | ." in text
    assert "| .2500 / .1250 | – |" in text
    assert "| of 2 |" in text


def test_what_is_known_is_not_measured_again(
    monkeypatch: pytest.MonkeyPatch, data: Path, docs: Path, calls: list[dict[str, Any]]
) -> None:
    run(monkeypatch, data, docs)
    calls.clear()
    run(monkeypatch, data, docs)
    assert calls == []
    figures = Figures(data.parent / "figures.json")
    del figures.of("tiny", "two")["valid"][0]
    figures.keep()
    run(monkeypatch, data, docs)
    assert [genotype["beta"] for genotype in calls] == [0.0]
    calls.clear()
    run(monkeypatch, data, docs, "--points", "one", "--again")
    assert calls == [{"family": "popularity"}]


def test_an_unknown_point_is_refused(monkeypatch: pytest.MonkeyPatch, data: Path, docs: Path) -> None:
    with pytest.raises(SystemExit, match="unknown nothing"):
        run(monkeypatch, data, docs, "--points", "nothing")


def test_a_mixture_is_of_what_was_chosen_and_of_each_seed(
    monkeypatch: pytest.MonkeyPatch, data: Path, docs: Path, calls: list[dict[str, Any]]
) -> None:
    both = {"family": "mixture", "one": 1.0, "two": 0.5}
    factors = {**recommenders.FACTORS, "dim": 4}
    points = dict(recommenders.POINTS) | {
        "three": Point("Three", {"": [factors]}, {}, 2),
        "both": Point("Both", {"": [both, {**both, "three": 1.0}]}, {}, 2),
    }
    monkeypatch.setattr(recommenders, "POINTS", points)
    run(monkeypatch, data, docs)
    figures = json.loads((data.parent / "figures.json").read_text())
    # The parts of the mixtures are built from training once, and once a seed from all.
    chosen = figures["tiny/two"]["genotype"]
    assert calls.count(chosen) == 1 + 1 + 1 + 2
    seeds = [one["ndcg"] for one in figures["tiny/three"]["seeds"]]
    assert len(set(seeds)) == 2
    middle, apart = sum(seeds) / 2, abs(seeds[0] - seeds[1]) / 2
    assert f"{middle:.4f} ± {apart:.4f}".replace("0.", ".") in docs.read_text()
    assert len(figures["tiny/both"]["seeds"]) == 2


def test_the_embeddings_are_taught_by_their_mixture(
    monkeypatch: pytest.MonkeyPatch, data: Path, docs: Path, calls: list[dict[str, Any]]
) -> None:
    factors = {**recommenders.FACTORS, "dim": 4}
    taught = {"family": "distilled", "embeddings": 1.0, "one": 0.5}
    points = dict(recommenders.POINTS) | {
        "embeddings": Point("Embeddings", {"": [factors]}, {}, 2),
        "taught": Point("Taught", {"": recommenders.each(taught, ridge=[0.1, 1.0], top=[0.0])}, {}, 2),
    }
    monkeypatch.setattr(recommenders, "POINTS", points)
    run(monkeypatch, data, docs)
    figures = json.loads((data.parent / "figures.json").read_text())
    student, teachers = figures["tiny/taught"], figures["tiny/embeddings"]
    assert len(student["valid"]) == len(student["seeds"]) == 2
    assert [one["bytes"] for one in student["seeds"]] == [one["bytes"] for one in teachers["seeds"]]
    assert student["parts"] == {"embeddings": factors, "one": figures["tiny/one"]["genotype"]}


def test_a_mixture_without_its_parts_is_refused(monkeypatch: pytest.MonkeyPatch, data: Path, docs: Path) -> None:
    points = {"both": Point("Both", {"": [{"family": "mixture", "popularity": 1.0}]}, {})}
    monkeypatch.setattr(recommenders, "POINTS", points)
    monkeypatch.setattr(recommenders, "SETS", ("tiny",))
    with pytest.raises(SystemExit, match="needs 'popularity' first"):
        run(monkeypatch, data, docs)
