"""Evaluations in worker processes: a worker that dies or hangs is replaced, and takes no other with it."""

from __future__ import annotations

import math
import multiprocessing
import os
import pickle
import signal
import threading
import time
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait as wait_for
from typing import TYPE_CHECKING

from gnas_ext.errors import InputError
from gnas_ext.search.evaluation import Result, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnContext, SpawnProcess

    from gnas_ext.search.evaluation import Evaluate
    from gnas_ext.search.executor import Job
    from gnas_ext.search.study import Direction

# A job whose worker died is started once more: the worker may have been killed for another's memory.
ATTEMPTS = 2
# What a worker says when it is ready for its first job.
LOADED = "loaded"
# A worker process, by its name, and how it ends if it runs a script anew instead of its work.
_NAME = "gnas_ext worker"
_UNGUARDED = 86
_GUARD = 'put what it does under `if __name__ == "__main__":`'
# What the usual libraries read when they decide how many threads to start.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")
# Whether this process is a worker that has got as far as its work.
_at_work = False


class Processes:
    """Runs jobs in worker processes, started anew (`spawn`) so that no thread or lock is inherited.

    The cores that this process may use are divided among them: with two workers on four cores, each is told to use two
    threads. They end with this process, however it ends.

    Args:
        evaluate: what each worker calls; sent to it once, pickled.
        directions: "maximize" or "minimize", one an objective.
        workers: how many.
        seconds: a job that takes longer is ended and has failed.

    Raises:
        InputError: `evaluate` cannot be pickled.
    """

    def __init__(
        self, evaluate: Evaluate, directions: Sequence[Direction], workers: int, seconds: float = math.inf
    ) -> None:
        self.capacity = workers
        try:
            payload = pickle.dumps((evaluate, tuple(directions)))
        except Exception as error:
            raise InputError(
                f"evaluate cannot be sent to worker processes ({error}); "
                "define it at the top level of a module, or leave out workers="
            ) from None
        context = multiprocessing.get_context("spawn")
        threads = max(1, len(os.sched_getaffinity(0)) // workers)
        self._slots = [_Slot(context, payload, threads, seconds) for _ in range(workers)]

    def start(self, job: Job) -> None:
        """Hands the job to a worker that has none."""
        next(slot for slot in self._slots if slot.job is None).start(job)

    def wait(self) -> list[tuple[Job, Result]]:
        """Waits until a job has ended, by itself or by force."""
        while True:
            busy = [slot for slot in self._slots if slot.job is not None]
            left = min(slot.seconds_left() for slot in busy)
            signs = [sign for slot in busy for sign in (slot.connection, slot.process.sentinel)]
            wait_for(signs, None if left == math.inf else max(0.0, left))
            ended = [(job, result) for slot in busy if (job := slot.job) and (result := slot.look())]
            if ended:
                return sorted(ended, key=lambda pair: pair[0].number)

    def close(self) -> None:
        """Kills the workers."""
        for slot in self._slots:
            slot.end()


class _Slot:
    """The place of one worker: it has a process, and at times a job."""

    def __init__(self, context: SpawnContext, payload: bytes, threads: int, seconds: float) -> None:
        self._context = context
        self._payload = payload
        self._threads = threads
        self._limit = seconds
        self.job: Job | None = None
        self._attempt = 0
        self._began = 0.0
        self._failures = 0
        self._open()

    def _open(self) -> None:
        self.connection: Connection
        self.connection, far = self._context.Pipe()
        self.process: SpawnProcess = self._context.Process(
            name=_NAME, target=_work, args=(far, self._payload), daemon=True
        )
        with _environment({name: str(self._threads) for name in THREADS}):
            self.process.start()
        far.close()
        self._loaded = False  # to import what `evaluate` needs is not the job's time

    def start(self, job: Job) -> None:
        self.job = job
        self._attempt = 0
        self._send()

    def _send(self) -> None:
        assert self.job is not None
        self._attempt += 1
        self._began = time.monotonic()
        with suppress(OSError):  # it died while it had nothing to do; `look` finds that out
            self.connection.send(self.job)

    def seconds_left(self) -> float:
        return self._began + self._limit - time.monotonic() if self._loaded else math.inf

    def look(self) -> Result | None:
        """The result of the job, if it has ended; a worker that is gone or too slow is replaced."""
        said: Result | InputError | str | None = None
        with suppress(EOFError, OSError):
            said = self.connection.recv() if self.connection.poll() else None
        if isinstance(said, InputError):
            raise said
        if said == LOADED:
            self._loaded = True
            self._failures = 0
            self._began = time.monotonic()
            return None
        result = said if isinstance(said, Result) else self._lost()
        if result is not None:
            self.job = None
        return result

    def _lost(self) -> Result | None:
        taken = time.monotonic() - self._began
        if self._loaded and taken > self._limit:
            self.end()
            self._open()
            return Result(taken, reason=f"no result within {self._limit:g} s: ended")
        if self.process.is_alive():
            return None
        how = _death(self.process.exitcode)
        if not self._loaded:
            self._failed_to_load(how)
        self.end()
        self._open()
        if self._attempt < ATTEMPTS:
            self._send()
            return None
        return Result(taken, reason=f"its worker process {how}, also when it was tried again")

    def _failed_to_load(self, how: str) -> None:
        """InputError unless another attempt may help."""
        self._failures += 1
        if self.process.exitcode == _UNGUARDED:
            raise InputError(f"each worker process runs the script again; {_GUARD}")
        if self._failures == ATTEMPTS:
            raise InputError(
                f"a worker process {how} before it was ready, {ATTEMPTS} times; if a script was run, {_GUARD}"
            )

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def refuse_unguarded() -> None:
    """Ends this process quietly if it is a worker that got here by running the driver's script, which has no guard.

    The driver learns it from the exit status, and says it once; what each worker had to say would stand around that.
    """
    if multiprocessing.current_process().name == _NAME and not _at_work:
        raise SystemExit(_UNGUARDED)


def _work(connection: Connection, payload: bytes) -> None:
    """What a worker does: evaluates what it is sent until nobody sends any more."""
    global _at_work
    _at_work = True
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's business
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        evaluate, directions = pickle.loads(payload)
    except Exception as error:
        connection.send(InputError(f"evaluate cannot be loaded in a worker process: {type(error).__name__}: {error}"))
        return
    connection.send(LOADED)
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        connection.send(run(evaluate, job, directions, time.monotonic))


def _end_with_parent() -> None:
    """A driver that was killed closes nothing; its workers would compute on for nobody."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was killed ({signal.Signals(-code).name})"
    return f"ended with status {code}"


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """The environment that a child inherits, for a moment."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
