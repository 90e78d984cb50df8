"""What did the benchmarks find? Medians as Markdown: the targets first, then every figure.

    python benchmarks/table.py RESULTS.json…                 prints the table
    python benchmarks/table.py --keep benchmarks/results --docs docs/performance.md RESULTS.json…

Results are what `make bench-ops` writes. Where two of them have a point, the later one counts; `--keep` folds them into
the file of their machine, which is committed, so that one op can be measured again without the others.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

OURS, CEILING = "gnas_ext", "ceiling"
# What was tried where a target is missed, and what bounds it: a heading a line of the table of targets.
NOTES, CUDA_NOTES = Path(__file__).with_name("notes.md"), Path(__file__).with_name("notes-cuda.md")
HUGE_PAGES = ("both with huge pages", "only the rival with huge pages")
Point = dict[str, Any]
GRAPHS = ("ten-nodes", "thousand-nodes", "gowalla", "gowalla-like", "power-law", "power-law-10m")


def folded(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Several results as one."""
    points: dict[tuple[Any, ...], Point] = {}
    instructions: dict[str, Any] = {}
    steps: dict[str, Any] = {}
    machine = ""
    for result in results:
        for point in result.get("points", []):
            key = tuple(point[name] for name in ("family", "graph", "size", "device", "pages", "threads"))
            points.pop(key, None)
            points[key] = point
        instructions |= result.get("instructions", {})
        steps |= result.get("steps", {})
        machine = machine_of(result) or machine
    return {"machine": machine, "points": list(points.values()), "instructions": instructions, "steps": steps}


def machine_of(result: dict[str, Any]) -> str:
    """The processor, and the GPU where it was one."""
    if "machine" in result:
        return str(result["machine"])
    cpu = result.get("machine_info", {}).get("cpu", {})
    name = f"{cpu.get('brand_raw', 'unknown processor')}, {cpu.get('count', '?')} cores" if cpu else ""
    devices = {point["device"] for point in result.get("points", [])} - {"cpu"}
    return ", ".join([*sorted(devices), name]) if name else ""


def slug(machine: str) -> str:
    """A file's name for a machine: a GPU's alone, else the processor's."""
    return re.sub(r"[^a-z0-9.]+", "-", machine.split(", ")[0].replace("(R)", "").replace("CPU @", "").lower()).strip(
        "-"
    )


def ratio(point: Point, ours: float | None = None) -> tuple[float, str] | None:
    """The best rival's time over ours, and who it is; None where there is no rival or ours is missing."""
    mine = ours or point["seconds"].get(OURS)
    rivals = {name: time for name, time in point["seconds"].items() if name not in (OURS, CEILING)}
    if not mine or not rivals:
        return None
    best = min(rivals, key=lambda name: rivals[name])
    return rivals[best] / mine, best


def where(point: Point) -> str:
    """A point of a family in a few words."""
    return f"{point['graph']}, {point['size_name']} {point['size']}"


def verdict(name: str, pairs: list[tuple[Point, tuple[float, str]]], target: list[Any] | None) -> str:
    """A line of the table of targets."""
    ratios = [value for _, (value, _) in pairs]
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    worst, (low, rival) = min(pairs, key=lambda pair: pair[1][0])
    wanted, reached = "", ""
    if target:
        wanted = f"{target[0]:g}× / {target[1]:g}×{f' ({target[2]})' if target[2] else ''}"
        reached = "yes" if mean >= target[0] and low >= target[1] else "**no**"
    shares = [point["seconds"][CEILING] / point["seconds"][OURS] for point, _ in pairs if CEILING in point["seconds"]]
    share = f"{min(shares):.0%} … {max(shares):.0%}" if shares else ""
    where_ = f"{low:.2f}× ({where(worst)}: {rival})"
    return f"| {name} | {len(pairs)} | {mean:.2f}× | {where_} | {wanted} | {reached} | {share} |"


