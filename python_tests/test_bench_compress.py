"""`make bench-compress`, on a log that is read in no time."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import compress, compress_bases
from benchmarks.compress import Candidate, Point, known_as, untrained, words
from gnas_ext.compress.recipe import Recipe
from gnas_ext.compress.steps import Bits, Codes
from gnas_ext.search.recommender import build
from gnas_ext.search.recommender.embeddings import MULTINOMIAL
from gnas_ext.search.recommender.training_free import GF_CF
from python_tests.test_recommender_figures import data, docs  # noqa: F401  (fixtures)

if TYPE_CHECKING:
    from pathlib import Path

    from gnas_ext.search.recommender import Built


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """Widths of the bases that were trained, in order; points that fit to a small log."""
    bits = [Recipe((Bits(some),)) for some in (32, 8, 4, 2)]
    monkeypatch.setattr(compress, "POINTS", {"small": Point("≥ 3×", 3, 0, 0.5, 16, bits)})
    monkeypatch.setattr(compress, "SETS", ("tiny",))
    monkeypatch.setattr(compress, "LIGHTGCN", {"tiny": (0.1, 0.1)})
    known = tmp_path / "bases.json"
    known.write_text(json.dumps({"tiny/embeddings": {"genotype": {**MULTINOMIAL, "epochs": 5, "start": "normal"}}}))
    monkeypatch.setattr(compress_bases, "BASES", known)
    made: list[int] = []

    def noted(genotype: dict[str, Any], *rest: Any, **options: Any) -> Built:
        made.append(genotype["dim"])
        return build(genotype, *rest, **options)

    monkeypatch.setattr(compress_bases, "build", noted)
    return made


def run(monkeypatch: pytest.MonkeyPatch, data: Path, docs: Path, *more: str) -> dict[str, Any]:  # noqa: F811
    found, cache = docs.parent / "figures.json", docs.parent / "cache"
    places = ["--data", str(data), "--docs", str(docs), "--found", str(found), "--cache", str(cache)]
    monkeypatch.setattr(sys, "argv", ["compress", *places, "--sets", "tiny", "--seeds", "0", *more])
    compress.main()
    figures: dict[str, Any] = json.loads(found.read_text())
    return figures


def test_the_best_on_validation_that_fits_is_tested_beside_its_rivals(
    monkeypatch: pytest.MonkeyPatch,
    data: Path,  # noqa: F811
    docs: Path,  # noqa: F811
    trained: list[int],
) -> None:
    figures = run(monkeypatch, data, docs)
    base = figures["tiny/base/0"]
    valid = {key: value for key, value in figures.items() if key.startswith("tiny/valid/")}
    assert len(valid) == 4
    fitting = {key: value["ndcg"] for key, value in valid.items() if value["bytes"] <= base["bytes"] / 3}
    assert 0 < len(fitting) < 4
    chosen = json.dumps(figures["tiny/chosen/small"]["genes"], sort_keys=True)
    assert figures["tiny/chosen-of-base/small"] == figures["tiny/chosen/small"]
    assert fitting[f"tiny/valid/{chosen}"] == max(fitting.values())
    assert len(figures[f"tiny/test/{chosen}/0"]["deciles"]) == 10
    assert figures["tiny/magnitude/small/0"]["bytes"] <= base["bytes"] / 3
    assert figures["tiny/floats/16/0"]["bytes"] < base["bytes"] / 3
    page = docs.read_text()
    assert page.startswith("before")
    assert page.endswith("after\n")
    assert "old" not in page
    # The base, the chosen one, three of rows in bits, and the deciles.
    assert page.count("| tiny |") == 6
    # Training alone, training and validation, and the narrow rival; another run trains and measures nothing.
    assert sorted(trained) == [16, 64, 64]
    assert run(monkeypatch, data, docs) == figures
    assert len(trained) == 3


def test_students_of_the_mixture_are_chosen_beside_those_of_the_base(
    monkeypatch: pytest.MonkeyPatch,
    data: Path,  # noqa: F811
    docs: Path,  # noqa: F811
    trained: list[int],
) -> None:
    recipe = Recipe((Codes(8, 8, solves=0),))
    points = {"small": Point("≥ 2×", 0, 1e6, None, 16, [recipe], [recipe])}
    monkeypatch.setattr(compress, "POINTS", points)
    monkeypatch.setattr(compress_bases, "FILTERS", {"tiny": ({**GF_CF, "rank": 64}, 1.0)})
    figures = run(monkeypatch, data, docs)
    valid = {one: figures[f"tiny/valid/{known_as(one)}"]["ndcg"] for one in points["small"].all()}
    assert {one.teacher for one in valid} == {"base", "mixture"}
    chosen = max(valid, key=lambda one: valid[one])
    assert figures["tiny/chosen/small"]["teacher"] == chosen.teacher
    assert figures["tiny/chosen-of-base/small"] == {"genes": recipe.genes(), "teacher": "base"}
    # Whoever was chosen, what had the base alone as its teacher is there, beside the plain codes.
    for one in (Candidate(recipe), Candidate(Recipe((Codes(8, 8),)))):
        assert f"tiny/test/{known_as(one)}/0" in figures
    assert words(Candidate(recipe)) in docs.read_text()


def test_plain_codes_beside_grouped_ones_are_no_larger() -> None:
    grouped = Candidate(Recipe((Codes(14, 26, solves=1, rare_share=0.75, rare_bytes=10),)), "mixture")
    assert untrained(grouped) == Candidate(Recipe((Codes(14, 14),)))
    even = Candidate(Recipe((Codes(30, 30, solves=1),)))
    assert untrained(even) == Candidate(Recipe((Codes(30, 30),)))


def test_unknown_points_and_sets_are_refused(
    monkeypatch: pytest.MonkeyPatch,
    data: Path,  # noqa: F811
    docs: Path,  # noqa: F811
    trained: list[int],
) -> None:
    with pytest.raises(SystemExit, match="--points: unknown large; there are small"):
        run(monkeypatch, data, docs, "--points", "large")
    with pytest.raises(SystemExit, match="--sets: no base is known for other"):
        run(monkeypatch, data, docs, "--sets", "other")
