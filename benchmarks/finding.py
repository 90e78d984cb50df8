"""What does an hour of searching find? All of `make bench-finding`.

    python -m benchmarks.finding --minutes 60 --sets movietweetings,gowalla --data ../shared/data

On each log, each method has the same minutes, the same cores and the same objective: the space of all families, with
compression among its genes, judged by validation NDCG@20 and bytes. The search of this package is `find`: it begins
with the recipes, and a fifth of the minutes are its finals. Random search and Optuna's TPE draw from the same space,
gene by gene; "recipes" are the hand-set points of the space alone, in their order, as many as the minutes allow. From
the trials of each of these one is taken as `find` takes one without finals (the smallest within half a percent of the
best on validation). What was chosen is trained again on training and validation and then measured, once, on test.

A published test part need not be like the rest of its log (in Gowalla's, popular items have a larger share than in
training), and no search can see that. So where a log has no times, what was chosen is also trained on the whole log
without a part as large as test that is drawn from it, and measured on that.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import files, sources
from gnas_ext.data import Interactions, movietweetings, read_split, split_log
from gnas_ext.data.split import draw
from gnas_ext.errors import InputError
from gnas_ext.evaluate.compare import measure
from gnas_ext.search import Study, Trial
from gnas_ext.search.evaluation import run
from gnas_ext.search.executor import Job
from gnas_ext.search.recommender import Objective, find, qualified, retrain, space_and_recipes
from gnas_ext.search.selection import pareto_front

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gnas_ext.data import Split
    from gnas_ext.search import SearchSpace

HERE = Path(__file__).resolve().parent
FOUND = HERE / "results" / "search" / "finding.json"
DOCS = HERE.parent / "docs" / "finding.md"
SOURCES = ("gnas_ext/search/*.py", "gnas_ext/search/recommender/*.py", "gnas_ext/train/*.py", "gnas_ext/models/*.py")
# As in `find`: so that even a large log gets to compare a few.
SHARE_OF_BUDGET = 1 / 6
EPOCHS = 60


class Course:
    """One method's way: it evaluates until its minutes are over, and may say what it chose."""

    def __init__(self, split: Split, minutes: float, seed: int) -> None:
        self.split = split
        self.space, self.recipes = space_and_recipes("all", split.train)
        self.objective = Objective(split, epochs=EPOCHS, seconds=60 * minutes * SHARE_OF_BUDGET, seed=seed)
        self.minutes = minutes
        self.seed = seed
        self.study = Study(self.space, self.objective.directions)
        self.chosen: Trial | None = None
        self.deadline = time.monotonic() + 60 * minutes

    @property
    def over(self) -> bool:
        """Whether the minutes are; the last trial may end after them."""
        return time.monotonic() > self.deadline

    def evaluate(self, values: Mapping[str, Any]) -> Trial:
        """A trial of the study, also where it failed."""
        number = self.study.evaluations
        genotype = self.space.genotype(values)
        result = run(self.objective, Job(number, genotype), self.study.directions, time.monotonic)
        trial = Trial(
            number,
            genotype,
            "failed" if result.reason else "complete",
            result.values,
            result.reason,
            result.seconds,
            attributes=result.attributes,
        )
        self.study.trials.append(trial)
        return trial


def ours(course: Course) -> None:
    """`find`, with its finals."""
    found = find(course.split, models="all", minutes=course.minutes, epochs=EPOCHS, seed=course.seed)
    course.study, course.chosen = found.study, found.trial


def random_search(course: Course) -> None:
    """Different random genotypes."""
    rng = random.Random(course.seed)
    while not course.over:
        course.evaluate(course.space.sample(rng))


def by_hand(course: Course) -> None:
    """The recipes, in order."""
    for recipe in course.recipes:
        if course.over:
            break
        course.evaluate(recipe)


