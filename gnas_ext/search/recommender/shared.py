"""How workers get the rows of a split: as files that they map into their memory, or from a cluster's object store.

Worker processes share one copy of the files, and nothing is pickled. Nodes of a cluster may share no file system, so
there the rows travel by Ray's object store, once to each node; a worker copies them from it when it opens them.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from gnas_ext.data.interactions import Interactions, Split
from gnas_ext.errors import InputError
from gnas_ext.search.recommender.objective import Objective

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gnas_ext.search.trial import Outcome

_PARTS = ("train", "valid")
_COLUMNS = ("user", "item", "timestamp")


class SharedObjective:
    """An `Objective` that is opened, in each process anew, where its rows lie; pickled, it is those and options.

    Args:
        rows: a folder as `write_rows` left it, or a split as `bare` returns it.
        options: of the `Objective`.
    """

    def __init__(self, rows: Path | Split, **options: Any) -> None:
        self._rows = rows
        self._options = options
        self._opened: Objective | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self._rows, self._options)

    def __call__(self, genotype: Mapping[str, Any], fidelity: float = 1.0) -> Outcome:
        """What the objective says."""
        if self._opened is None:
            split = open_rows(self._rows) if isinstance(self._rows, Path) else bare(self._rows)
            self._opened = Objective(split, **self._options)
        return self._opened(genotype, fidelity)

    def seeded(self, seed: int, window: int) -> SharedObjective:
        """The same rows, with another seed, judged on another part of them."""
        return SharedObjective(self._rows, **self._options | {"seed": seed, "window": window})


def _reopened(rows: Path | Split, options: dict[str, Any]) -> SharedObjective:
    return SharedObjective(rows, **options)


@contextmanager
def shared(split: Split, cluster: bool, options: dict[str, Any]) -> Iterator[SharedObjective]:
    """The objective for workers on this machine, or on a cluster, for as long as they may need it.

    Raises:
        InputError: the files for workers on this machine cannot be written.
    """
    if cluster:
        yield SharedObjective(bare(split), **options)
        return
    try:
        folder = TemporaryDirectory(prefix="gnas-ext-")
    except OSError as error:
        raise _unwritable(error) from None
    with folder:
        try:
            write_rows(split, Path(folder.name))
        except OSError as error:
            raise _unwritable(error) from None
        yield SharedObjective(Path(folder.name), **options)


def _unwritable(error: OSError) -> InputError:
    return InputError(
        f"the rows for the workers cannot be written ({error.strerror or error}); "
        "make room for temporary files, or name another folder with TMPDIR"
    )


def write_rows(split: Split, folder: Path) -> None:
    """Writes what an objective looks at: training and validation."""
    for part in _PARTS:
        for column in _COLUMNS:
            values = getattr(getattr(split, part), column)
            if values is not None:
                np.save(folder / f"{part}.{column}.npy", values)


def open_rows(folder: Path) -> Split:
    """Training and validation as they were written, mapped into memory; the ids and the test part are left behind."""

    def column(part: str, name: str) -> Any:
        path = folder / f"{part}.{name}.npy"
        # Copy on write: torch refuses to share what may not be written.
        return np.load(path, mmap_mode="c") if path.exists() else None

    train, valid = (Interactions(*(column(part, name) for name in _COLUMNS)) for part in _PARTS)
    return _split(train, valid)


def bare(split: Split) -> Split:
    """Training and validation in memory of their own, which may be written; ids and the test part are left behind.

    What Ray reads from its object store may not be written, and is shared.
    """

    def column(part: str, name: str) -> Any:
        values = getattr(getattr(split, part), name)
        return None if values is None else np.array(values)

    train, valid = (Interactions(*(column(part, name) for name in _COLUMNS)) for part in _PARTS)
    return _split(train, valid)


def _split(train: Interactions, valid: Interactions) -> Split:
    import polars as pl

    return Split(train, valid, valid.select(np.arange(0)), pl.Series(), pl.Series(), "as written for workers")