def targets(points: list[Point]) -> list[str]:
    """An op a line: the geometric mean of best rival / ours, the worst point, and what was promised."""
    lines = [
        "| op | points | best rival / ours, geometric mean | worst point | target: mean / never below | reached | "
        "ceiling / ours |",
        "|---|---:|---:|---|---|---|---|",
    ]
    default = {(p["family"], p["graph"], p["size"]): p for p in points if p["pages"] == "default"}
    groups: dict[tuple[str, str], list[Point]] = defaultdict(list)
    for point in points:
        groups[point["family"], point["pages"]].append(point)
    for (family, pages), group in groups.items():
        target = group[0]["target"]
        counted = [p for p in group if not (target and target[2] and p["graph"] != target[2])]
        pairs = [(p, found) for p in counted if (found := ratio(p))]
        if pairs and pages == "default" and group[0]["limit_us"] is None:
            lines.append(verdict(family, pairs, target))
        if pages == "huge":
            if pairs:
                lines.append(verdict(f"{family}, {HUGE_PAGES[0]}", pairs, target))
            beside = [(p, default.get((p["family"], p["graph"], p["size"]))) for p in counted]
            ours = [(p, ratio(p, other["seconds"].get(OURS))) for p, other in beside if other]
            mixed = [(p, found) for p, found in ours if found]
            if mixed:
                lines.append(verdict(f"{family}, {HUGE_PAGES[1]}", mixed, target))
    return lines


def sections(notes: str) -> dict[str, str]:
    """The text below each heading, in one line."""
    found = re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", notes, re.MULTILINE | re.DOTALL)
    return {name: " ".join(text.split()) for name, text in found}


def missed(lines: list[str], notes: dict[str, str]) -> list[str]:
    """What was tried, for each line of the table of targets that says no."""
    names = [line.split(" | ")[0].removeprefix("| ") for line in lines if "| **no** |" in line]
    reasons = [f"- {name}: {notes[name]}" for name in names if name in notes]
    return ["Where a target is missed, what was tried and what bounds it:", "", *reasons] if reasons else []


def limits(points: list[Point]) -> list[str]:
    """What a call may cost in microseconds, and costs."""
    lines = []
    for point in points:
        if point["limit_us"] is not None and OURS in point["seconds"]:
            all_ = ", ".join(f"{name} {time * 1e6:.1f}" for name, time in point["seconds"].items())
            reached = "reached" if point["seconds"][OURS] * 1e6 <= point["limit_us"] else "**not reached**"
            lines.append(
                f"{point['family']}, {where(point)}, microseconds: {all_}; at most {point['limit_us']:g}, {reached}."
            )
    return lines


def figures(points: list[Point]) -> list[str]:
    """Every family: a row a point, ours, each rival and how many times ours it is."""
    lines: list[str] = []
    groups: dict[tuple[str, str], list[Point]] = defaultdict(list)
    for point in points:
        groups[point["family"], point["pages"]].append(point)
    for (family, pages), group in groups.items():
        group.sort(key=lambda point: (GRAPHS.index(point["graph"]) if point["graph"] in GRAPHS else 99, point["size"]))
        names = [*dict.fromkeys(n for point in group for n in point["seconds"] if n not in (OURS, CEILING))]
        names += [CEILING] if any(CEILING in point["seconds"] for point in group) else []
        ours = any(OURS in point["seconds"] for point in group)
        title = family if pages == "default" else f"{family}, with huge pages"
        lines += ["", f"### {title}", "", f"{group[0]['dtype']}, milliseconds.", ""]
        head = [group[0]["size_name"], *([OURS] if ours else []), *names]
        lines += [f"| | {' | '.join(head)} |", f"|---|{'---:|' * len(head)}"]
        for point in group:
            mine = point["seconds"].get(OURS)
            cells = [cell(mine), *(cell(point["seconds"].get(name), mine) for name in names)]
            lines.append(f"| {point['graph']} | {point['size']} | {' | '.join(cells if ours else cells[1:])} |")
        lines += left_out(group)
    return lines


def cell(seconds: float | None, ours: float | None = None) -> str:
    """Milliseconds, and how many times ours."""
    if seconds is None:
        return ""
    times = f" ({seconds / ours:.1f}×)" if ours else ""
    return f"{seconds * 1e3:.{2 if seconds > 1e-4 else 4}f}{times}"


