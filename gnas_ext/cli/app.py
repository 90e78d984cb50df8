"""What can be typed: `gnas-ext search` and `demo`; what uses an artefact stands in `use` and `whole`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from gnas_ext.cli import use, whole
from gnas_ext.cli.arguments import Item, MinRating, Rating, Sep, Timestamp, User, at_least, limits_of
from gnas_ext.errors import InputError

if TYPE_CHECKING:
    from gnas_ext.data.interactions import Split
    from gnas_ext.search import Cluster

app = typer.Typer(
    name="gnas-ext",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="From a log of who touched what to a small recommender.",
)


class SplitMethod(StrEnum):
    """How a log is cut into training, validation and test."""

    temporal = "temporal"
    leave_last_out = "leave-last-out"
    random = "random"


class Models(StrEnum):
    """What a search looks for."""

    graph = "graph"
    trained = "trained"
    training_free = "training-free"
    classic = "classic"
    all = "all"


class Objectives(StrEnum):
    """What a search looks at."""

    ndcg_bytes = "ndcg,bytes"
    ndcg_bytes_ms = "ndcg,bytes,ms"
    ndcg = "ndcg"


# Shares of a full trial that --halving begins with.
HALVING = (1 / 9, 1 / 3, 1.0)

LogFile = Annotated[
    Path | None, typer.Argument(metavar="LOG", help="CSV, TSV, ::, Parquet or JSON lines.", show_default=False)
]


@app.command()
def search(
    log: LogFile = None,
    out: Annotated[Path, typer.Option(help="Where to write.")] = Path("gnas-out"),
    minutes: Annotated[float | None, typer.Option(help="Time to search.  [default: 10]", show_default=False)] = None,
    evaluations: Annotated[int | None, typer.Option(help="Trials at most.", show_default=False)] = None,
    user: User = None,
    item: Item = None,
    timestamp: Timestamp = None,
    rating: Rating = None,
    sep: Sep = None,
    items: Annotated[Path | None, typer.Option(help="File of item titles.", show_default=False)] = None,
    min_rating: MinRating = None,
    k_core: Annotated[int, typer.Option(help="Touches each needs.")] = 5,
    split: Annotated[
        SplitMethod | None,
        typer.Option(metavar="METHOD", help="[temporal, else random; or leave-last-out]", show_default=False),
    ] = None,
    valid_share: Annotated[float, typer.Option(help="Share to choose by.")] = 0.1,
    test_share: Annotated[float, typer.Option(help="Share to test on.")] = 0.2,
    train: Annotated[Path | None, typer.Option(help="Not LOG: lines 'user item …'.")] = None,
    valid: Annotated[Path | None, typer.Option(help="Likewise; else drawn from --train.")] = None,
    test: Annotated[Path | None, typer.Option(help="Likewise.")] = None,
    models: Annotated[
        Models,
        typer.Option(metavar="KIND", help="[graph; trained, training-free, classic, all]", show_default=False),
    ] = Models.graph,
    objectives: Annotated[
        Objectives,
        typer.Option(metavar="GOALS", help="[default: ndcg,bytes; or with ms; or ndcg]", show_default=False),
    ] = Objectives.ndcg_bytes,
    epochs: Annotated[int, typer.Option(help="Passes a trial.")] = 60,
    seeds: Annotated[int, typer.Option(help="Seeds that the best get.")] = 3,
    halving: Annotated[bool, typer.Option("--halving", help="Cheap trials first.")] = False,
    max_size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Of the model: 2MB, 500kB.", show_default=False)
    ] = None,
    max_ms: Annotated[float | None, typer.Option(help="A user, on this machine.", show_default=False)] = None,
    warm_start: Annotated[Path | None, typer.Option(help="Journal whose best come first.", show_default=False)] = None,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes that train.")] = 0,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Ray cluster: auto or HOST:PORT.", show_default=False),
    ] = None,
    cpus: Annotated[float | None, typer.Option(help="Cores a worker on Ray.  [default: 1]", show_default=False)] = None,
    trial_seconds: Annotated[
        float | None, typer.Option(metavar="S", help="A worker's trial ends after.", show_default=False)
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the journal in --out.")] = False,
) -> None:
    """Search, train, compare and write a recommender."""
    from gnas_ext.cli.job import Options, run_job
    from gnas_ext.data import read_items, read_log, read_split, split_log
    from gnas_ext.data.items import attach_items

    at_least("--k-core", k_core, 1)
    at_least("--epochs", epochs, 1)
    at_least("--workers", workers, 0)
    at_least("--seeds", seeds, 1)
    cluster = _cluster(ray, cpus)
    if trial_seconds is not None and not trial_seconds > 0:
        raise InputError(f"--trial-seconds {trial_seconds:g}: expected more than 0")
    if trial_seconds is not None and not workers and ray is None:
        raise InputError(f"--trial-seconds {trial_seconds:g}: only a worker's trial can be ended; add --workers 1")
    limits = limits_of(max_size, max_ms)
    if minutes is not None and not minutes > 0:
        raise InputError(f"--minutes {minutes:g}: expected more than 0")
    if evaluations is not None:
        at_least("--evaluations", evaluations, 1)
    if train is not None or test is not None or valid is not None:
        parts = _split_files(log, train, test)
        cut: Split = read_split(parts[0], valid, parts[1], seed=seed)
        if items is not None:
            cut = attach_items(cut, read_items(items))
        data = parts[0].name
    else:
        if log is None:
            raise InputError("search: no log; give a file, or --train, --valid and --test")
        read = read_log(log, user, item, timestamp, rating, sep, min_rating=min_rating, k_core=k_core, items=items)
        cut = split_log(read, split.value if split else None, valid=valid_share, test=test_share, seed=seed)
        data = log.name
    if minutes is None and evaluations is None:
        minutes = 10.0
    options = Options(
        out=out,
        data=data,
        command=_command(),
        minutes=minutes,
        evaluations=evaluations,
        goals=tuple(objectives.value.split(",")),  # type: ignore[arg-type]
        epochs=epochs,
        seed=seed,
        resume=resume,
        models=models.value,
        seeds=seeds,
        fidelities=HALVING if halving else (),
        limits=limits,
        warm_start=warm_start,
        workers=workers,
        ray=cluster,
        trial_seconds=trial_seconds,
    )
    run_job(cut, options, Console())


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where to write.")] = Path("demo-out"),
    minutes: Annotated[float, typer.Option(help="Time to search.")] = 6.0,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
) -> None:
    """The same on the film ratings that come along."""
    from gnas_ext.cli.job import Options, run_job
    from gnas_ext.data import movietweetings, split_log
    from gnas_ext.search.journal import discard

    if not minutes > 0:
        raise InputError(f"--minutes {minutes:g}: expected more than 0")
    log = movietweetings(min_rating=6, k_core=5)
    # Each demo is a search of its own; what an earlier one left is not resumed.
    discard(out / "journal.log")
    options = Options(out=out, data="MovieTweetings 100k", command=_command(), minutes=minutes, seed=seed)
    run_job(split_log(log, "temporal", valid=0.1, test=0.2), options, Console())


for command in (use.recommend, use.similar, use.explain, use.serve, whole.evaluate, whole.show, whole.export):
    app.command()(command)


@app.command()
def info() -> None:
    """Print how the native libraries were built."""
    from gnas_ext._native import build_info

    for name, value in build_info().items():
        typer.echo(f"{name:<14} {value}")


def run() -> int:
    """Runs what was typed; the exit status. What cannot be parsed ends in Typer, with usage and status 2."""
    try:
        app()
    except InputError as error:
        print(f"gnas-ext: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        sys.stderr.close()  # the reader has left, as `head` does
    return 0


def _split_files(log: Path | None, train: Path | None, test: Path | None) -> tuple[Path, Path]:
    if log is not None:
        raise InputError(f"search: both a log ({log}) and split files; give one or the other")
    if train is None or test is None:
        missing = "--train" if train is None else "--test"
        raise InputError(f"search: {missing} is missing; split files are --train FILE --valid FILE --test FILE")
    return train, test


def _cluster(ray: str | None, cpus: float | None) -> Cluster | None:
    """Where to train, if not here."""
    from gnas_ext.search import Cluster

    if ray is None:
        if cpus is not None:
            raise InputError(f"--cpus {cpus:g}: only workers on Ray ask for cores; add --ray")
        return None
    if cpus is not None and not cpus > 0:
        raise InputError(f"--cpus {cpus:g}: expected more than 0")
    return Cluster(ray, cpus or 1)


def _command() -> str:
    return " ".join(["gnas-ext", *sys.argv[1:]])
