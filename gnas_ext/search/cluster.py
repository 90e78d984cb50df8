"""Which cluster, what a worker asks of it, and the way there and back: Ray, as little of it as is needed."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gnas_ext.errors import InputError

if TYPE_CHECKING:
    from contextlib import ExitStack

# Ray itself waits minutes for a head that is not there.
_CONNECT_SECONDS = 5
_LENGTH = 150


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster, and what each worker on it asks for.

    Attributes:
        address: "auto" for the cluster that this machine is a node of, or HOST:PORT of its head.
        cpus: cores a worker; it is told to use as many threads.
        gpus: GPUs a worker; it sees no others.

    Raises:
        ValueError: no cores, or less than no GPU.
    """

    address: str = "auto"
    cpus: float = 1
    gpus: float = 0

    def __post_init__(self) -> None:
        if not self.cpus > 0 or not self.gpus >= 0:
            raise ValueError(f"Cluster: expected cpus > 0 and gpus >= 0, got {self.cpus:g} and {self.gpus:g}")


def connected(address: str, stack: ExitStack) -> Any:
    """Ray, connected until the stack is closed, or for as long as it was anyway."""
    try:
        import ray
    except ModuleNotFoundError:
        raise InputError("ray= needs Ray: pip install 'gnas_ext[ray]'") from None
    if ray.is_initialized():
        here = ray.get_runtime_context().gcs_address
        if address not in ("auto", here):
            raise InputError(
                f"ray={address!r}: this process is connected to the cluster at {here}; give that, or 'auto'"
            )
        return ray
    _hush(ray, stack)
    if threading.current_thread() is threading.main_thread():  # Ray sets a handler of its own
        stack.callback(signal.signal, signal.SIGTERM, signal.getsignal(signal.SIGTERM) or signal.SIG_DFL)
    try:
        _knock(os.environ.get("RAY_ADDRESS", "") if address == "auto" else address)
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"no Ray cluster at {address!r} that this machine is a node of ({one_line(error)}); "
            "start one with `ray start --head`, or give the HOST:PORT of its head"
        ) from None
    stack.callback(ray.shutdown)
    return ray


def _knock(address: str) -> None:
    """An OSError at once where nobody listens."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()


def _hush(ray: Any, stack: ExitStack) -> None:
    """Keeps Ray from telling at length, on the driver's output, of each worker that died: trials say it in a line."""
    module = ray._private.worker  # there is no option for it
    before = getattr(module, "_worker_logs_enabled", True)
    module._worker_logs_enabled = False
    stack.callback(setattr, module, "_worker_logs_enabled", before)


def room(ray: Any, cluster: Cluster) -> int:
    """How many workers the nodes that are up can hold, were they empty."""
    asked = {name: amount for name, amount in (("CPU", cluster.cpus), ("GPU", cluster.gpus)) if amount}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    places = sum(int(min(node.get(name, 0) / amount for name, amount in asked.items())) for node in nodes)
    if not places:
        wanted = " and ".join(f"{amount:g} {name}" for name, amount in asked.items())
        there = "; ".join(f"{node.get('CPU', 0):g} CPU, {node.get('GPU', 0):g} GPU" for node in nodes)
        raise InputError(f"no node of the Ray cluster has {wanted} for a worker: they have {there}")
    return places


def one_line(error: BaseException) -> str:
    """The kind of an error and the first line of what it says."""
    return shortened(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")


def shortened(text: str) -> str:
    """As much of a text as fits into a reason."""
    return text if len(text) <= _LENGTH else text[: _LENGTH - 1] + "…"
