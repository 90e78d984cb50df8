"""The whole way: a split log in; an artefact, a report and a comparison out."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rich.text import Text

from gnas_ext.cli.baselines import LIGHTGCN, best_plain_lightgcn, classics
from gnas_ext.cli.progress import ComparisonProgress, SearchProgress
from gnas_ext.cli.shrunk import shrunk
from gnas_ext.data.interactions import n_users
from gnas_ext.data.summary import summary
from gnas_ext.evaluate.compare import comparison_table, measure
from gnas_ext.evaluate.cost import human_bytes
from gnas_ext.evaluate.evaluate import judged_users
from gnas_ext.evaluate.seen import SeenItems
from gnas_ext.recommend import Provenance, fingerprint, load, package_versions, save_artefact
from gnas_ext.report import (
    CurvePoint,
    FinalistRow,
    ReportData,
    TrialPoint,
    insight_of,
    verdict,
    write_architecture,
    write_report,
)
from gnas_ext.search.recommender import find, retrain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rich.console import Console

    from gnas_ext.compress import Limits, Report
    from gnas_ext.data.interactions import Split
    from gnas_ext.evaluate.compare import ModelResult
    from gnas_ext.models.base import Model
    from gnas_ext.recommend import Recommender
    from gnas_ext.search import Cluster
    from gnas_ext.search.recommender import Found, Goal, Models

FOUND = "found model"
_SAMPLES = 3
_LISTED = 5
_RECENT = 3


@dataclass(frozen=True)
class Options:
    """How a job is run.

    Attributes:
        out: folder for `artefact/`, `report.html`, `architecture.svg`, `architecture.mmd` and `journal.log`.
        data: what the log is, for people.
        command: what to type to run it again.
        minutes, evaluations, goals, epochs, population, seeds, fidelities, limits, warm_start, seed, resume, models,
            workers, ray, trial_seconds: see `search.recommender.find`.
    """

    out: Path
    data: str
    command: str
    minutes: float | None = 10.0
    evaluations: int | None = None
    goals: Sequence[Goal] = ("ndcg", "bytes")
    epochs: int = 60
    population: int = 12
    seeds: int = 3
    fidelities: Sequence[float] = ()
    limits: Limits | None = None
    warm_start: Path | None = None
    seed: int = 0
    resume: bool = False
    models: Models = "graph"
    workers: int = 0
    ray: Cluster | None = None
    trial_seconds: float | None = None


@dataclass(frozen=True, eq=False)
class _Listed:
    """One user of the sample: what they liked last, what is recommended, which of it they touched later."""

    user: str
    recent: list[str]
    recommended: list[tuple[str, bool]] = field(default_factory=list)


def run_job(split: Split, options: Options, console: Console) -> None:
    """Searches, retrains, compares, saves, recommends and reports, saying so on the console."""
    console.print(Text(summary(split)))
    console.rule("search")
    started = time.monotonic()
    found = _search(split, options, console)
    minutes = (time.monotonic() - started) / 60
    console.print(f"{found.study.evaluations} trials in {minutes:.1f} min: {found.study.stopped}.", highlight=False)
    _print_finals(found, console)
    if found.limited is not None:
        for line in found.limited.lines():
            console.print(Text(line, style="" if found.limited.kept else "bold yellow"))
    genes = " ".join(f"{gene}={value}" for gene, value in found.genotype.items() if gene != "recipe")
    console.print(Text(f"chosen: trial {found.trial.number}, {genes}"))
    if "recipe" in found.genotype:
        console.print(Text(f"made smaller by: {found.genotype['recipe']}"))

    console.rule("comparison on the test part")
    comparison = _compare(split, found, options, console)
    compression = shrunk(found.fit, comparison[0], split)
    artefact = _save(split, found, comparison, options)
    recommender = load(artefact)

    console.rule("recommendations")
    listed = _sample(split, recommender)
    for one in listed:
        _print_listed(one, console)

    console.rule("result")
    console.print(comparison_table(comparison))
    reference = LIGHTGCN if options.models != "classic" else ""
    outcome = verdict(comparison, FOUND, reference)
    console.print(Text(outcome.quality, style="green" if outcome.better else "bold yellow"))
    console.print(Text(outcome.size, style="bold yellow" if outcome.smaller is False else "green"))
    if compression is not None:
        _print_compression(compression, console)
    told = _report(split, found, comparison, listed, reference, minutes, recommender, options)
    report = write_report(options.out / "report.html", replace(told, compression=compression))
    write_architecture(options.out, found.genotype)
    console.print(f"\nartefact  {_shown(artefact)}\nreport    {_shown(report)}", highlight=False, soft_wrap=True)


def _search(split: Split, options: Options, console: Console) -> Found:
    options.out.mkdir(parents=True, exist_ok=True)
    away = options.workers > 0 or options.ray is not None
    with SearchProgress(console, options.minutes, options.evaluations, options.epochs, away) as progress:
        return find(
            split,
            models=options.models,
            minutes=options.minutes,
            evaluations=options.evaluations,
            goals=options.goals,
            epochs=options.epochs,
            population=options.population,
            seeds=options.seeds,
            fidelities=options.fidelities,
            limits=options.limits,
            warm_start=options.warm_start,
            seed=options.seed,
            journal=options.out / "journal.log",
            resume=options.resume,
            workers=options.workers,
            ray=options.ray,
            trial_seconds=options.trial_seconds,
            context={"data": fingerprint(split.train, split.user_ids, split.item_ids)},
            on_trial=progress.on_trial,
            on_epoch=progress.on_epoch,
            on_rerun=progress.on_rerun,
            on_recipe=progress.on_recipe,
            on_chosen=progress.on_chosen,
        )


def _print_finals(found: Found, console: Console) -> None:
    """Who was trained with several seeds, and how much that says."""
    for one in found.finalists:
        if len(one.scores) > 1:
            size = human_bytes(one.trial.attributes["bytes"])
            line = f"trial {one.trial.number}: NDCG {one.mean:.4f} ± {one.spread:.4f}, {len(one.scores)} seeds, {size}"
            console.print(Text(line))


def _compare(split: Split, found: Found, options: Options, console: Console) -> list[ModelResult]:
    """The found model and the baselines, in one run on the same test part."""
    train = split.train_and_valid
    users = len(judged_users(n_users(train), train, split.test))
    fits: list[tuple[str, Callable[[], Model]]] = [(FOUND, lambda: found.model), *classics(split)]
    results = []
    graph = options.models != "classic"
    with ComparisonProgress(console, len(fits) + graph, users) as progress:

        def add(name: str, model: Model) -> None:
            progress.ranking(name)
            results.append(measure(name, model, train, split.test, progress=progress.on_users))
            progress.measured()

        for name, fit in fits:
            add(name, fit())
        if graph:
            progress.training(LIGHTGCN, options.epochs)
            trial = best_plain_lightgcn(split, found.study, options.seed, options.epochs, progress.on_epoch)
            progress.training(LIGHTGCN, int(trial.attributes["best_epoch"]))
            add(LIGHTGCN, retrain(trial, train, seed=options.seed, on_epoch=progress.on_epoch).model)
    return results


def _save(split: Split, found: Found, comparison: Sequence[ModelResult], options: Options) -> Path:
    train = split.train_and_valid
    return save_artefact(
        options.out / "artefact",
        model=found.model,
        user_ids=split.user_ids,
        item_ids=split.item_ids,
        seen=SeenItems.from_interactions(train, found.model.n_users),
        genotype=found.genotype,
        metrics=comparison[0].metrics,
        spread=comparison[0].spread,
        provenance=Provenance(
            data=options.data,
            steps=tuple(split.steps),
            split_method=split.method,
            fingerprint=fingerprint(train, split.user_ids, split.item_ids),
            guesses=tuple(split.guesses),
            versions=package_versions(),
            command=options.command,
        ),
        name=FOUND,
        comparison=comparison,
        titles=split.items,
        overwrite=True,
    )


def _sample(split: Split, recommender: Recommender) -> list[_Listed]:
    """Three test users, evenly spaced, with what they touched last and what they are recommended."""
    train = split.train_and_valid
    judged = judged_users(recommender.n_users, train, split.test)
    chosen = [int(judged[place * len(judged) // _SAMPLES]) for place in range(min(_SAMPLES, len(judged)))]
    ids = recommender.user_ids.gather(chosen).to_list()
    titles = recommender.titles["title"].to_list()
    names = [title or str(item) for title, item in zip(titles, recommender.titles["item"].to_list(), strict=True)]
    lists = recommender.recommend(ids, k=_LISTED)
    listed = []
    for code, user in zip(chosen, ids, strict=True):
        recent = [names[item] for item in train.item[train.user == code][-_RECENT:]]
        later = {split.item_ids[int(item)] for item in split.test.item[split.test.user == code]}
        rows = lists.filter(lists["user"] == user)
        recommended = [
            (title or str(item), item in later)
            for item, title in zip(rows["item"].to_list(), rows["title"].to_list(), strict=True)
        ]
        listed.append(_Listed(str(user), recent, recommended))
    return listed


def _print_listed(one: _Listed, console: Console) -> None:
    console.print(Text(f"user {one.user}", style="bold") + Text(f"  liked last: {'; '.join(one.recent)}", style="dim"))
    for rank, (title, hit) in enumerate(one.recommended, start=1):
        console.print(Text(f"  {rank}. {title}") + Text("  (in the test part)" if hit else "", style="green"))


def _print_compression(done: Report, console: Console) -> None:
    """In a few lines; the page has tables of them."""
    sizes = f"{human_bytes(done.bytes_before)} in float32, {human_bytes(done.bytes_after)} shipped"
    console.print(Text(f"compression: {sizes}, {done.told}", style="bold"))
    tensors = "bytes: " + ", ".join(f"{name} {human_bytes(size)}" for name, size in done.tensors.items())
    for line in [*done.cost_lines(), *done.row_lines(), *done.decile_lines(), tensors]:
        console.print(Text(f"  {line}"), soft_wrap=True)


def _report(
    split: Split,
    found: Found,
    comparison: Sequence[ModelResult],
    listed: Sequence[_Listed],
    reference: str,
    minutes: float,
    recommender: Recommender,
    options: Options,
) -> ReportData:
    train = split.train_and_valid
    trials = [
        TrialPoint(
            trial.number,
            trial.values[0] if trial.values else None,
            int(trial.attributes["bytes"]) if trial.values else None,
            trial.origin,
            trial.state,
        )
        for trial in found.study.trials
        if trial.fidelity == 1
    ]
    finalists = [
        FinalistRow(one.trial.number, one.mean, one.spread, len(one.scores), one.trial.attributes["bytes"])
        for one in found.finalists
        if len(one.scores) > 1
    ]
    return ReportData(
        title=f"A recommender for {options.data}",
        comparison=comparison,
        found=FOUND,
        reference=reference,
        facts={
            "Trials": f"{found.study.evaluations} in {minutes:.1f} min",
            "Model": human_bytes(found.model.size_bytes()),
            **({"Limits": found.limited.lines()[0]} if found.limited is not None else {}),
            "Users": f"{n_users(train):,}",
            "Items": f"{recommender.n_items:,}",
            "Interactions": f"{len(train):,} to learn from, {len(split.test):,} to test",
        },
        steps=split.steps,
        guesses=split.guesses,
        split_method=split.method,
        trials=trials,
        cheap=found.study.evaluations - len(trials),
        failures=[trial.reason for trial in found.study.trials if trial.state != "complete"],
        finalists=finalists,
        chosen=found.trial.number,
        genotype=found.genotype,
        **insight_of(found.study, found.trial, options.goals)._asdict(),
        curve=[CurvePoint(*point) for point in found.trial.attributes.get("curve", [])],
        recommendations={one.user: [title for title, _ in one.recommended] for one in listed},
        command=options.command,
        versions=recommender.manifest.provenance.versions,
    )


def _shown(path: Path) -> str:
    """A path as short as it can be said from here."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)
