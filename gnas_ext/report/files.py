"""How does what was found get onto the disk? At once or not at all, beside what may be there already."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from gnas_ext.errors import InputError
from gnas_ext.report.architecture import can_be_drawn, draw_alone
from gnas_ext.report.mermaid import to_mermaid

if TYPE_CHECKING:
    from collections.abc import Mapping


def write_architecture(folder: str | os.PathLike[str], genotype: Mapping[str, object]) -> list[Path]:
    """Writes the architecture as `architecture.mmd` (Mermaid) and, where it can be drawn, as `architecture.svg`.

    Args:
        folder: where to; it is made if it is not there. Files of these names are replaced.
        genotype: of any space, as `to_mermaid` takes it.

    Returns:
        The paths of what was written.

    Raises:
        InputError: a file cannot be written.
    """
    written = [write_text(Path(folder) / "architecture.mmd", to_mermaid(genotype), "the architecture")]
    picture = Path(folder) / "architecture.svg"
    if can_be_drawn(genotype):
        written.append(write_text(picture, draw_alone(genotype), "the architecture"))
    else:
        picture.unlink(missing_ok=True)  # of what was found before
    return written


def write_text(target: Path, text: str, what: str) -> Path:
    """Writes a file; one that is already there is replaced at once or not at all.

    Raises:
        InputError: it cannot be written; the message says `what` that is.
    """
    fresh = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            fresh.write_text(text, encoding="utf-8")
            os.replace(fresh, target)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{target}: {what} cannot be written: {error.strerror or error}") from error
    return target
