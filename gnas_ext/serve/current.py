"""Which artefact answers now? The folder's last good one; a request keeps the one that it began with."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from gnas_ext.errors import InputError
from gnas_ext.recommend import load
from gnas_ext.recommend.manifest import FILES, MANIFEST
from gnas_ext.serve.memory import give_back
from gnas_ext.serve.rehearsal import rehearse

if TYPE_CHECKING:
    import os

    from gnas_ext.recommend import Recommender
    from gnas_ext.recommend.ids import Id

    Stamp = tuple[tuple[int, int, int], ...]

log = logging.getLogger("gnas_ext.serve")


@dataclass(frozen=True, eq=False)
class Loaded:
    """An artefact that is ready to answer.

    Attributes:
        recommender: what answers.
        names: id and title of each item, in code order.
        shelf: the same to search in: `item`, `title`, `words` (the title in small letters, or the id), the items that
            most users touched first.
        sha256: of its manifest, which holds a hash of everything else.
        since: when it began to answer, UTC.
    """

    recommender: Recommender
    names: list[tuple[Id, str | None]]
    shelf: pl.DataFrame
    sha256: str
    since: datetime


class Current:
    """The artefact in a folder, loaded anew when the folder changes.

    A folder that cannot be loaded, half copied, damaged or fatal to load, changes nothing: the artefact that answers
    goes on, and `error` says why.

    Args:
        folder: an artefact.
        rehearsed: whether a new one is first loaded in a process of its own (`serve.rehearsal`), which takes seconds
            and, for as long, the memory of one more.

    Raises:
        InputError: it cannot be loaded now, at the start.
    """

    def __init__(self, folder: str | os.PathLike[str], rehearsed: bool = True) -> None:
        self._folder = Path(folder)
        self._rehearsed = rehearsed
        self._lock = threading.Lock()
        self._stamp = self._stamped()
        self.now = _loaded(self._folder)
        give_back()
        self.reloads = 0
        self.error: str | None = None

    def refresh(self, force: bool = False) -> bool:
        """Loads the folder if it has changed since it was last looked at, or at any rate; whether it now answers."""
        with self._lock:
            stamp = self._stamped()
            if stamp is None or (stamp == self._stamp and not force):
                return False
            self._stamp = stamp
            fresh: Loaded | None = None
            try:
                if self._rehearsed:
                    rehearse(self._folder)
                fresh = _loaded(self._folder)
            except Exception as error:  # whatever it is: it must not go unseen, nor end what answers
                known = isinstance(error, InputError)
                self.error = " ".join((str(error) if known else f"{type(error).__name__}: {error}").split())
                log.warning("reload failed, the old artefact answers on: %s", self.error, exc_info=not known)
            if fresh is None:  # outside of the handler, whose error holds what was read
                give_back()
                return False
            old = weakref.ref(self.now)
            self.now, self.error = fresh, None
            self.reloads += 1
            _wait_until_gone(old)
            give_back()
            log.info("reloaded: %s", fresh.sha256[:12])
            return True

    def _stamped(self) -> Stamp | None:
        """What tells one state of the folder from another; None while it is being renamed."""
        try:
            stats = [(self._folder / name).stat() for name in (*FILES, MANIFEST)]
        except OSError:
            return None
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats)


def _loaded(folder: Path) -> Loaded:
    """An artefact with all that is made on first use made already, so that no request waits for it."""
    recommender = load(folder)
    with suppress(InputError):
        assert recommender.fold is not None
    recommender.recommend(recommender.user_ids.head(1).to_list(), k=1)
    names = recommender.titles.select("item", "title").rows()
    words = pl.coalesce(pl.col("title"), pl.col("item").cast(pl.String)).str.to_lowercase()
    shelf = recommender.titles.select("item", "title", words=words, touched=pl.Series(recommender.touched_by))
    shelf = shelf.sort("touched", descending=True, maintain_order=True).drop("touched")
    sha256 = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    return Loaded(recommender, names, shelf, sha256, datetime.now(UTC))


def _wait_until_gone(old: weakref.ref[Loaded]) -> None:
    """Until the requests that began with it have ended, which free it: half a second at most, for they are short."""
    for _ in range(50):
        if old() is None:
            break
        time.sleep(0.01)
