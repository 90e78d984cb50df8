"""Do the ops work on a GPU, and how fast? Builds, tests, looks with compute-sanitizer, and measures; needs no network.

    make gpu-check                                     everything, under 15 minutes
    python ci/gpu_check.py --steps build,tests         a part
    python ci/gpu_check.py --steps benchmarks --ops spmm --graphs gowalla

Each step has its time; what one finds is written before the next begins, to benchmarks/results/<the GPU's name>.json,
with the hash of the sources that it measured. A step that fails does not stop the others; the exit status tells.
Nothing is installed: it takes the python that runs it, with torch for CUDA, pybind11, pytest and pytest-benchmark, and
nvcc, cmake and ninja.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import sources, table  # noqa: E402

STEPS = ("build", "tests", "memcheck", "racecheck", "benchmarks")
# Seconds that each may take; the benchmarks, on a graph.
LIMITS = {"build": 300, "tests": 200, "memcheck": 120, "racecheck": 120, "benchmarks": 120}
TOTAL = 15 * 60
# What is stopped may first write what it has.
GRACE = 10
GRAPHS = ("gowalla", "power-law", "power-law-10m")
OPS = tuple(sorted(path.stem.removeprefix("bench_") for path in (ROOT / "benchmarks").glob("bench_*.py")))
# What was promised for the largest graph alone: it is drawn anew, and each point takes gigabytes.
LARGEST, LARGEST_OPS, LARGEST_SIZES = "power-law-10m", ("ceiling", "spmm", "spmm_quantized", "attention"), "64,256"


class Check:
    """What has been found so far, and where it is kept."""

    def __init__(self, given: argparse.Namespace, gpu: str) -> None:
        self.given = given
        self.began = time.monotonic()
        self.failed: list[str] = []
        self.latest = given.results / "latest-gpu.json"
        self.kept = given.results / f"{table.slug(gpu)}.json"
        self.gpu = gpu
        given.results.mkdir(parents=True, exist_ok=True)

    def run(self, name: str, command: list[str], limit: float, **environment: str) -> bool:
        """A command with a limit, ended with all its children; did it succeed? What it prints is kept in a file."""
        left = TOTAL - (time.monotonic() - self.began)
        if left < 10:
            self.note(name, "not run: no time was left", failed=True)
            return False
        print(f"\n=== {name}: {' '.join(command)}", flush=True)
        began = time.monotonic()
        output = self.given.results / f"latest-gpu-{table.slug(name)}.log"
        with output.open("w+") as log:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,
            )
            try:
                status: int | None = process.wait(min(limit, left))
            except subprocess.TimeoutExpired:
                end(process)
                status = None
        text = output.read_text(errors="replace")
        print(text[-4000:], flush=True)
        took = f"{time.monotonic() - began:.0f} s"
        last = next((line.strip("= ") for line in reversed(text.splitlines()) if line.strip("= ")), "")[:160]
        how = "stopped after" if status is None else "failed after" if status else "passed in"
        said = "" if "/" in last and status == 0 else f": {last}"  # a build ends with a path of its machine
        self.note(name, f"{how} {took}{said}", failed=status != 0)
        return status == 0

    def note(self, name: str, text: str, failed: bool = False) -> None:
        """Says and keeps how a step went."""
        print(f"{name}: {text}", flush=True)
        if failed:
            self.failed.append(name)
        self.keep({"steps": {name: f"{text} (sources {sources.digest()})"}})

    def keep(self, result: dict[str, object]) -> None:
        """Folds a result into the file of this GPU."""
        before = [json.loads(self.kept.read_text())] if self.kept.exists() else []
        whole = table.folded([*before, {**result, "machine": self.gpu}])
        half = self.kept.with_suffix(".part")
        half.write_text(json.dumps(whole, indent=1) + "\n")
        half.replace(self.kept)


def end(process: subprocess.Popen[bytes]) -> None:
    """First by what Ctrl-C sends, so that pytest writes what it has measured."""
    for sent in (signal.SIGINT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sent)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
            return


def build(check: Check) -> None:
    """The libraries in place, for this GPU alone."""
    capability = "90"
    if not check.given.dry_run:
        code = "import torch; print(*torch.cuda.get_device_capability(), sep='')"
        capability = subprocess.check_output([sys.executable, "-c", code], text=True).strip()
    folder = ROOT / "build" / "gpu-check"
    options = {
        "GNAS_PYTHON": sys.executable,
        "GNAS_OUTPUT": str(check.given.build_into),
        "GNAS_CUDA": "stub" if check.given.dry_run else "auto",
        "CMAKE_CUDA_ARCHITECTURES": f"{capability}-real",
    }
    configure = ["cmake", "-G", "Ninja", "-S", str(ROOT), "-B", str(folder)]
    if check.run("configure", [*configure, *(f"-D{name}={value}" for name, value in options.items())], 60):
        check.run("build", ["cmake", "--build", str(folder)], LIMITS["build"])


def tests(check: Check) -> None:
    """All tests of ops that have a CUDA case."""
    which = "baseline" if check.given.dry_run else "cuda"
    files = ["python_tests/ops/test_sddmm.py"] if check.given.dry_run else ["python_tests/ops", "python_tests/nn"]
    existing = [name for name in files if (ROOT / name).exists()]
    options = ["-q", "-p", "no:cacheprovider", "-k", which, "-m", "not peers"]
    if importlib.util.find_spec("xdist"):  # many small kernels: several processes share a GPU well
        options += ["-n", str(min(12, os.cpu_count() or 1))]
    check.run("tests", [sys.executable, "-m", "pytest", *existing, *options], LIMITS["tests"])


def memcheck(check: Check) -> None:
    """Reads and writes out of bounds."""
    sanitizer(check, "memcheck", "--leak-check", "no")


def racecheck(check: Check) -> None:
    """Races in shared memory."""
    sanitizer(check, "racecheck")


def sanitizer(check: Check, tool: str, *options: str) -> None:
    """All ops on small graphs under one of compute-sanitizer's tools."""
    cases = [sys.executable, "ci/gpu_cases.py", "cpu" if check.given.dry_run else "cuda"]
    if check.given.dry_run:
        check.run(tool, cases, LIMITS[tool])
        return
    program = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    if not Path(program).exists():
        check.note(tool, "skipped: there is no compute-sanitizer here")
        return
    # Without the caching allocator each tensor has bounds of its own.
    command = [program, "--tool", tool, *options, "--error-exitcode", "9", "--target-processes", "all"]
    check.run(tool, [*command, *cases], LIMITS[tool], PYTORCH_NO_CUDA_MEMORY_CACHING="1")


