"""Which model is better: quality, bytes and milliseconds side by side."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from gnas_ext.evaluate.cost import human_bytes, latency_ms, timed_users
from gnas_ext.evaluate.evaluate import evaluate_with_spread, judged_users
from gnas_ext.evaluate.seen import SeenItems
from gnas_ext.models.coded import as_served

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.table import Table

    from gnas_ext.data.interactions import Interactions
    from gnas_ext.models.base import Model

_Number = TypeVar("_Number", int, float)
_NAME_WIDTH = 34


@dataclass(frozen=True)
class ModelResult:
    """One line of the comparison.

    Attributes:
        name: for people.
        metrics: as `evaluate` gives them: "ndcg@20" ….
        size_bytes: all that must be stored to recommend.
        latency_ms: milliseconds a user, as `cost.latency_ms` measures.
        spread: standard error of the metrics that are means over users.
    """

    name: str
    metrics: dict[str, float]
    size_bytes: int
    latency_ms: float
    spread: dict[str, float] = field(default_factory=dict)


def measure(
    name: str,
    model: Model,
    train: Interactions,
    target: Interactions,
    ks: Sequence[int] = (20,),
    *,
    timed: bool = True,
    progress: Callable[[int], None] | None = None,
) -> ModelResult:
    """Evaluates a model and measures what it costs; arguments and errors are those of `evaluate`.

    Timed are lists of length max(ks) for `cost.timed_users`; rows in codes are decoded before, as they are where an
    artefact is loaded. Without `timed`, `latency_ms` is NaN.
    """
    measured, spread = evaluate_with_spread(model, train, target, ks, progress=progress)
    milliseconds = math.nan
    if timed:
        users = judged_users(model.n_users, train, target)
        seen = SeenItems.from_interactions(train, model.n_users)
        milliseconds = latency_ms(as_served(model), timed_users(users), max(ks), seen)
    return ModelResult(name, measured, model.size_bytes(), milliseconds, spread)


def comparison_text(results: Sequence[ModelResult], k: int = 20) -> str:
    """The comparison as plain text, 80 columns at most; the best of each column is marked with *."""
    lines = [[label + " " for label in _labels(k)]]
    lines += [[text + ("*" if best else " ") for text, best in cells] for cells in _cells(results, k)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([name.ljust(widths[0]), *map(str.rjust, values, widths[1:])]).rstrip() for name, *values in lines
    )


def comparison_table(results: Sequence[ModelResult], k: int = 20) -> Table:
    """The comparison for a terminal, 80 columns at most; the best of each column is bold."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD)
    for column, label in enumerate(_labels(k)):
        table.add_column(label, justify="right" if column else "left", no_wrap=True)
    for cells in _cells(results, k):
        table.add_row(*(Text(text, style="bold" if best else "") for text, best in cells))
    return table


def _labels(k: int) -> list[str]:
    return ["Model", f"Recall@{k}", f"NDCG@{k}", "Size", "ms/user"]


def _cells(results: Sequence[ModelResult], k: int) -> list[list[tuple[str, bool]]]:
    """What each line says, and whether it is the best of its column: equal to the best as it is printed."""
    recall = _column([r.metrics[f"recall@{k}"] for r in results], "{:.4f}".format, max)
    ndcg = _column([r.metrics[f"ndcg@{k}"] for r in results], "{:.4f}".format, max)
    size = _column([r.size_bytes for r in results], human_bytes, min)
    latency = _column([r.latency_ms for r in results], "{:.3f}".format, min)
    names = [(_shortened(r.name), False) for r in results]
    return [list(line) for line in zip(names, recall, ndcg, size, latency, strict=True)]


def _column(
    values: list[_Number], show: Callable[[_Number], str], best_of: Callable[[list[_Number]], _Number]
) -> list[tuple[str, bool]]:
    best = show(best_of(values)) if values else ""
    return [(show(value), show(value) == best) for value in values]


def _shortened(name: str) -> str:
    return name if len(name) <= _NAME_WIDTH else name[: _NAME_WIDTH - 1] + "…"
