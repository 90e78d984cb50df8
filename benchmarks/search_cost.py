"""What does the search itself cost? `python -m benchmarks.search_cost`

Processor milliseconds a trial over 1,000 trials that cost nothing themselves: proposals, predictor and journal.
The first search warms up what is imported, and does not count.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.nas_bench_graph import space as cells
from gnas_ext.search import Categorical, Integer, LogFloat, SearchSpace, evolve

if TYPE_CHECKING:
    from collections.abc import Mapping

TRIALS = 1_000
REPEATS = 3


def genes() -> SearchSpace:
    """Ten plain genes, some of which depend on others."""
    plain = {f"x{place}": Integer(0, 9) for place in range(4)} | {f"lr{place}": LogFloat(1e-4, 1) for place in range(2)}
    switch = Categorical([True, False])
    return SearchSpace(plain | {"on": switch} | {f"y{i}": Integer(0, 9, when={"on": [True]}) for i in range(3)})


def evaluate(genotype: Mapping[str, Any]) -> float:
    """Costs nothing, and is not flat."""
    return sum(len(str(value)) * place for place, value in enumerate(genotype.values(), start=1))


def milliseconds(space: SearchSpace, predict: bool, trials: int = TRIALS) -> float:
    """Of the processor, a trial."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        evolve(space, evaluate, evaluations=trials, predict=predict, journal=Path(folder) / "journal.log")
        return 1000 * (time.process_time() - began) / trials


def main() -> None:
    """Prints the table."""
    milliseconds(genes(), True, 20)
    for name, space in (("a cell of four nodes", cells("cora")), ("ten plain genes", genes())):
        for predict in (True, False):
            found = [milliseconds(space, predict) for _ in range(REPEATS)]
            shown = f"{median(found):6.1f} ms a trial ({min(found):.1f} to {max(found):.1f})"
            print(f"{name:<22} {'predictor' if predict else 'none':<10} {shown}", flush=True)


if __name__ == "__main__":
    main()
