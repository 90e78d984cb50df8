"""How many instructions does a small call cost? Counted by callgrind, which noise cannot touch.

    python benchmarks/instructions.py RESULT.json

Every family's own implementation on small graphs, one thread: the difference between a long and a short run over the
difference of their lengths, so that only calls are counted. Valgrind has no AVX-512: the kernels run at AVX2.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SHORT, LONG = 5, 25
CASES = (("ten-nodes", 16), ("thousand-nodes", 16), ("thousand-nodes", 64))
ABOUT = "Callgrind, one thread, kernels at AVX2. What Python and torch do to get to the kernel counts too."
REQUESTS = """
#include <valgrind/callgrind.h>
#ifdef __cplusplus
extern "C" {
#endif
void begin_count(void) { CALLGRIND_ZERO_STATS; CALLGRIND_TOGGLE_COLLECT; }
void end_count(const char* name) { CALLGRIND_TOGGLE_COLLECT; CALLGRIND_DUMP_STATS_AT(name); }
#ifdef __cplusplus
}
#endif
"""


def count(library: str) -> None:
    """Runs in valgrind: every case twice, each run a dump of its own."""
    import torch

    from benchmarks import suite
    from benchmarks.families import FAMILIES

    torch.set_num_threads(1)
    native = ctypes.CDLL(library)
    for family in FAMILIES:
        if suite.OURS not in family.implementations:
            continue
        for graph, width in CASES:
            if family.graphs and graph not in family.graphs:  # of a size that valgrind would take hours for
                continue
            size = width if family.size == "width" else family.sizes[0]
            if size != width and width != CASES[-1][1] and graph != "ten-nodes":
                continue
            setting = suite.Setting(suite.graph(graph, "cpu"), size, family.dtype)
            run = family.implementations[suite.OURS](setting)
            for _ in range(3):
                run()
            for times in (SHORT, LONG):
                native.begin_count()
                for _ in range(times):
                    run()
                native.end_count(f"{family.name}|{graph}, {family.size} {size}|{times}".encode())
            print(f"{family.name}: {graph}, {size}", flush=True)


def read(folder: Path) -> list[dict[str, Any]]:
    """Instructions a call, from the dumps."""
    totals: dict[tuple[str, str], dict[int, int]] = {}
    for path in folder.glob("out.*"):
        text = path.read_text(errors="replace")
        name = re.search(r"Client Request: ([^|]*)\|([^|]*)\|(\d+)$", text, re.MULTILINE)
        total = re.search(r"^(?:totals|summary): (\d+)", text, re.MULTILINE)
        if name and total:
            totals.setdefault((name[1], name[2]), {})[int(name[3])] = int(total[1])
    return [
        {"family": family, "case": case, "instructions": round((found[LONG] - found[SHORT]) / (LONG - SHORT))}
        for (family, case), found in sorted(totals.items())
        if len(found) == 2
    ]


def main(result: Path) -> None:
    """Compiles the requests, runs this file in valgrind and writes what was counted; says why where it cannot."""
    if shutil.which("valgrind") is None:
        print("instructions: skipped, there is no valgrind here (apt-get install valgrind)")
        return
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "requests.c").write_text(REQUESTS)
        library = folder / "requests.so"
        compiler = os.environ.get("CC", "gcc")
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, folder / "requests.c"], check=True)
        valgrind = ["valgrind", "--tool=callgrind", "--collect-atstart=no", f"--callgrind-out-file={folder}/out"]
        child = [sys.executable, "-m", "benchmarks.instructions", "--count", str(library)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        with (folder / "log").open("w") as log:
            done = subprocess.run([*valgrind, *child], check=False, stdout=log, stderr=log, env=environment)
        calls = read(folder)
        if done.returncode != 0 or not calls:
            sys.exit(f"instructions: valgrind failed\n{(folder / 'log').read_text()[-3000:]}")
    result.write_text(json.dumps({"instructions": {"about": ABOUT, "calls": calls}}, indent=1) + "\n")
    for call in calls:
        print(f"{call['family']}, {call['case']}: {call['instructions']:,} instructions a call")


if __name__ == "__main__":
    if sys.argv[1] == "--count":
        count(sys.argv[2])
    else:
        main(Path(sys.argv[1]))
