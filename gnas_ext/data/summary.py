"""What did reading and cleaning do: the steps of a log or a split, for people."""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gnas_ext.data.interactions import Split

if TYPE_CHECKING:
    from rich.table import Table

    from gnas_ext.data.interactions import Interactions, Log, Step

WIDTH = 80
_NAME, _COUNT = 21, 13
_NOTE = WIDTH - _NAME - 2 * _COUNT - 2


def summary(log: Log | Split) -> str:
    """What was guessed, each step with the rows it cost, and what is left; lines of at most 80 columns."""
    lines = [line for guess in log.guesses for line in _wrap(guess, WIDTH, indent="  ")]
    lines += ["", f"{'step':<{_NAME}}{'dropped':>{_COUNT}}{'left':>{_COUNT}}"]
    for step in log.steps:
        lines += _step_lines(step)
    return "\n".join([*lines, "", *(line for left in _left(log) for line in _wrap(left, WIDTH, indent="  "))])


def summary_table(log: Log | Split) -> Table:
    """The steps as a table for `rich`."""
    from rich.table import Table

    table = Table(title="Cleaning", caption="\n".join(_left(log)), title_justify="left", caption_justify="left")
    table.add_column("step")
    table.add_column("dropped", justify="right")
    table.add_column("left", justify="right")
    table.add_column("", style="dim")
    for step in log.steps:
        table.add_row(step.name, f"{step.rows_before - step.rows_after:,}", f"{step.rows_after:,}", step.note)
    return table


def _step_lines(step: Step) -> list[str]:
    dropped = f"{step.rows_before - step.rows_after:,}"
    names = _wrap(step.name, _NAME - 1) or [""]
    notes = _wrap(step.note, _NOTE)
    first = f"{names[0]:<{_NAME}}{dropped:>{_COUNT}}{f'{step.rows_after:,}':>{_COUNT}}"
    lines = [first + (f"  {notes[0]}" if notes else "")]
    for at in range(1, max(len(names), len(notes))):
        name = names[at] if at < len(names) else ""
        note = notes[at] if at < len(notes) else ""
        lines.append(f"{name:<{_NAME + 2 * _COUNT + 2}}{note}".rstrip())
    return lines


def _left(log: Log | Split) -> list[str]:
    sides = f"{len(log.user_ids):,} users, {len(log.item_ids):,} items"
    if not isinstance(log, Split):
        return [f"{len(log.interactions):,} interactions, {sides}{_span(log.interactions)}"]
    parts = (("training", log.train), ("validation", log.valid), ("test", log.test))
    return [
        f"{sides}; {log.method}",
        *(f"{name + ':':<12}{len(part):>12,}{_span(part)}" for name, part in parts),
    ]


def _span(part: Interactions) -> str:
    if part.timestamp is None or not len(part):
        return ""
    return f", {_day(int(part.timestamp.min()))} to {_day(int(part.timestamp.max()))}"


def _day(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%d}"
    except (ValueError, OverflowError, OSError):  # a year that the calendar does not have
        return f"time {seconds}"


def _wrap(text: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent=indent)
