"""Servers to ask over real connections: one in a thread of this process, and `gnas-ext serve` as one of its own."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import uvicorn

from gnas_ext.serve import Current, make_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fastapi import FastAPI
    from starlette.types import ASGIApp


def ask(connection: http.client.HTTPConnection, path: str, body: Any = None) -> tuple[int, Any]:
    """Status and answer."""
    text = None if body is None else json.dumps(body)
    connection.request("GET" if body is None else "POST", path, text, {"content-type": "application/json"})
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def connect(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)


def wait_for(url: str, field: str, value: object) -> dict[str, Any]:
    """Health, once a field of it has a value."""
    connection = connect(url)
    for _ in range(600):
        _, found = ask(connection, "/healthz")
        if found[field] == value:
            whole: dict[str, Any] = found
            return whole
        time.sleep(0.05)
    raise AssertionError(f"{field} never became {value!r}: {found}")


@contextmanager
def in_a_thread(app: ASGIApp) -> Iterator[str]:
    """The address of an application that is served until the block ends."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def watching(folder: Path) -> FastAPI:
    """An application that looks at its folder all the time."""
    return make_app(Current(folder, rehearsed=False), watch_s=0.05)


@contextmanager
def as_a_process(folder: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of `gnas-ext serve`, and its process, which ends with the block whatever happens in it."""
    command = [sys.executable, "-m", "gnas_ext", "serve", str(folder), "--port", "0", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()
