"""Where evaluations run: what the engine asks of a place, and the plainest one, this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from gnas_ext.search.evaluation import run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gnas_ext.search.evaluation import Evaluate, Result
    from gnas_ext.search.genotype import Genotype
    from gnas_ext.search.study import Direction


class Job(NamedTuple):
    """A genotype to evaluate, and the number under which it was started.

    Attributes:
        fidelity: what share of a full evaluation is wanted; None where the objective is not asked for shares.
    """

    number: int
    genotype: Genotype
    fidelity: float | None = None


class Executor(Protocol):
    """Runs up to `capacity` jobs at a time."""

    capacity: int

    def start(self, job: Job) -> None:
        """Begins a job; called only while fewer than `capacity` run."""

    def wait(self) -> list[tuple[Job, Result]]:
        """Waits until at least one of the running jobs has ended; those that have, in the order of their numbers."""

    def close(self) -> None:
        """Ends all that runs."""


class Here:
    """One job at a time, in this process; nothing needs to be pickled, and nothing can be cut short."""

    capacity = 1

    def __init__(self, evaluate: Evaluate, directions: Sequence[Direction], clock: Callable[[], float]) -> None:
        self._evaluate = evaluate
        self._directions = directions
        self._clock = clock
        self._jobs: list[Job] = []

    def start(self, job: Job) -> None:
        """Keeps the job; it runs when it is waited for."""
        self._jobs.append(job)

    def wait(self) -> list[tuple[Job, Result]]:
        """Runs the job."""
        job = self._jobs.pop()
        return [(job, run(self._evaluate, job, self._directions, self._clock))]

    def close(self) -> None:
        """Nothing to do."""
