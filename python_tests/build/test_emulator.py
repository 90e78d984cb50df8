"""The stand-in for CUDA: does a launch end as it would on a GPU, and is what would be undefined there an error?"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLAGS = "-std=gnu++17 -O1 -ffp-contract=off -fno-strict-aliasing"
CHECKED = "-fsanitize=alignment,bounds"


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each case printed."""
    folder = tmp_path_factory.mktemp("emulator")
    compiler, emulator = os.environ.get("CXX", "g++"), ROOT / "csrc" / "emulator"
    include = (f"-I{emulator}", f"-I{ROOT / 'csrc'}")
    kernels = Path(__file__).with_name("emulator_cases.cpp")
    for source, flags in ((kernels, [*FLAGS.split(), CHECKED]), (emulator / "emulator.cpp", FLAGS.split())):
        subprocess.run([compiler, *flags, *include, "-c", source, "-o", folder / f"{source.stem}.o"], check=True)
    objects = [folder / "emulator_cases.o", folder / "emulator.o"]
    subprocess.run([compiler, *objects, "-o", folder / "cases"], check=True)
    done = subprocess.run([folder / "cases"], check=True, capture_output=True, text=True)
    lines = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    return lines | {"said": done.stderr}


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("sum", "0 2016 2016"),
        ("half_warps", "0 11 28"),
        ("garbage", f"0 {0xA5A5A5A5 - 2**32} 0"),
        ("unordered", "0 1 31"),  # the first block's threads run from the first, the second's from the last
        ("diverged", "710 0 0"),
        ("outside", "710 0 0"),
        ("misaligned", "716 0 0"),
        ("beyond", "700 0 0"),
        ("trap", "719 0 0"),
        ("too_many_threads", "9 0 0"),
        ("sum_again", "0 2016 2016"),
        ("half", str(0x3C00)),
        ("bfloat16", str(0x3F82)),
    ],
)
def test_a_launch_ends_as_on_a_gpu(cases: dict[str, str], case: str, expected: str) -> None:
    assert cases[case] == expected


def test_says_who_waits_for_whom(cases: dict[str, str]) -> None:
    assert "warp 0, from lane 0: in a shuffle of mask ffffffff" in cases["said"]
    assert "warp 0, from lane 8: at __syncthreads" in cases["said"]