def benchmarks(check: Check) -> None:
    """All ops on a graph in a process: a start and a graph cost more than most figures. The largest graph last."""
    device = "cpu" if check.given.dry_run else "cuda"
    for graph in check.given.graphs.split(","):
        ops, sizes = check.given.ops.split(","), check.given.sizes
        if graph == LARGEST:
            ops, sizes = [op for op in ops if op in LARGEST_OPS], sizes or LARGEST_SIZES
        check.latest.unlink(missing_ok=True)
        files = [f"benchmarks/bench_{op}.py" for op in ops]
        suite = [sys.executable, "-m", "pytest", "-c", "benchmarks/pytest.ini", *files, "-rf"]
        options = ["--graphs", graph, "--device", device, "--sizes", sizes]
        command = [*suite, *options, f"--benchmark-json={check.latest}"]
        check.run(f"benchmarks: {graph}", command, check.given.seconds)
        if check.latest.exists() and check.latest.stat().st_size:
            check.keep({"points": json.loads(check.latest.read_text())["points"]})
    print(table.markdown(json.loads(check.kept.read_text())), flush=True)


def gpu_name() -> str:
    """The GPU that torch sees; ends the program where there is none."""
    code = (
        "import torch; here = torch.cuda.is_available();"
        "print(torch.cuda.get_device_name() if here else '', torch.__version__, sep=';')"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"gpu-check: {sys.executable} has no torch: PYTHON=… make gpu-check names another")
    name, version = done.stdout.strip().split(";")
    if not name:
        sys.exit(f"gpu-check: needs an NVIDIA GPU, and torch {version} sees none")
    return name


def main() -> None:
    """Runs the steps that were asked for."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--steps", default=",".join(STEPS))
    arguments.add_argument("--ops", default=",".join(OPS))
    arguments.add_argument("--graphs", default=",".join(GRAPHS))
    arguments.add_argument("--sizes", default="")
    arguments.add_argument("--seconds", type=float, default=LIMITS["benchmarks"], help="that a graph's benchmarks get")
    arguments.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    arguments.add_argument("--build-into", type=Path, default=ROOT / "gnas_ext")
    arguments.add_argument("--dry-run", action="store_true", help="the same steps on the CPU, to try this program")
    given = arguments.parse_args()
    unknown = set(given.steps.split(",")) - set(STEPS)
    if unknown:
        sys.exit(f"gpu-check: expected steps of {', '.join(STEPS)}, got {', '.join(sorted(unknown))}")
    check = Check(given, "dry run" if given.dry_run else gpu_name())
    functions = {"build": build, "tests": tests, "memcheck": memcheck, "racecheck": racecheck, "benchmarks": benchmarks}
    for step in given.steps.split(","):
        functions[step](check)
    print(f"\ngpu-check: {time.monotonic() - check.began:.0f} s, {check.kept}")
    if check.failed:
        sys.exit(f"gpu-check: failed: {', '.join(check.failed)}")


if __name__ == "__main__":
    main()
