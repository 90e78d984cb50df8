"""Which figures are measured, in which order? All of `make bench-ops`.

    python -m benchmarks --ops spmm,sddmm --graphs gowalla --sizes 64

An op on a graph is a process, and one more with huge pages, for the rivals that gain by them; then the instructions of
small calls. The figures of each are in the table before the next one begins. What fails does not stop the rest; the
exit status tells.
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
OPS = tuple(sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py")))


def suite(given: argparse.Namespace, op: str, graph: str, result: Path, **environment: str) -> bool:
    """One process of pytest-benchmark, whose figures are kept before the next one begins; is all well?"""
    result.unlink(missing_ok=True)
    options = ["--graphs", graph, "--sizes", given.sizes, "--device", given.device, "-rsf"]
    command = [sys.executable, "-m", "pytest", "-c", str(HERE / "pytest.ini"), str(HERE / f"bench_{op}.py"), *options]
    well = run([*command, f"--benchmark-json={result}"], **environment)
    return keep(given, result) and well


def keep(given: argparse.Namespace, result: Path) -> bool:
    """Folds what was measured into the file of this machine and into the document."""
    table = [sys.executable, str(HERE / "table.py"), "--keep", str(RESULTS), "--docs", str(given.docs)]
    return not result.exists() or run([*table, str(result)])


def graphs_of(op: str, graphs: str) -> list[str]:
    """The graphs to measure an op on, one process each; a single one where its families name their own."""
    families = importlib.import_module(f"benchmarks.bench_{op}").FAMILIES
    return graphs.split(",")[: None if any(not family.graphs for family in families) else 1]


def run(command: list[str], **environment: str) -> bool:
    """A command in the root of the checkout; did it succeed?"""
    return subprocess.run(command, check=False, cwd=HERE.parent, env={**os.environ, **environment}).returncode == 0


def main() -> None:
    """Runs all and says what failed."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--ops", default="", help=f"of {', '.join(OPS)}")
    arguments.add_argument("--graphs", default="")
    arguments.add_argument("--sizes", default="")
    arguments.add_argument("--device", default="cpu")
    arguments.add_argument("--docs", type=Path, default=HERE.parent / "docs" / "performance.md")
    given = arguments.parse_args()
    everything = not (given.ops or given.graphs or given.sizes)
    given.ops = given.ops or ",".join(OPS)
    given.graphs = given.graphs or "gowalla,power-law"
    began = time.monotonic()
    RESULTS.mkdir(exist_ok=True)
    latest, huge, counted = (RESULTS / f"latest{part}.json" for part in ("", "-huge-pages", "-instructions"))
    done: dict[str, bool] = {}
    for op in given.ops.split(","):
        for graph in graphs_of(op, given.graphs):
            done[f"{op} on {graph}"] = suite(given, op, graph, latest)
            if given.device == "cpu":
                done[f"{op} on {graph} with huge pages"] = suite(given, op, graph, huge, THP_MEM_ALLOC_ENABLE="1")
    if everything:
        counts = [sys.executable, "-m", "benchmarks.instructions", str(counted)]
        done["instructions"] = run(counts) and keep(given, counted)
    print(f"bench-ops: {time.monotonic() - began:.0f} s")
    failed = [name for name, well in done.items() if not well]
    if failed:
        sys.exit(f"bench-ops: failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
