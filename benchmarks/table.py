"""What did a benchmark find? The medians of a pytest-benchmark JSON as a Markdown table, ours first.

python benchmarks/table.py benchmarks/results/latest.json
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

OURS = "gnas_ext"


def medians(result: dict[str, Any]) -> dict[tuple[str, int], dict[str, float]]:
    """Milliseconds by (what was measured, width) and implementation, in the order of the file."""
    table: dict[tuple[str, int], dict[str, float]] = defaultdict(dict)
    for run in result["benchmarks"]:
        params = run["params"]
        what = f"{run['name'].split('[')[0].removeprefix('bench_')} {params['reduce']}"
        table[what, params["width"]][params["impl"]] = run["stats"]["median"] * 1e3
    return table


def markdown(result: dict[str, Any]) -> str:
    """A row a case: our median in milliseconds, then each rival's and how many times ours it is."""
    table = medians(result)
    impls = list(dict.fromkeys(impl for row in table.values() for impl in row if impl != OURS))
    lines = [
        f"| | width | {OURS} | {' | '.join(impls)} | best rival / ours |",
        f"|---|{'---:|' * (len(impls) + 3)}",
    ]
    for (what, width), row in sorted(table.items()):
        ours = row.get(OURS)
        cells = [f"{row[impl]:.2f}{times(row[impl], ours)}" if impl in row else "" for impl in impls]
        rivals = [time for impl, time in row.items() if impl != OURS]
        best = f"{min(rivals) / ours:.2f}×" if ours and rivals else ""
        lines.append(f"| {what} | {width} | {'' if ours is None else f'{ours:.2f}'} | {' | '.join(cells)} | {best} |")
    return "\n".join([caption(result), "", *lines])


def times(rival: float, ours: float | None) -> str:
    """How many times ours a rival takes, in brackets."""
    return f" ({rival / ours:.1f}×)" if ours else ""


def caption(result: dict[str, Any]) -> str:
    """What the figures are of."""
    about = result["benchmarks"][0]["extra_info"]
    cpu = result["machine_info"].get("cpu", {}).get("brand_raw", "unknown CPU")
    return (
        f"Medians in milliseconds. {about['graph']}: {about['nodes']:,} nodes, {about['edges']:,} edges; float32; "
        f"{about['threads']} threads, {about['simd']}, {cpu}; torch {about['torch']}."
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(markdown(json.loads(Path(sys.argv[1]).read_text())))
