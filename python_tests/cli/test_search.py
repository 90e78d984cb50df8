"""From a file to an artefact, a report and a journal, through what people type."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def manifest(out: Path) -> dict[str, object]:
    loaded: dict[str, object] = json.loads((out / "artefact" / "manifest.json").read_text(encoding="utf-8"))
    return loaded


def test_a_search_leaves_an_artefact_a_report_and_a_journal(found: Path) -> None:
    pictures = {"architecture.mmd", "architecture.svg"}
    names = pictures | {"artefact", "journal.log", "journal.log.finals", "report.html"}
    assert {path.name for path in found.iterdir()} == names
    assert (found / "artefact" / "model.safetensors").stat().st_size > 0


def test_the_output_fits_80_columns_and_says_what_counts(
    ratings: Path, tmp_path: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("search", ratings, "--out", tmp_path / "o", "--evaluations", "2", "--epochs", "1") == 0
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if not line.startswith(("artefact", "report", "chosen"))]
    assert max(map(len, lines)) <= 80
    for expected in ("userId", "search", "found model", "ItemKNN", "LightGCN", "NDCG@20", "report.html"):
        assert expected in printed


def test_the_comparison_holds_the_promised_baselines(found: Path) -> None:
    comparison = manifest(found)["comparison"]
    assert isinstance(comparison, list)
    names = [line["name"] for line in comparison]
    assert names[0] == "found model"
    assert {"popularity", "recent popularity (last quarter)", "ItemKNN", "LightGCN, 64 floats, plain"} <= set(names)


def test_among_classics_one_is_found(ratings: Path, tmp_path: Path, command: Callable[..., int]) -> None:
    out = tmp_path / "o"
    assert command("search", ratings, "--models", "classic", "--out", out, "--evaluations", "4") == 0
    genotype = manifest(out)["genotype"]
    assert isinstance(genotype, dict)
    assert "family" in genotype
    assert command("recommend", out, "7", "-k", "3") == 0


def test_given_split_files_are_searched(tmp_path: Path, command: Callable[..., int]) -> None:
    for name, shift in (("train", 0), ("valid", 3), ("test", 4)):
        lines = [
            f"{user} {' '.join(str((user + shift + k) % 12) for k in range(3 if name == 'train' else 1))}"
            for user in range(30)
        ]
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    files = [part for name in ("train", "valid", "test") for part in (f"--{name}", tmp_path / f"{name}.txt")]
    assert command("search", *files, "--out", tmp_path / "o", "--evaluations", "2", "--epochs", "2") == 0
    assert manifest(tmp_path / "o")["n_users"] == 30


def test_cheap_trials_of_workers_begin_with_the_best_of_an_earlier_search(
    ratings: Path, found: Path, tmp_path: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o"
    options = ["--halving", "--workers", "1", "--trial-seconds", "60", "--warm-start", str(found / "journal.log")]
    budget = ["--evaluations", "14", "--epochs", "2", "--seeds", "1"]
    assert command("search", ratings, "--out", out, *budget, *options) == 0
    assert "14 trials" in capsys.readouterr().out
    assert manifest(out)["n_users"] == 60
    assert command("recommend", out, "7", "-k", "3") == 0


def test_limits_are_kept_and_what_they_cost_is_said(
    ratings: Path, tmp_path: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o"
    options = ["--evaluations", "4", "--epochs", "3", "--seeds", "1"]
    assert command("search", ratings, "--out", out, *options, "--max-size", "1.2 kB", "--max-ms", "900") == 0
    printed = capsys.readouterr().out
    assert "at most 1.20 kB and 900 ms a user: kept" in printed
    assert "made smaller by: " in printed
    size = manifest(out)["size_bytes"]
    assert isinstance(size, int)
    assert size <= 1200
    assert "at most 1.20 kB" in (out / "report.html").read_text(encoding="utf-8")
    assert command("show", out) == 0
    assert "recipe=" in capsys.readouterr().out


def test_a_second_search_does_not_overwrite_a_journal(
    ratings: Path, found: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("search", ratings, "--out", found, "--evaluations", "4", "--epochs", "3") == 2
    assert "--resume" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_search_goes_on_to_the_same_end(ratings: Path, tmp_path: Path) -> None:
    def search(out: Path, *more: str) -> subprocess.Popen[bytes]:
        arguments = ["search", str(ratings), "--out", str(out), "--evaluations", "8", "--epochs", "3", *more]
        return subprocess.Popen([sys.executable, "-m", "gnas_ext", *arguments], stdout=subprocess.DEVNULL)

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert search(whole).wait() == 0
    process = search(killed)
    journal = killed / "journal.log"
    # Killed once three trials stand in the journal (it begins with two lines of its own).
    while not journal.exists() or journal.read_bytes().count(b"\n") < 5:
        assert process.poll() is None, "the search ended before it could be killed"
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert search(killed, "--resume").wait() == 0
    for name in ("model.safetensors", "seen.safetensors", "users.parquet", "items.parquet"):
        assert (killed / "artefact" / name).read_bytes() == (whole / "artefact" / name).read_bytes()
    assert manifest(killed)["genotype"] == manifest(whole)["genotype"]