def tpe(course: Course) -> None:
    """Optuna's tree-structured Parzen estimator, genes together; dead genes are not asked for."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def objective(trial: optuna.Trial) -> tuple[float, ...]:
        done = course.evaluate(suggested(course.space, trial))
        if done.state == "failed":
            raise optuna.TrialPruned
        return done.values

    sampler = optuna.samplers.TPESampler(seed=course.seed, multivariate=True, group=True)
    study = optuna.create_study(directions=list(course.study.directions), sampler=sampler)
    while not course.over:
        study.optimize(objective, n_trials=1)


def suggested(space: SearchSpace, trial: Any) -> dict[str, Any]:
    """A value for each live gene; numbers in their order as such."""
    values: dict[str, Any] = {}
    for name, gene in space.genes.items():
        if all(values.get(other) in alive for other, alive in gene.when.items()):
            if gene.ordinal:
                values[name] = gene.values[trial.suggest_int(name, 0, len(gene.values) - 1)]
            else:
                values[name] = trial.suggest_categorical(name, list(gene.values))
    return values


METHODS: dict[str, Callable[[Course], None]] = {
    "ours": ours,
    "random": random_search,
    "Optuna TPE": tpe,
    "recipes": by_hand,
}


def read(name: str, data: Path) -> Split:
    """A log by name, cut."""
    if name == "movietweetings":
        return split_log(movietweetings(min_rating=6, k_core=5), "temporal", valid=0.1, test=0.2)
    return read_split(data / name / "train.txt", data / name / "valid.txt", data / name / "test.txt")


def drawn_anew(split: Split, seed: int = 0) -> tuple[Interactions, Interactions] | None:
    """The whole log as what to learn from and another test part of the same size; None where test is what came last."""
    if split.test.timestamp is not None:
        return None
    whole = Interactions.concatenate([split.train_and_valid, split.test])
    held_out = draw(whole.user, (len(split.test) / len(whole),), np.random.default_rng(seed)) == 1
    return whole.select(np.flatnonzero(~held_out)), whole.select(np.flatnonzero(held_out))


def on_drawn(split: Split, trial: Trial, seed: int) -> float | None:
    """NDCG@20 of what a trial chose on a test part that is like what it learns from."""
    parts = drawn_anew(split)
    if parts is None:
        return None
    return round(measure("drawn", retrain(trial, parts[0], seed=seed).model, *parts).metrics["ndcg@20"], 5)


def searched(split: Split, method: str, minutes: float, seed: int) -> dict[str, Any]:
    """What a method found, on test."""
    course = Course(split, minutes, seed)
    METHODS[method](course)
    chosen = course.chosen or qualified(course.study, 1)[0]
    train = split.train_and_valid
    result = measure(method, retrain(chosen, train, seed=seed).model, train, split.test)
    return {
        "ndcg@20": round(result.metrics["ndcg@20"], 5),
        "recall@20": round(result.metrics["recall@20"], 5),
        "valid": round(chosen.values[0], 5),
        "drawn": on_drawn(split, chosen, seed),
        "bytes": result.size_bytes,
        "trials": course.study.evaluations,
        "failed": sum(trial.state == "failed" for trial in course.study.trials),
        "genotype": chosen.genotype.as_dict(),
    }


def main() -> None:
    """Runs what is not there yet and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--sets", default="movietweetings,gowalla")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    digest = sources.digest(SOURCES)
    kept: dict[str, Any] = json.loads(FOUND.read_text()) if FOUND.exists() else {}
    for name in arguments.sets.split(","):
        try:
            split = read(name, arguments.data)
        except InputError as error:
            parser.error(str(error))
        for method in arguments.methods.split(","):
            for seed in range(arguments.seeds):
                key = f"{name}/{arguments.minutes:g}/{method}/{seed}"
                if kept.get(key, {}).get("sources") == digest:
                    continue
                found = searched(split, method, arguments.minutes, seed)
                when = {"measured": str(datetime.date.today()), "cores": len(os.sched_getaffinity(0))}
                kept[key] = {"sources": digest, **when, **found}
                files.write(FOUND, json.dumps(kept, indent=1) + "\n")
                print(key, {figure: found[figure] for figure in ("ndcg@20", "bytes", "trials")}, flush=True)
    files.put_figures(DOCS, written_table(kept))


def written_table(kept: Mapping[str, Mapping[str, Any]]) -> str:
    """The tables of docs/finding.md, one a log and budget."""
    lines = [f"Measured up to {max(found['measured'] for found in kept.values())}."]
    groups: dict[tuple[str, str, int], list[str]] = {}
    for key, found in kept.items():
        name, minutes, _, _ = key.split("/")
        groups.setdefault((name, minutes, found["cores"]), []).append(key)
    for (name, minutes, cores), keys in groups.items():
        losses = [(-kept[key]["ndcg@20"], kept[key]["bytes"]) for key in keys]
        front = set(pareto_front(losses))
        lines += [
            f"\n{name}, {minutes} minutes, {cores} core{'s' * (cores != 1)}:\n",
            "| method | seed | NDCG@20 | Recall@20 | NDCG@20 on a drawn test | on validation | bytes | on the front "
            "| trials (failed) | family |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        for place, key in enumerate(keys):
            found = kept[key]
            _, _, method, seed = key.split("/")
            lines.append(
                f"| {method} | {seed} | {found['ndcg@20']:.4f} | {found['recall@20']:.4f} "
                f"| {'' if found['drawn'] is None else format(found['drawn'], '.4f')} "
                f"| {found['valid']:.4f} | {found['bytes']:,} "
                f"| {'yes' if place in front else 'no'} | {found['trials']} ({found['failed']}) "
                f"| {found['genotype']['family']} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
