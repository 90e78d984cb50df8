"""core/random.h: are the numbers Philox's, at every instruction set, and are they even?"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import gnas_ext
from python_tests.philox import Draws, philox4x32

ROOT = Path(__file__).parents[2]
FLAGS = {
    "baseline": "",
    "avx2": "-mavx2 -mfma",
    "avx512": "-mavx2 -mfma -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512",
}
# kat_vectors of Random123 1.14: counter, key, result.
KNOWN = {
    ("00000000 00000000 00000000 00000000", "00000000 00000000"): "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff"): "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0"): "d16cfe09 94fdcceb 5001e420 24126ea1",
}
ENDS = (1, 2, 3, 10, 2**31 + 1, 2**32 - 1, 2**32, 3 * 2**40 + 1, 2**63)
PROGRAM = """
#include <cstdio>
#include <cinttypes>
#include <initializer_list>
#include "core/random.h"
using namespace gnas;
int main() {
  const uint32_t known[][6] = {KNOWN};
  for (const auto& k : known) {
    const Philox got = philox4x32({{k[0], k[1], k[2], k[3]}}, k[4], k[5]);
    printf("%08x %08x %08x %08x\\n", got.word[0], got.word[1], got.word[2], got.word[3]);
  }
  Draws draws(0x0123456789abcdefu, 0xfedcba9876543210u, 7);
  for (uint64_t end : {ENDS})
    for (int n = 0; n < 25; ++n) printf("%" PRIu64 "\\n", draws.below(end));
  for (int n = 0; n < 9; ++n) printf("%.9g\\n", draws.uniform());
}
"""


def words(text: str) -> tuple[int, ...]:
    return tuple(int(word, 16) for word in text.split())


def test_the_oracle_gives_the_known_answers() -> None:
    for (counter, key), result in KNOWN.items():
        assert philox4x32(words(counter), words(key)) == words(result)


@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("level", gnas_ext.simd_levels())
def test_every_instruction_set_gives_the_known_answers(level: str, tmp_path: Path) -> None:
    known = ", ".join("{" + ", ".join(f"0x{word:x}u" for word in words(c) + words(k)) + "}" for c, k in KNOWN)
    ends = ", ".join(f"uint64_t{{{end}u}}" for end in ENDS)
    source = tmp_path / "draws.cpp"
    source.write_text(PROGRAM.replace("KNOWN", known).replace("ENDS", ends))
    compiler = [os.environ.get("CXX", "g++"), "-std=c++17", "-O2", "-Wall", "-Werror", *FLAGS[level].split()]
    subprocess.run([*compiler, f"-I{ROOT / 'csrc'}", source, "-o", tmp_path / "draws"], check=True)
    lines = subprocess.run([tmp_path / "draws"], capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[:3] == list(KNOWN.values())
    draws = Draws(0x0123456789ABCDEF, 0xFEDCBA9876543210, 7)
    below = [draws.below(end) for end in ENDS for _ in range(25)]
    assert [int(line) for line in lines[3:-9]] == below
    assert [float(line) for line in lines[-9:]] == pytest.approx([draws.uniform() for _ in range(9)], rel=1e-8)


def test_numbers_below_an_end_are_even() -> None:
    """Six values, 30,000 draws: chi-squared with 5 degrees of freedom is above 25 once in 7,000 seeds."""
    draws = Draws(5, 1)
    seen = [0] * 6
    for _ in range(30_000):
        seen[draws.below(6)] += 1
    assert sum((count - 5_000) ** 2 / 5_000 for count in seen) < 25
