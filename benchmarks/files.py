"""Where figures are kept: files that are there whole or not at all, and the part of a page that is written by a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"


def write(path: Path, text: str) -> None:
    """Writes under another name, then renames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    waiting = path.with_suffix(".tmp")
    waiting.write_text(text)
    waiting.replace(path)


def put_figures(page: Path, figures: str) -> None:
    """Puts figures between the marks of a page, in place of those that are there."""
    before, rest = page.read_text().split(BEGIN)
    write(page, f"{before}{BEGIN}\n\n{figures}\n\n{END}{rest.split(END)[1]}")
