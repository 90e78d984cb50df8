"""Does `gnas_ext.load` withstand a million damaged artefacts? In processes of their own: a crash is a result too.

    python ci/fuzz_load.py --minutes 5

Whatever comes first ends it: the iterations or the minutes. Findings name the iteration: `--first I --iterations 1`
with the same seed runs it again. Exit status 1 if there are any.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

MORE_MEMORY = 1 << 30  # bytes that a worker may map beyond what it has when it begins
SLOWEST = 20.0  # seconds for one artefact of 30 items
SLOWEST_START = 300.0  # seconds for torch to be imported on a busy machine
STARTING = b"\xff" * 8
RUN_AT_ONCE = 20_000  # iterations a process


def work(seed: int, first: int, last: int, place: Path, until: float) -> None:
    """Iterations first … last-1; `place` says which one runs, a line what is wrong, the last line what came of them."""
    from python_tests.recommend.fuzz import prepared

    with prepared(seed) as fuzz, place.open("r+b", buffering=0) as file:
        for warm in range(50):
            fuzz.run(-1 - warm)
        fuzz.found.outcomes.clear()
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + MORE_MEMORY, mapped + MORE_MEMORY))
        done = first
        while done < last and time.time() < until:
            os.pwrite(file.fileno(), done.to_bytes(8, "little"), 0)
            fuzz.run(done)
            done += 1
            while fuzz.found.wrong:
                print(json.dumps(fuzz.found.wrong.pop()), flush=True)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        print(json.dumps([done, fuzz.found.outcomes, peak]))


def supervise(seed: int, first: int, iterations: int, minutes: float) -> int:
    """Starts workers until all is done, and prints what they saw; the exit status."""
    started, until = time.time(), time.time() + 60 * minutes
    outcomes: Counter[str] = Counter()
    wrong: list[tuple[int, str]] = []
    peak, done = 0, first
    with tempfile.TemporaryDirectory() as home:
        place, errors, lines = Path(home, "place"), Path(home, "errors"), Path(home, "lines")
        while done < first + iterations and time.time() < until:
            place.write_bytes(STARTING)
            last = min(done + RUN_AT_ONCE, first + iterations)
            arguments = [str(part) for part in (seed, done, last, place, until)]
            with errors.open("wb") as stream, lines.open("wb") as printed:
                worker = subprocess.Popen(
                    [sys.executable, __file__, "--worker", *arguments],
                    stdout=printed,
                    stderr=stream,
                    env={**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "RUST_BACKTRACE": "0"},
                )
                hung = _watch(worker, place)
            said = [json.loads(line) for line in lines.read_bytes().splitlines()]
            if worker.returncode == 0:
                done, counts, most = said.pop()
                outcomes.update(counts)
                peak = max(peak, most)
            elif place.read_bytes() == STARTING:
                sys.exit(f"no worker starts: {errors.read_text(errors='replace')}")
            else:
                culprit = int.from_bytes(place.read_bytes(), "little")
                why = " ".join(errors.read_bytes()[-300:].decode(errors="replace").split())
                said.append((culprit, "hung" if hung else f"crashed with status {worker.returncode}: {why}"))
                outcomes["before a crash"] += culprit - done
                done = culprit + 1
            wrong += said
            seconds = time.time() - started
            print(f"{done - first:>9,} in {seconds:,.0f} s, {len(wrong)} findings", flush=True)
    for outcome, count in outcomes.most_common():
        print(f"{count:>9,}  {outcome}")
    print(
        f"{done - first:,} iterations from {first} of seed {seed} in {time.time() - started:,.0f} s; at most {peak} MiB"
    )
    for iteration, what in wrong:
        print(f"{iteration}: {what}")
    return 1 if wrong else 0


def _watch(worker: subprocess.Popen[bytes], place: Path) -> bool:
    """Waits for a worker; whether it had to be ended because one iteration took too long."""
    before, since = STARTING, time.time()
    while True:
        try:
            worker.wait(timeout=1)
        except subprocess.TimeoutExpired:
            now = place.read_bytes()
            if now != before:
                before, since = now, time.time()
            elif time.time() - since > (SLOWEST_START if now == STARTING else SLOWEST):
                worker.kill()
                worker.wait()
                return True
        else:
            return False


def main() -> int:
    """What was typed."""
    if sys.argv[1:2] == ["--worker"]:
        seed, first, last, place, until = sys.argv[2:]
        work(int(seed), int(first), int(last), Path(place), float(until))
        return 0
    parser = argparse.ArgumentParser(description="Damages artefacts and has them loaded.")
    parser.add_argument("--iterations", type=int, default=1_000_000, help="at most; 1,000,000 by default")
    parser.add_argument("--minutes", type=float, default=60, help="at most; 60 by default")
    parser.add_argument("--seed", type=int, default=0, help="of all draws")
    parser.add_argument("--first", type=int, default=0, help="iteration to begin with")
    given = parser.parse_args()
    return supervise(given.seed, given.first, given.iterations, given.minutes)


if __name__ == "__main__":
    sys.exit(main())
