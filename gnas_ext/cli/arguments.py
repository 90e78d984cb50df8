"""What do several commands take? The folder of an artefact, and how a log is to be read."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gnas_ext.errors import InputError

if TYPE_CHECKING:
    from gnas_ext.compress import Limits

# Decimal units, as all sizes are shown.
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9}

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


def limits_of(size: str | None, milliseconds: float | None) -> Limits | None:
    """What --max-size and --max-ms say together; None where neither was given."""
    if size is None and milliseconds is None:
        return None
    from gnas_ext.compress import Limits

    most = math.inf
    if size is not None:
        found = re.fullmatch(r"([0-9]*\.?[0-9]+)\s*([a-z]*)", size.strip().lower())
        if found is None or found[2] not in _UNITS or not float(found[1]) > 0:
            raise InputError(f"--max-size {size}: expected a size above 0 such as 500kB or 2MB")
        most = float(found[1]) * _UNITS[found[2]]
    if milliseconds is not None and not milliseconds > 0:
        raise InputError(f"--max-ms {milliseconds:g}: expected more than 0")
    return Limits(most, math.inf if milliseconds is None else milliseconds)
