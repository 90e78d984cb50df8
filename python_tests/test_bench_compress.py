"""`make bench-compress`, on a log that is read in no time."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch

from benchmarks import compress, compress_bases
from benchmarks.compress import Point, untrained, words
from gnas_ext.compress.recipe import Recipe
from gnas_ext.compress.steps import Bits, Codes
from gnas_ext.data.split_files import read_split
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
    parts = {"embeddings": {**MULTINOMIAL, "epochs": 5, "start": "normal"}, "gf-cf": {**GF_CF, "rank": 64}}
    taught = {"family": "distilled", "embeddings": 1.0, "gf-cf": 0.5, "ridge": 1.0, "top": 0.0}
    known.write_text(json.dumps({"tiny/distilled": {"genotype": taught, "parts": parts}}))
    monkeypatch.setattr(compress_bases, "BASES", known)
    made: list[int] = []

    def noted(genotype: dict[str, Any], *rest: Any, **options: Any) -> Built:
        made.extend([genotype["dim"]] if "dim" in genotype else [])
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
    chosen = figures["tiny/chosen/small"]
    assert fitting[f"tiny/valid/{chosen}"] == max(fitting.values())
    assert len(figures[f"tiny/test/{chosen}/0"]["deciles"]) == 10
    assert figures["tiny/magnitude/small/0"]["bytes"] <= base["bytes"] / 3
    assert figures["tiny/floats/16/0"]["bytes"] < base["bytes"] / 3
    page = docs.read_text()
    assert page.startswith("before")
    assert page.endswith("after\n")
    assert "old" not in page
    # The base, the chosen one, three of rows in bits, three of calibrated ones, and the deciles.
    assert page.count("| tiny |") == 9
    # Training alone, training and validation, and the narrow rival; another run trains and measures nothing.
    assert sorted(trained) == [16, 64, 64]
    assert run(monkeypatch, data, docs) == figures
    assert len(trained) == 3
    # Milliseconds of what is shipped, anew; the rest stays.
    times = {"tiny/ms/float32", f"tiny/ms/{chosen}"}
    assert {key for key in figures if "/ms/" in key} == times
    again = run(monkeypatch, data, docs, "--times")
    assert len(trained) == 3
    assert {key for key in figures if figures[key] != again[key]} <= times
    assert again.keys() == figures.keys()


def test_students_have_the_teacher_of_the_base(
    monkeypatch: pytest.MonkeyPatch,
    data: Path,  # noqa: F811
    docs: Path,  # noqa: F811
    trained: list[int],
) -> None:
    recipe = Recipe((Codes(8, 8, solves=0),))
    monkeypatch.setattr(compress, "POINTS", {"small": Point("≥ 2×", 0, 1e6, None, 16, [recipe])})
    figures = run(monkeypatch, data, docs)
    assert figures["tiny/chosen/small"] == str(recipe)
    for one in (recipe, Recipe((Codes(8, 8),))):
        assert f"tiny/test/{one}/0" in figures
    assert words(recipe) in docs.read_text()
    # The base is what `benchmarks.recommenders` made: taught, and no longer what was trained.
    split = read_split(*(data / "tiny" / f"{part}.txt" for part in ("train", "valid", "test")))
    bases = compress_bases.Bases(docs.parent / "cache", "tiny", split)
    assert not torch.equal(bases("all", 0).user.rows, bases._trained("all", 0).user.rows)
    assert figures["tiny/base/0"]["ndcg"] == compress.tested(bases("all", 0), split)["ndcg"]


def test_plain_codes_beside_grouped_ones_are_no_larger() -> None:
    grouped = Recipe((Codes(14, 26, solves=1, rare_share=0.75, rare_bytes=10),))
    assert untrained(grouped) == Recipe((Codes(14, 14),))
    assert untrained(Recipe((Codes(30, 30, solves=1),))) == Recipe((Codes(30, 30),))


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
