"""What is done with an artefact: recommending, measuring, looking at it."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import polars as pl
import pytest

import gnas_ext

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_recommend_prints_titles(found: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert command("recommend", found, "7", "12", "-k", "3") == 0
    printed = capsys.readouterr().out
    assert printed.count("Film ") == 6
    assert "user 7" in printed
    assert "user 12" in printed


def test_csv_and_json_lines_agree_with_the_api(
    found: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = gnas_ext.load(found / "artefact").recommend([7], k=4)["item"].to_list()
    assert command("recommend", found, "7", "-k", "4", "--format", "csv") == 0
    assert [line["item"] for line in csv.DictReader(io.StringIO(capsys.readouterr().out))] == wanted
    assert command("recommend", found, "7", "-k", "4", "--format", "jsonl") == 0
    assert [json.loads(line)["item"] for line in capsys.readouterr().out.splitlines()] == wanted


def asked(capsys: pytest.CaptureFixture[str], command: Callable[..., int], *arguments: object) -> pl.DataFrame:
    """What `recommend` prints as JSON lines, which csv must agree with."""
    assert command("recommend", *arguments, "--format", "jsonl") == 0
    rows = pl.read_ndjson(io.StringIO(capsys.readouterr().out))
    assert command("recommend", *arguments, "--format", "csv") == 0
    header, *lines = csv.reader(io.StringIO(capsys.readouterr().out))
    assert header == rows.columns
    assert [line[header.index("item")] for line in lines] == rows["item"].to_list()
    return rows


def test_unknown_users_get_what_is_popular_and_are_flagged(
    found: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = asked(capsys, command, found, "7", "stranger", "-k", "3", "--unknown", "popular")
    wanted = gnas_ext.load(found / "artefact").recommend(["7", "stranger"], k=3, unknown="popular")
    assert rows.select("user", "item", "source").rows() == wanted.select("user", "item", "source").rows()
    assert rows["source"].to_list() == ["model"] * 3 + ["popular"] * 3
    assert command("recommend", found, "7", "stranger", "-k", "3", "--unknown", "popular") == 0
    headings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("user")]
    assert headings[0] == "user 7"
    assert headings[1].startswith("user stranger  not in training: what is popular")


@pytest.mark.parametrize("who", [["7"], ["--like", "0003"]])
def test_only_what_is_asked_for_is_recommended(
    who: list[str], found: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--items", "0021", "--items", "0007", "--items", "0030"]
    rows = asked(capsys, command, found, *who, "--no-exclude-seen", *few)
    assert set(rows["item"]) == {"0021", "0007", "0030"}
    rows = asked(capsys, command, found, *who, "--no-exclude-seen", *few, "--filter-items", "0007")
    assert set(rows["item"]) == {"0021", "0030"}


def test_somebody_new_is_recommended_by_what_they_like(
    found: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    liked = ["0003", "0011"]
    rows = asked(capsys, command, found, "--like", liked[0], "--like", liked[1], "-k", "4")
    wanted = gnas_ext.load(found / "artefact").recommend_for_items(liked, k=4)
    assert rows.columns == ["rank", "item", "score", "title"]
    assert rows["item"].to_list() == wanted["item"].to_list()
    assert not set(rows["item"]) & set(liked)
    assert command("recommend", found, "--like", liked[0], "--like", liked[1], "-k", "4") == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in printed] == wanted["item"].to_list()


def test_a_user_for_whom_nothing_is_left_has_a_heading(
    found: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("recommend", found, "7", "12", "--items", "0001", "--filter-items", "0001") == 0
    assert capsys.readouterr().out.splitlines() == ["user 7", "no items", "user 12", "no items"]


def test_item_ids_keep_their_leading_zeros(found: Path) -> None:
    assert set(gnas_ext.load(found / "artefact").titles["item"]) <= {f"{item:04}" for item in range(40)}


def test_show_prints_the_genotype_and_the_data(
    found: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("show", found) == 0
    printed = capsys.readouterr().out
    for expected in ("genotype: dim=", "ratings.csv", "temporal", "found model", "sha256:"):
        assert expected in printed


def test_evaluate_counts_what_came_later(
    found: Path, tmp_path: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    recommender = gnas_ext.load(found / "artefact")
    best = recommender.recommend([7], k=1)["item"][0]
    later = tmp_path / "later.csv"
    # One hit at rank 1, one item that nobody knows, one user that nobody knows.
    later.write_text(f"user,item\n7,{best}\n7,new\nstranger,{best}\n", encoding="utf-8")
    assert command("evaluate", found, later, "-k", "5") == 0
    printed = capsys.readouterr().out
    assert "2 new touches of 1 known users" in printed
    assert "counted as missed: 1 touches" in printed
    assert "recall@5       0.5000" in printed
    assert "mrr@5          1.0000" in printed


def test_export_writes_lists_of_everybody(
    found: Path, tmp_path: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("export", found, "--to", "parquet", "--out", tmp_path / "lists.parquet", "-k", "4") == 0
    assert "agrees with the artefact's own scores" in capsys.readouterr().out
    lists = pl.read_parquet(tmp_path / "lists.parquet")
    recommender = gnas_ext.load(found / "artefact")
    assert lists.filter(pl.col("user") == 7)["item"].to_list() == recommender.recommend([7], k=4)["item"].to_list()
    assert lists["user"].n_unique() == recommender.n_users


def test_export_says_what_is_there_already(
    found: Path, tmp_path: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lists.parquet").write_text("mine")
    assert command("export", found, "--to", "parquet", "--out", tmp_path / "lists.parquet") == 2
    assert "is already there" in capsys.readouterr().err
    assert (tmp_path / "lists.parquet").read_text() == "mine"


def test_the_help_of_export_fits_a_terminal(command: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert command("export", "--help") == 0
    printed = capsys.readouterr().out
    assert "parquet|faiss|torch|onnx" in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_an_artefact_says_how_far_its_figures_may_be_off(found: Path) -> None:
    manifest = gnas_ext.load(found / "artefact").manifest
    assert 0 < manifest.spread["ndcg@20"] < manifest.metrics["ndcg@20"]
    assert manifest.comparison[1].spread.keys() == manifest.spread.keys()


def test_similar_prints_titles(found: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert command("similar", found, "0007", "-k", "3") == 0
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 3
    assert printed.count("Film ") == 3
    assert "Film 7 &" not in printed


def test_explain_prints_a_sum(found: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    recommender = gnas_ext.load(found / "artefact")
    item = recommender.recommend("7", k=1)["item"][0]
    assert command("explain", found, "7", item, "--reasons", "3") == 0
    title, *lines, score, sums = capsys.readouterr().out.splitlines()
    assert title.startswith(f"Film {int(item)} & <co>")
    values = [float(line.split()[0]) for line in lines]
    assert lines[0].endswith("everybody")
    assert sum("Film" in line for line in lines) == 3
    assert sum(values) == pytest.approx(float(score.split()[0]), abs=0.0005 * (len(values) + 1))
    assert sums == recommender.explain("7", item).sums


def test_serve_hands_the_folder_on(found: Path, command: Callable[..., int], monkeypatch: pytest.MonkeyPatch) -> None:
    serve = pytest.importorskip("gnas_ext.serve", reason="needs the extra serve")
    asked: list[object] = []
    monkeypatch.setattr(serve, "serve", lambda *given: asked.extend(given))
    assert command("serve", found, "--port", "0", "--watch", "5", "--allow-host", "films.example") == 0
    assert asked == [found / "artefact", "127.0.0.1", 0, 5.0, ["films.example"]]
