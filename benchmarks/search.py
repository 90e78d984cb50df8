"""How good is what a search finds after so many evaluations? All of `make bench-search`.

    python -m benchmarks.search --tables cora,arxiv --seeds 10 --methods ours,random

On each table of NAS-Bench-Graph, with each seed, each method searches for 400 evaluations (200 for two objectives),
which are looked up. Regret is how far the best validation accuracy found is below the best there is, in percentage
points; the hypervolume, of accuracy and latency from the nadir of the front on, is a share of that of all architectures
together. Optuna's samplers get the genes one by one, and each of their evaluations counts, also of what they evaluated
before. Seconds are of the processor, look-ups included.

What is done is kept, search by search, and not done again as long as the sources of the search are the same.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import random
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import accumulate
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks import files, sources
from benchmarks import nas_bench_graph as nbg
from gnas_ext.search import evolve
from gnas_ext.search.selection import hypervolume, pareto_front

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gnas_ext.search.study import Direction

HERE = Path(__file__).resolve().parent
FOUND = HERE / "results" / "search" / "nas_bench_graph.json"
DOCS = HERE.parent / "docs" / "search.md"
SOURCES = ("gnas_ext/search/*.py", "benchmarks/nas_bench_graph.py")
MARKS = {"regret": (50, 100, 200, 400), "hypervolume": (50, 100, 200)}
# After so many, each table has a column of its own.
BY_TABLE = 200
# What is asked for stands beside what is reached.
TARGETS = {"regret": (0.75, 0.42, 0.22, 0.14), "hypervolume": (0.80, 0.89, 0.94)}
BOTH: tuple[Direction, ...] = ("maximize", "minimize")


class Job(NamedTuple):
    """One search."""

    goal: str
    method: str
    table: str
    seed: int

    @property
    def name(self) -> str:
        """As it is kept."""
        return "/".join(map(str, self))


class Looked:
    """Looks genotypes up, and remembers what came in which order."""

    def __init__(self, job: Job) -> None:
        self.rows = nbg.table(job.table)
        self.goal = job.goal
        self.seen: list[nbg.Measured] = []

    def __call__(self, genotype: Mapping[str, Any]) -> Any:
        """Accuracy, or accuracy and latency."""
        row = self.rows[nbg.number(genotype)]
        self.seen.append(row)
        return row.valid if self.goal == "regret" else (row.valid, row.latency)

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Of its values."""
        return BOTH[:1] if self.goal == "regret" else BOTH


def ours(job: Job, evaluations: int, look: Looked, **options: Any) -> None:
    """`evolve` as it comes."""
    space = nbg.space(job.table)
    evolve(space, look, evaluations=evaluations, directions=look.directions, seed=job.seed, **options)


def plain(job: Job, evaluations: int, look: Looked) -> None:
    """`evolve` without its predictor."""
    ours(job, evaluations, look, predict=False)


def decoding(job: Job, evaluations: int, look: Looked) -> None:
    """`evolve` with candidates of an encoder–decoder besides."""
    ours(job, evaluations, look, decode=True)


def random_search(job: Job, evaluations: int, look: Looked) -> None:
    """Different random architectures."""
    space, rng = nbg.space(job.table), random.Random(job.seed)
    seen: set[Mapping[str, Any]] = set()
    while len(seen) < evaluations and len(look.rows) > len(seen):
        genotype = space.genotype(space.sample(rng))
        if genotype not in seen:
            seen.add(genotype)
            look(genotype)


def optuna_search(sampler: Callable[[int], Any]) -> Callable[[Job, int, Looked], None]:
    """A sampler of Optuna's."""

    def search(job: Job, evaluations: int, look: Looked) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        space = nbg.space(job.table)

        def objective(trial: optuna.Trial) -> Any:
            values = {name: trial.suggest_categorical(name, list(gene.values)) for name, gene in space.genes.items()}
            if not (space.valid is None or space.valid(values)):  # type: ignore[arg-type]
                raise optuna.TrialPruned
            return look(values)

        study = optuna.create_study(directions=list(look.directions), sampler=sampler(job.seed))
        while len(look.seen) < evaluations:
            study.optimize(objective, n_trials=evaluations - len(look.seen))

    return search


def tpe(seed: int) -> Any:
    """Tree-structured Parzen estimator, genes together."""
    import optuna

    return optuna.samplers.TPESampler(seed=seed, multivariate=True)


def nsga2(seed: int) -> Any:
    """NSGA-II with Optuna's settings."""
    import optuna

    return optuna.samplers.NSGAIISampler(seed=seed)


METHODS: dict[str, Callable[[Job, int, Looked], None]] = {
    "ours": ours,
    "ours with decoder": decoding,
    "ours without predictor": plain,
    "Optuna TPE": optuna_search(tpe),
    "Optuna NSGA-II": optuna_search(nsga2),
    "random": random_search,
}


def run(job: Job) -> tuple[Job, list[float], float]:
    """The figures of a search at each mark, and its seconds."""
    marks = MARKS[job.goal]
    look = Looked(job)
    began = time.process_time()
    METHODS[job.method](job, marks[-1], look)
    seconds = time.process_time() - began
    if job.goal == "regret":
        top = max(row.valid for row in look.rows.values())
        best = list(accumulate((row.valid for row in look.seen), max))
        return job, [top - best[min(mark, len(best)) - 1] for mark in marks], seconds
    whole, reference = _all(job.table)
    return job, [hypervolume(_losses(look.seen[:mark]), reference) / whole for mark in marks], seconds


