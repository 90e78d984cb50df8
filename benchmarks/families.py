"""What is measured? The families of all bench_*.py files, found by themselves."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.suite import Family

FILES = sorted(path.stem for path in Path(__file__).parent.glob("bench_*.py"))
FAMILIES: list[Family] = [f for name in FILES for f in importlib.import_module(f"benchmarks.{name}").FAMILIES]
