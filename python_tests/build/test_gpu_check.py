"""Does `make gpu-check` keep what it finds, and refuse where there is no GPU? Tried on the CPU, as far as that goes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import sources

ROOT = Path(__file__).parents[2]


def check(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "ci" / "gpu_check.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_it_refuses_to_run_without_a_gpu(tmp_path: Path) -> None:
    done = check("--results", tmp_path)
    assert done.returncode != 0
    assert done.stderr.strip() == f"gpu-check: needs an NVIDIA GPU, and torch {torch.__version__} sees none"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_is_found_is_kept(tmp_path: Path) -> None:
    part = ("--ops", "sddmm,ceiling", "--graphs", "thousand-nodes", "--sizes", "16,64")
    done = check("--dry-run", "--steps", "tests,memcheck,benchmarks", "--results", tmp_path, *part)
    assert done.returncode == 0, done.stdout + done.stderr
    kept = json.loads((tmp_path / "dry-run.json").read_text())
    steps = ["tests", "memcheck", "benchmarks: thousand-nodes"]
    assert list(kept["steps"]) == steps
    assert all(text.startswith("passed in ") and sources.digest() in text for text in kept["steps"].values())
    assert {(p["family"], p["size"]) for p in kept["points"]} >= {("sddmm", 16), ("sddmm", 64), ("memory: copy", 64)}


@pytest.mark.slow
def test_one_step_that_fails_stops_no_other(tmp_path: Path) -> None:
    done = check("--dry-run", "--steps", "benchmarks", "--ops", "sddmm", "--graphs", "nothing,thousand-nodes",
                 "--sizes", "16", "--results", tmp_path)  # fmt: skip
    assert done.returncode != 0
    assert "gpu-check: failed: benchmarks: nothing" in done.stderr
    kept = json.loads((tmp_path / "dry-run.json").read_text())
    assert kept["steps"]["benchmarks: nothing"].startswith("failed after")
    assert kept["steps"]["benchmarks: thousand-nodes"].startswith("passed in")
    assert [p["family"] for p in kept["points"]] == ["sddmm"]