@cache
def _all(name: str) -> tuple[float, tuple[float, float]]:
    """The hypervolume of all architectures of a table from the nadir of their front on, and that nadir."""
    losses = _losses(list(nbg.table(name).values()))
    front = [losses[place] for place in pareto_front(losses)]
    nadir = max(loss for loss, _ in front), max(loss for _, loss in front)
    return hypervolume(front, nadir), nadir


def _losses(rows: Sequence[nbg.Measured]) -> list[tuple[float, float]]:
    return [(-row.valid, row.latency) for row in rows]


def main() -> None:
    """Runs what is not there yet and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", default=",".join(nbg.NAMES))
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--goals", default="regret,hypervolume")
    parser.add_argument("--seeds", type=int, default=50)
    arguments = parser.parse_args()
    methods, tables = arguments.methods.split(","), arguments.tables.split(",")
    for named, choice in ((methods, METHODS), (tables, nbg.NAMES)):
        if unknown := [one for one in named if one not in choice]:
            sys.exit(f"search: unknown {', '.join(unknown)}; expected some of {', '.join(choice)}")
    kept: dict[str, Any] = json.loads(FOUND.read_text()) if FOUND.exists() else {"sources": "", "searches": {}}
    if kept["sources"] != sources.digest(SOURCES):
        # Rivals stay as they are: nothing of ours is in them.
        stay = {name: found for name, found in kept["searches"].items() if not name.split("/")[1].startswith("ours")}
        kept |= {"sources": sources.digest(SOURCES), "searches": stay}
    jobs = [
        Job(goal, method, name, seed)
        for goal in arguments.goals.split(",")
        for method in methods
        for seed in range(arguments.seeds)
        for name in tables
    ]
    todo = [job for job in jobs if job.name not in kept["searches"]]
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for place, (job, figures, seconds) in enumerate(pool.map(run, todo, chunksize=2)):
            kept["searches"][job.name] = [*(round(figure, 4) for figure in figures), round(seconds, 2)]
            kept["measured"] = str(datetime.date.today())
            if place % 50 == 49 or place == len(todo) - 1:
                files.write(FOUND, json.dumps(kept, indent=0, sort_keys=True) + "\n")
                print(f"{place + 1} of {len(todo)} searches", flush=True)
    written = written_table(kept["searches"], kept["measured"])
    files.put_figures(DOCS, written)
    print(written)


def written_table(searches: Mapping[str, Sequence[float]], measured: str) -> str:
    """The tables of docs/search.md."""
    lines = [f"Measured up to {measured}.\n"]
    for goal, marks in MARKS.items():
        what = "regret, points" if goal == "regret" else "hypervolume ratio"
        lines.append(f"| {what}, after | {' | '.join(map(str, marks))} | ms a trial | tables x seeds |")
        lines.append("|---" * (len(marks) + 3) + "|")
        lines.append(f"| *asked* | {' | '.join(f'*{target:.2f}*' for target in TARGETS[goal])} | *10* | *9 x 50* |")
        for method in METHODS:
            found = {
                tuple(name.split("/")[2:]): row
                for name, row in searches.items()
                if name.split("/")[:2] == [goal, method]
            }
            if not found:
                continue
            tables = sorted({name for name, _ in found})
            seeds = min(sum(name == one for name, _ in found) for one in tables)
            by_seed = [
                [mean(found[name, str(seed)][place] for name in tables) for seed in range(seeds)]
                for place in range(len(marks) + 1)
            ]
            cells = [f"{mean(row):.3f}" + _error(row) for row in by_seed[:-1]]
            milliseconds = 1000 * mean(by_seed[-1]) / marks[-1]
            lines.append(f"| {method} | {' | '.join(cells)} | {milliseconds:.1f} | {len(tables)} x {seeds} |")
        lines.append("")
    return "\n".join([*lines, *_by_table(searches)])


def _by_table(searches: Mapping[str, Sequence[float]]) -> list[str]:
    """Where the parts of ours help: regret on each table, over the seeds that all of them have."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    at = MARKS["regret"].index(BY_TABLE)
    for name, row in searches.items():
        goal, method, table, seed = name.split("/")
        if goal == "regret" and method.startswith("ours"):
            found.setdefault(method, {}).setdefault(table, {})[int(seed)] = row[at]
    ours = [method for method in METHODS if method in found]
    tables = [table for table in nbg.NAMES if all(table in found[method] for method in ours)]
    if len(ours) < 2 or not tables:
        return []
    seeds = min(len(found[method][table]) for method in ours for table in tables)
    lines = [
        f"| regret after {BY_TABLE}, the first {seeds} seeds | {' | '.join(tables)} |",
        "|---" * (len(tables) + 1) + "|",
    ]
    for method in ours:
        means = (mean(found[method][table][seed] for seed in range(seeds)) for table in tables)
        lines.append(f"| {method} | {' | '.join(f'{one:.3f}' for one in means)} |")
    return lines


def _error(row: Sequence[float]) -> str:
    return f" ± {stdev(row) / len(row) ** 0.5:.3f}" if len(row) > 1 else ""


if __name__ == "__main__":
    main()
