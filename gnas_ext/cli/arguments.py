"""What do several commands take? The folder of an artefact, and how a log is to be read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gnas_ext.errors import InputError

Artefact = Annotated[Path, typer.Argument(help="The folder that search wrote.", show_default=False)]
User = Annotated[str | None, typer.Option(help="Column of users; guessed.", show_default=False)]
Item = Annotated[str | None, typer.Option(help="Column of items; guessed.", show_default=False)]
Timestamp = Annotated[str | None, typer.Option(help="Column of times; guessed, or none.", show_default=False)]
Rating = Annotated[str | None, typer.Option(help="Column of ratings; guessed, or none.", show_default=False)]
Sep = Annotated[str | None, typer.Option(help="Separator; guessed.", show_default=False)]
MinRating = Annotated[float | None, typer.Option(help="Drop lower ratings.", show_default=False)]


def folder_of(artefact: Path) -> Path:
    """The artefact, also where the folder that holds it beside its report is named."""
    inside = artefact / "artefact"
    return inside if inside.is_dir() and not (artefact / "manifest.json").exists() else artefact


def at_least(option: str, value: int, least: int) -> None:
    """InputError where an option is below the least that makes sense."""
    if value < least:
        raise InputError(f"{option} {value}: expected {least} or more")
