"""Evaluations on a cluster: workers are Ray actors, and one that dies or hangs is replaced, wherever it ran."""

from __future__ import annotations

import math
import time
from collections import deque
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gnas_ext.errors import InputError
from gnas_ext.search.cluster import connected, one_line, room, shortened
from gnas_ext.search.evaluation import Result, run
from gnas_ext.search.processes import ATTEMPTS, THREADS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gnas_ext.search.cluster import Cluster
    from gnas_ext.search.evaluation import Evaluate
    from gnas_ext.search.executor import Job
    from gnas_ext.search.study import Direction


class Actors:
    """Runs jobs in Ray actors. A job waits until a worker is ready, so that a busy cluster delays it and no more.

    `evaluate` is put into Ray's object store once: it travels once to each node, and the workers of a node read its
    arrays from the same memory, where they cannot be written. A Ray that this process has initialised before is used,
    and left running; otherwise it connects, and disconnects when it is closed.

    Args:
        evaluate: what each worker calls.
        directions: "maximize" or "minimize", one an objective.
        cluster: where.
        workers: how many; 0 for as many as the nodes that are up have room for.
        seconds: a job that takes longer is ended and has failed.

    Raises:
        InputError: Ray is not installed; there is no such cluster; no node of it has what a worker asks for; `evaluate`
            cannot be sent.
    """

    def __init__(
        self,
        evaluate: Evaluate,
        directions: Sequence[Direction],
        cluster: Cluster,
        workers: int = 0,
        seconds: float = math.inf,
    ) -> None:
        self._waiting: deque[_Task] = deque()
        self._workers: list[_Worker] = []
        with ExitStack() as stack:
            ray = connected(cluster.address, stack)
            places = room(ray, cluster)
            try:
                # Held here until the end: what no driver refers to is evicted, and no further worker could start.
                payload = ray.put((evaluate, tuple(directions)))
            except Exception as error:
                cause = error.__cause__ or error
                raise InputError(f"evaluate cannot be sent to the cluster ({one_line(cause)})") from None
            self.capacity = workers or places
            stack.callback(self._end)
            self._workers += [_Worker(ray, payload, cluster, seconds) for _ in range(self.capacity)]
            self._ray = ray
            self._stack = stack.pop_all()

    def start(self, job: Job) -> None:
        """Hands the job to a worker, or keeps it until one is ready."""
        self._waiting.append(_Task(job))
        self._hand_out()

    def wait(self) -> list[tuple[Job, Result]]:
        """Waits until a job has ended, by itself or by force."""
        while True:
            signs = {worker.sign: worker for worker in self._workers if worker.sign is not None}
            left = min(worker.seconds_left() for worker in signs.values())
            self._ray.wait(list(signs), num_returns=1, timeout=None if left == math.inf else max(0.0, left))
            ready, _ = self._ray.wait(list(signs), num_returns=len(signs), timeout=0)
            ended = []
            for sign, worker in signs.items():
                task = worker.task
                result = worker.look(sign in ready)
                if task and result:
                    ended.append((task.job, result))
                elif task and not worker.task:
                    self._waiting.appendleft(task)  # its worker died; it goes to the next that is ready
            self._give_up()
            self._hand_out()
            if ended:
                return sorted(ended, key=lambda pair: pair[0].number)

    def close(self) -> None:
        """Kills the workers; disconnects from Ray if it was not connected before."""
        self._stack.close()

    def _hand_out(self) -> None:
        for worker in self._workers:
            if self._waiting and worker.idle:
                worker.start(self._waiting.popleft())

    def _give_up(self) -> None:
        """Takes leave of workers that do not come up, as on a node that lacks what they need."""
        for worker in [worker for worker in self._workers if worker.failures >= ATTEMPTS]:
            worker.end()
            self._workers.remove(worker)
            self.capacity -= 1
            if not self._workers:
                raise InputError(
                    f"workers end before they are ready ({worker.detail}); every node of the cluster needs gnas_ext "
                    "and what evaluate imports, in the versions of this machine"
                )

    def _end(self) -> None:
        for worker in self._workers:
            worker.end()


@dataclass
class _Task:
    """A job, and how often it was begun."""

    job: Job
    attempts: int = 0


class _Worker:
    """The driver's side of one actor, and of those that take its place."""

    def __init__(self, ray: Any, payload: Any, cluster: Cluster, seconds: float) -> None:
        self._ray = ray
        self._payload = payload
        self._limit = seconds
        variables = {name: str(max(1, int(cluster.cpus))) for name in THREADS}
        # Ray would start an actor anew by itself, but not say so: whose trial was it? So each is started here.
        self._class = ray.remote(_Actor).options(
            num_cpus=cluster.cpus, num_gpus=cluster.gpus, max_restarts=0, runtime_env={"env_vars": variables}
        )
        self.failures = 0
        self.detail = ""
        self.task: _Task | None = None
        self._open()

    @property
    def idle(self) -> bool:
        """Whether it is ready and has nothing to do."""
        return self._loaded and self.task is None

    def _open(self) -> None:
        self._loaded = False
        self._began = 0.0
        self._actor = self._class.remote()
        # In a list, for Ray resolves what stands by itself, and fails in words of its own.
        self.sign = self._actor.load.remote([self._payload])

    def start(self, task: _Task) -> None:
        self.task = task
        task.attempts += 1
        self._began = time.monotonic()
        self.sign = self._actor.run.remote(task.job)

    def seconds_left(self) -> float:
        return self._began + self._limit - time.monotonic() if self.task else math.inf

    def look(self, ready: bool) -> Result | None:
        """The result of its job, if it has ended; a worker that is gone or too slow is replaced, and has no job."""
        taken = time.monotonic() - self._began
        if not ready:
            if taken <= self._limit or self.task is None:
                return None
            self._replace()
            return Result(taken, reason=f"no result within {self._limit:g} s: ended")
        try:
            said = self._ray.get(self.sign)
        except self._ray.exceptions.RayError as error:
            return self._lost(taken, error)
        self.sign = None
        self.failures = 0
        if isinstance(said, Result):
            self.task = None
            return said
        if said is not None:
            raise InputError(f"evaluate cannot be loaded in a worker on the cluster: {said}")
        self._loaded = True
        return None

    def _lost(self, taken: float, error: Exception) -> Result | None:
        self.detail = _death(error)
        self.failures += not self._loaded
        task = self.task
        self._replace()
        if task is None or task.attempts < ATTEMPTS:
            return None
        return Result(taken, reason=f"its worker died ({self.detail}), also when it was tried again")

    def _replace(self) -> None:
        self.end()
        self.task = None
        self._open()

    def end(self) -> None:
        with suppress(Exception):  # gone already, or its cluster is
            self._ray.kill(self._actor)


class _Actor:
    """What runs on the cluster."""

    def load(self, payload: list[Any]) -> str | None:
        """Fetches what is to be called; why it cannot, if so."""
        import ray

        try:
            self._evaluate, self._directions = ray.get(payload[0])
        except Exception as error:
            return one_line(error)
        return None

    def run(self, job: Job) -> Result:
        """Calls it."""
        return run(self._evaluate, job, self._directions, time.monotonic)


def _death(error: Exception) -> str:
    """What Ray knows of it, without its guesses."""
    text = str(error).strip().splitlines()[-1]
    text = text.partition("Worker exit detail: ")[2] or text
    return shortened(text.partition(" Some common causes")[0].rstrip("."))
