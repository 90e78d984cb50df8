"""The rows of a split as files that worker processes map into their memory: one copy for all, nothing pickled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gnas_ext.data.interactions import Interactions, Split
from gnas_ext.search.recommender.objective import Objective

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gnas_ext.search.trial import Outcome

_PARTS = ("train", "valid")
_COLUMNS = ("user", "item", "timestamp")


class SharedObjective:
    """An `Objective` that is opened, in each process anew, where its rows lie; pickled, it is a path and options.

    Args:
        folder: as `write_rows` left it.
        options: of the `Objective`.
    """

    def __init__(self, folder: Path, **options: Any) -> None:
        self._folder = folder
        self._options = options
        self._opened: Objective | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self._folder, self._options)

    def __call__(self, genotype: Mapping[str, Any], fidelity: float = 1.0) -> Outcome:
        """What the objective says."""
        if self._opened is None:
            self._opened = Objective(open_rows(self._folder), **self._options)
        return self._opened(genotype, fidelity)


def _reopened(folder: Path, options: dict[str, Any]) -> SharedObjective:
    return SharedObjective(folder, **options)


def write_rows(split: Split, folder: Path) -> None:
    """Writes what an objective looks at: training and validation."""
    for part in _PARTS:
        for column in _COLUMNS:
            values = getattr(getattr(split, part), column)
            if values is not None:
                np.save(folder / f"{part}.{column}.npy", values)


def open_rows(folder: Path) -> Split:
    """Training and validation as they were written, mapped into memory; the ids and the test part are left behind."""
    import polars as pl

    def column(part: str, name: str) -> Any:
        path = folder / f"{part}.{name}.npy"
        # Copy on write: torch refuses to share what may not be written.
        return np.load(path, mmap_mode="c") if path.exists() else None

    train, valid = (Interactions(*(column(part, name) for name in _COLUMNS)) for part in _PARTS)
    return Split(train, valid, valid.select(np.arange(0)), pl.Series(), pl.Series(), "as written for workers")
