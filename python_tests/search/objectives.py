"""Objectives at the top level of a module, as worker processes need them."""

from __future__ import annotations

import os
import random
import signal
import time
from typing import TYPE_CHECKING

from gnas_ext.search import Integer, Outcome, SearchSpace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gnas_ext.search import Genotype

SPACE = SearchSpace({"a": Integer(0, 19), "b": Integer(0, 19)})


def bowl(genotype: Genotype) -> float:
    return -sum((int(str(genotype[name])) - 7) ** 2 for name in "ab")


def who(genotype: Genotype) -> Outcome:
    """Where it ran."""
    time.sleep(0.02)
    return Outcome(bowl(genotype), {"pid": os.getpid(), "threads": os.environ.get("OMP_NUM_THREADS")})


class Ticking:
    """Takes seconds of a clock of its own."""

    def __init__(
        self,
        seconds: Callable[[Genotype], float],
        worth: Callable[[Genotype], float | tuple[float, ...]] = lambda _: 0.0,
    ) -> None:
        self.now = 0.0
        self.seconds = seconds
        self.worth = worth

    def __call__(self, genotype: Genotype, fidelity: float = 1.0) -> float | tuple[float, ...]:
        self.now += fidelity * self.seconds(genotype)
        return self.worth(genotype)

    def clock(self) -> float:
        return self.now


class Met:
    """Where it ran; ends no trial before so many workers have begun one: a slow start of one leaves it its share."""

    def __init__(self, folder: Path, workers: int, patience: float = 120.0) -> None:
        self.folder = folder
        self.workers = workers
        self.patience = patience

    def __call__(self, genotype: Genotype) -> Outcome:
        (self.folder / str(os.getpid())).touch()
        ends = time.monotonic() + self.patience
        while len(list(self.folder.iterdir())) < self.workers and time.monotonic() < ends:
            time.sleep(0.02)
        return who(genotype)


class Killed:
    """Kills its own process `times` times at each genotype of a share of them; files keep count."""

    def __init__(self, folder: Path, times: int, share: float = 1.0) -> None:
        self.folder = folder
        self.times = times
        self.share = share

    def __call__(self, genotype: Genotype) -> float:
        unlucky = random.Random(str(genotype)).random() < self.share
        deaths = self.folder / str(genotype).replace(" ", "_")
        if unlucky and (not deaths.exists() or len(deaths.read_text()) < self.times):
            with deaths.open("a") as file:
                file.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        return bowl(genotype)


def slow(genotype: Genotype) -> float:
    if genotype["a"] == 3:
        time.sleep(600)
    return bowl(genotype)


def leaves(genotype: Genotype) -> float:
    os._exit(3)


class Unloadable:
    """Can be sent, and not be received."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return _refuse, ("no such data here",)

    def __call__(self, genotype: Genotype) -> float:
        raise AssertionError


class Deadly:
    """Kills whom it is sent to."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return _leave_unless, (os.getpid(),)

    def __call__(self, genotype: Genotype) -> float:
        raise AssertionError


def _leave_unless(pid: int) -> None:
    if os.getpid() != pid:
        os._exit(5)


def _refuse(reason: str) -> None:
    if __name__ != "__main__":
        raise RuntimeError(reason)


def shares(genotype: Genotype, fidelity: float) -> float:
    """What it was told."""
    return fidelity
