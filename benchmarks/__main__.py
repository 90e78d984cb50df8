"""Which figures are measured, in which order? All of `make bench-ops`.

    python -m benchmarks --ops spmm,sddmm --graphs gowalla --sizes 64

The suite once; once more in a process with huge pages, for the rivals that gain by them; the instructions of small
calls; and the table. What fails does not stop the rest; the exit status tells.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
OPS = tuple(sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py")))


def suite(given: argparse.Namespace, result: Path, **environment: str) -> bool:
    """One process of pytest-benchmark; is all well?"""
    result.unlink(missing_ok=True)
    files = [str(HERE / f"bench_{op}.py") for op in given.ops.split(",")]
    options = ["--graphs", given.graphs, "--sizes", given.sizes, "--device", given.device, "-rsf"]
    command = [sys.executable, "-m", "pytest", "-c", str(HERE / "pytest.ini"), *files, *options]
    return run([*command, f"--benchmark-json={result}"], **environment)


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
    arguments.add_argument("--docs", type=Path, default=HERE.parent / "docs" / "benchmarks.md")
    given = arguments.parse_args()
    everything = not (given.ops or given.graphs or given.sizes)
    given.ops = given.ops or ",".join(OPS)
    given.graphs = given.graphs or "gowalla,power-law"
    began = time.monotonic()
    RESULTS.mkdir(exist_ok=True)
    latest, huge, counted = (RESULTS / f"latest{part}.json" for part in ("", "-huge-pages", "-instructions"))
    done = {"the suite": suite(given, latest)}
    if given.device == "cpu":
        done["the suite with huge pages"] = suite(given, huge, THP_MEM_ALLOC_ENABLE="1")
    if everything:
        done["instructions"] = run([sys.executable, "-m", "benchmarks.instructions", str(counted)])
    measured = [str(path) for path in (latest, huge, counted) if path.exists()]
    table = [sys.executable, str(HERE / "table.py"), "--keep", str(RESULTS), "--docs", str(given.docs), *measured]
    done["the table"] = run(table)
    print(f"bench-ops: {time.monotonic() - began:.0f} s")
    failed = [name for name, well in done.items() if not well]
    if failed:
        sys.exit(f"bench-ops: failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
