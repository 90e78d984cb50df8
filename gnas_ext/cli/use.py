"""What is asked of an artefact: `gnas-ext recommend`, `similar`, `explain`, `serve`."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from gnas_ext.cli.arguments import Artefact, folder_of
from gnas_ext.errors import InputError

if TYPE_CHECKING:
    import polars as pl

    from gnas_ext.recommend import Explanation, Recommender

    # k, exclude_seen, filter_items, items: as `Recommender.recommend` takes them.
    Options = tuple[int, bool, list[str] | None, list[str] | None]


class Format(StrEnum):
    """How lists are printed."""

    table = "table"
    csv = "csv"
    jsonl = "jsonl"


class Unknown(StrEnum):
    """What users get that were not in training."""

    error = "error"
    popular = "popular"


def recommend(
    artefact: Artefact,
    users: Annotated[list[str] | None, typer.Argument(help="Users, as in the log.", show_default=False)] = None,
    like: Annotated[
        list[str] | None,
        typer.Option(metavar="ITEM", help="Not users: what somebody new likes; repeatable.", show_default=False),
    ] = None,
    k: Annotated[int, typer.Option("-k", "--k", help="Items a list.")] = 20,
    exclude_seen: Annotated[bool, typer.Option(help="Leave out what was touched, or --like.")] = True,
    items: Annotated[
        list[str] | None, typer.Option(metavar="ITEM", help="These alone; repeatable.", show_default=False)
    ] = None,
    filter_items: Annotated[
        list[str] | None, typer.Option(metavar="ITEM", help="None of these; repeatable.", show_default=False)
    ] = None,
    unknown: Annotated[Unknown, typer.Option(help="For users not in training.")] = Unknown.error,
    format: Annotated[Format, typer.Option(help="How to print.")] = Format.table,  # noqa: A002
) -> None:
    """Print whom to recommend what."""
    from gnas_ext.recommend import load

    if users and like:
        raise InputError(f"recommend: both users ({', '.join(users)}) and --like; give one or the other")
    if like and unknown is Unknown.popular:
        raise InputError("recommend: --unknown popular is for users, and --like is none; give one or the other")
    if not users and not like:
        raise InputError("recommend: no user; give users of the log, or --like ITEM for somebody who is not in it")
    recommender = load(folder_of(artefact))
    # Typer may say [] for what is not given, and `items=[]` would allow nothing.
    options = (k, exclude_seen, filter_items or None, items or None)
    if like:
        lists = recommender.recommend_for_items(like, *options)
    else:
        lists = _of_users(recommender, users or [], options, unknown)
    if format is Format.csv:
        sys.stdout.write(lists.write_csv())
    elif format is Format.jsonl:
        sys.stdout.write(lists.write_ndjson())
    else:
        _print_lists(Console(), lists, users or [])


def similar(
    artefact: Artefact,
    item: Annotated[str, typer.Argument(help="Item, as in the log.", show_default=False)],
    k: Annotated[int, typer.Option("-k", "--k", help="Items at most.")] = 20,
) -> None:
    """Print the items that are most like one."""
    from gnas_ext.recommend import load

    _print_items(Console(), load(folder_of(artefact)).similar(item, k))


def explain(
    artefact: Artefact,
    user: Annotated[str, typer.Argument(help="User, as in the log.", show_default=False)],
    item: Annotated[str, typer.Argument(help="Item, as in the log.", show_default=False)],
    reasons: Annotated[int, typer.Option(help="Touched items to print, the strongest.")] = 10,
) -> None:
    """Print why an item has its score for a user."""
    from gnas_ext.recommend import load

    if reasons < 1:
        raise InputError(f"--reasons {reasons}: expected 1 or more")
    _print(Console(), load(folder_of(artefact)).explain(user, item), reasons)


def serve(
    artefact: Artefact,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8000,
    watch: Annotated[float, typer.Option(help="Seconds between looks for a new artefact; 0: none.")] = 2.0,
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Name that requests may be for.", show_default=False)
    ] = None,
) -> None:
    """Answer over HTTP, with a page for people."""
    try:
        from gnas_ext.serve import serve as run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("gnas_ext"):
            raise
        raise InputError(f"serve needs {error.name}: pip install 'gnas_ext[search,serve]'") from error
    if not watch >= 0:
        raise InputError(f"--watch {watch:g}: expected 0 or more")
    run(folder_of(artefact), host, port, watch, allow_host or ())


def _of_users(recommender: Recommender, users: list[str], options: Options, unknown: Unknown) -> pl.DataFrame:
    """Lists of users; where one is refused, with the option that would not."""
    try:
        return recommender.recommend(users, *options, unknown="popular" if unknown is Unknown.popular else "error")
    except InputError as error:
        if str(error).startswith("unknown user"):
            raise InputError(f"{error}; --unknown popular recommends what is popular") from error
        raise


def _print_lists(console: Console, lists: pl.DataFrame, users: list[str]) -> None:
    """A heading a user and the items below it; of somebody new, who has no name, the items alone."""
    if not users:
        _print_items(console, lists)
        return
    # An id is found only as it is written, so what was typed is what stands in the frame.
    found = {str(user): rows for (user,), rows in lists.group_by("user", maintain_order=True)}
    for user in dict.fromkeys(users):
        rows = found.get(user, lists.clear())
        popular = "source" in rows.columns and "popular" in rows["source"]
        note = "  not in training: what is popular, scored by how many touched it" if popular else ""
        console.print(Text(f"user {user}", style="bold") + Text(note, style="not bold dim"))
        _print_items(console, rows)


def _print_items(console: Console, rows: pl.DataFrame) -> None:
    if rows.is_empty():
        console.print(Text("no items", style="dim"))
    for rank, item, score, title in rows.select("rank", "item", "score", "title").iter_rows():
        line = Text(f"{rank:>4}. {score:8.3f}  ") + _name(item, title)
        console.print(line, no_wrap=True, overflow="ellipsis")


def _print(console: Console, explanation: Explanation, most: int) -> None:
    """The sum, line by line."""
    reasons = explanation.reasons
    shown = reasons.sort(reasons["contribution"].abs(), descending=True, maintain_order=True).head(most)
    lines = [(explanation.base, Text("everybody", style="dim"))]
    lines += [(contribution, _name(item, title)) for item, title, contribution in shown.iter_rows()]
    if hidden := reasons.height - shown.height:
        others = float(reasons["contribution"].sum()) - float(shown["contribution"].sum())
        lines.append((others, Text(f"{hidden} more touched items", style="dim")))
    if explanation.rest:
        lines.append((explanation.rest, Text("the rest", style="dim")))
    console.print(_name(explanation.item, explanation.title), style="bold", no_wrap=True, overflow="ellipsis")
    for value, name in lines:
        console.print(Text(f"{value:+10.3f}  ") + name, no_wrap=True, overflow="ellipsis")
    console.print(Text(f"{explanation.score:10.3f}  score", style="bold"))
    console.print(Text(explanation.sums, style="dim"), soft_wrap=True)


def _name(item: object, title: str | None) -> Text:
    """The title and the id, or the id alone."""
    return Text(title or str(item)) + Text(f"  {item}" if title else "", style="dim")