def left_out(group: list[Point]) -> list[str]:
    """Who was not timed where, and why."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for point in group:
        for name, reason in point["unable"].items():
            reasons[f"{name}: {reason}"].append(f"{point['graph']} {point['size']}")
    return ["", *(f"- {reason} ({', '.join(places)})" for reason, places in reasons.items())] if reasons else []


def memory(points: list[Point]) -> list[str]:
    """On CUDA: what a call of ours takes at most beside its inputs, against a tensor of edges × width."""
    lines = []
    for point in points:
        peak = point.get("peak_bytes", {}).get(OURS)
        if peak is not None and point["size_name"] == "width":
            edges = point["edges"] * point["size"] * (2 if "16" in point["dtype"] else 4)
            lines.append(f"| {point['family']} | {where(point)} | {peak / 2**20:.1f} | {edges / 2**20:.1f} |")
    return (
        ["", "## Memory", "", "| op | | peak, MiB | edges × width, MiB |", "|---|---|---:|---:|", *lines]
        if lines
        else []
    )


def bandwidth(points: list[Point]) -> list[str]:
    """On CUDA: the bytes that a product must move at least over its time, against a copy measured in the same run."""
    copied = [p for p in points if p["family"] == "memory: copy" and p["device"] != "cpu" and CEILING in p["seconds"]]
    if not copied:
        return []
    best = max(2 * point["size"] * 2**20 / point["seconds"][CEILING] for point in copied)
    lines = ["", "## Bandwidth", "", f"A copy moves {best / 1e9:.0f} GB/s, read and written.", ""]
    lines += ["| op | | GB/s | of the copy |", "|---|---|---:|---:|"]
    for point in points:
        if point["family"].startswith(("spmm sum", "spmm mean")) and OURS in point["seconds"]:
            speed = point["bytes"] / point["seconds"][OURS]
            lines.append(f"| {point['family']} | {where(point)} | {speed / 1e9:.0f} | {speed / best:.0%} |")
    return lines


def caption(result: dict[str, Any]) -> list[str]:
    """What the figures are of."""
    points = result["points"]

    def all_(name: str) -> str:
        return ", ".join(sorted({str(point[name]) for point in points}))

    graphs = {point["graph"]: f"{point['nodes']:,} nodes, {point['edges']:,} edges" for point in points}
    cuda = any(point["device"] != "cpu" for point in points)
    how = "calls follow one another in a queue" if cuda else f"{all_('threads')} threads, {all_('simd')}"
    return [
        f"{result['machine']}; {how}; torch {all_('torch')}; measured on {all_('date')}; sources {all_('sources')}.",
        "",
        *(f"- {name}: {size}" for name, size in graphs.items()),
    ]


def instructions(result: dict[str, Any]) -> list[str]:
    """Instructions a call, which noise cannot touch."""
    counted = result["instructions"]
    if not counted:
        return []
    lines = ["", "## Instructions a call", ""]
    lines += [counted["about"], "", "| op | case | instructions |", "|---|---|---:|"]
    lines += [f"| {entry['family']} | {entry['case']} | {entry['instructions']:,} |" for entry in counted["calls"]]
    return lines


def steps(result: dict[str, Any]) -> list[str]:
    """What else was checked in the same run."""
    checked = result["steps"]
    return ["", "## Checks", "", *(f"- {name}: {text}" for name, text in checked.items())] if checked else []


def markdown(result: dict[str, Any], docs: Path | None = None) -> str:
    """All of it, as it stands in a document."""
    points = result["points"]
    cuda = any(point["device"] != "cpu" for point in points)
    title = "# Performance of the ops on CUDA" if cuda else "# Performance of the ops"
    again = "make gpu-check" if cuda else "make bench-ops"
    if not cuda and docs is not None and docs.name != "performance.md":
        again = f"python -m benchmarks --docs docs/{docs.name}"
    lines = [title, "", f"Written by benchmarks/table.py; `{again}` measures again.", ""]
    if not points:
        return "\n".join([*lines, "Nothing was measured.", *instructions(result), *steps(result)])
    reached = targets(points)
    lines += [*caption(result), "", "## Targets", "", *reached, "", *limits(points), ""]
    lines += missed(reached, sections((CUDA_NOTES if cuda else NOTES).read_text()))
    if not cuda:
        said = "The ceiling fetches the same rows in the same order and does nothing else (benchmarks/ceiling.cpp)."
        lines += ["", said]
    lines += [
        *instructions(result),
        *steps(result),
        *bandwidth(points),
        *memory(points),
        "",
        "## Figures",
        "",
        "Medians; in brackets, how many times ours.",
        *figures(points),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Reads, folds, keeps and prints."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("results", nargs="+", type=Path)
    arguments.add_argument("--keep", type=Path, help="the folder of the files that are committed, one a machine")
    arguments.add_argument("--docs", type=Path, help="where the table goes; it is printed otherwise")
    given = arguments.parse_args()
    result = folded([json.loads(path.read_text()) for path in given.results if path.exists()])
    if given.keep:
        kept = given.keep / f"{slug(result['machine'])}.json"
        if kept.exists():
            result = folded([json.loads(kept.read_text()), result])
        kept.write_text(json.dumps(result, indent=1) + "\n")
    if given.docs:
        given.docs.write_text(markdown(result, given.docs))
        print("\n".join([*targets(result["points"]), "", *limits(result["points"])]))
    else:
        print(markdown(result))


if __name__ == "__main__":
    main()
