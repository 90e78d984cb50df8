"""How does the server begin and end? One process, one address, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from ipaddress import ip_address
from typing import TYPE_CHECKING

import torch
import uvicorn

from gnas_ext.errors import InputError
from gnas_ext.serve.app import make_app
from gnas_ext.serve.current import Current
from gnas_ext.serve.guard import host_name
from gnas_ext.serve.memory import keep_large_apart

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from types import FrameType

# Connections at once; one more is answered 503.
MOST_CONNECTIONS = 512
GRACE_S = 30


def serve(
    folder: str | os.PathLike[str],
    host: str = "127.0.0.1",
    port: int = 8000,
    watch_s: float = 2.0,
    hosts: Sequence[str] = (),
) -> None:
    """Serves an artefact until SIGTERM or SIGINT, and then answers what it has begun, for up to 30 s.

    Args:
        folder: an artefact.
        host: address to listen on.
        port: 0 takes a free one; the address is printed.
        watch_s: seconds between two looks at whether the folder has changed; 0 for none. SIGHUP looks at once, and
            loads it in any case.
        hosts: names that requests may be for. Of an address of this machine alone these come beside its own names;
            elsewhere, none means any.

    Raises:
        InputError: the artefact cannot be loaded, or the address cannot be used.
    """
    # Requests side by side use the processors better than one request cut up, and leave one pool of threads.
    torch.set_num_threads(1)
    keep_large_apart()
    listening = _listen(host, port)
    signal.signal(signal.SIGHUP, _ignored)  # until there is something to reload
    current = Current(folder)
    app = make_app(current, watch_s, _served(listening, host, hosts))
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=GRACE_S,
        server_header=False,
    )
    server = _Server(config, current)
    shown = f"[{host}]" if ":" in host else host
    print(f"http://{shown}:{listening.getsockname()[1]}", flush=True)
    # uvicorn raises the signal again once all is done; being told to stop is no failure.
    before = signal.signal(signal.SIGTERM, _ignored)
    try:
        server.run(sockets=[listening])
    finally:
        signal.signal(signal.SIGTERM, before)
        listening.close()


class _Server(uvicorn.Server):
    """Reloads on SIGHUP."""

    def __init__(self, config: uvicorn.Config, current: Current) -> None:
        super().__init__(config)
        self._current = current

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, lambda: loop.run_in_executor(None, self._current.refresh, True))
        await super().startup(sockets)


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise InputError(f"--port {port}: expected 0 … 65535")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # Named as TCP, or asyncio leaves TCP_NODELAY off, and every short answer waits 40 ms for an acknowledgement.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(1024)
    except OSError as error:
        raise InputError(
            f"{host}:{port}: cannot be listened on: {error.strerror}; name another --host or --port"
        ) from error
    return listening


def _served(listening: socket.socket, host: str, hosts: Sequence[str]) -> frozenset[str] | None:
    """Names that requests may be for; None for any."""
    named = frozenset(map(host_name, hosts))
    if ip_address(listening.getsockname()[0]).is_loopback:
        return named | {"localhost", "127.0.0.1", "::1", host.lower()}
    return named or None


def _ignored(number: int, frame: FrameType | None) -> None:
    """Nothing is left to do."""
