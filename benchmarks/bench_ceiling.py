"""How fast is this machine's memory? What the ops can reach at best."""

from __future__ import annotations

from typing import Any

from benchmarks import suite
from benchmarks.ceiling import MEMORY

FAMILIES = MEMORY


def bench_memory(benchmark: Any, turn: suite.Turn) -> None:
    suite.measure(benchmark, turn)
