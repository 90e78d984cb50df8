"""What stands around every request? A limit on the body, and headers that keep a browser from anything else."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = 20.0
HEADERS = [
    # The page is files of ours: nothing else may run, load or frame it, whatever a title holds.
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


class Guard:
    """Reads a body before the application sees it: 413 where it is too long, 408 where it does not come.

    A page of somebody else's can make a browser ask this machine under that page's own name (DNS rebinding), and read
    the answer; so a request for another name than those that are served is answered 421.

    Args:
        app: what answers.
        longest: bytes.
        seconds: until the whole body must have come.
        hosts: names that a request may be for, as `host_name` gives them; None for any.
    """

    def __init__(
        self, app: ASGIApp, longest: int, seconds: float = SECONDS, hosts: Collection[str] | None = None
    ) -> None:
        self.app = app
        self.longest = longest
        self.seconds = seconds
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers itself, or hands the body on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *HEADERS]
            await send(message)

        if self.hosts is not None and (host := _host(scope)) and host not in self.hosts:
            await _refuse(guarded, 421, f"host {host[:100]!r} is not served here; --allow-host names others")
            return
        try:
            body = await asyncio.wait_for(self._read(scope, receive), self.seconds)
        except TimeoutError:
            await _refuse(guarded, 408, f"the body did not come within {self.seconds:g} s")
            return
        if body is None:
            await _refuse(guarded, 413, f"expected a body of at most {self.longest} bytes")
            return
        waiting = [body]

        async def replay() -> Message:
            if waiting:
                return {"type": "http.request", "body": waiting.pop(), "more_body": False}
            return await receive()

        await self.app(scope, replay, guarded)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The body; None where it is too long."""
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length[:20]) > self.longest:
            return None
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return b""  # the client has left
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self.longest:
                return None
            if not message.get("more_body", False):
                return b"".join(parts)


def host_name(given: str) -> str:
    """A name as it is compared: without a port, the brackets of an IPv6 address, a last dot, and capitals."""
    name = given[: given.find("]") + 1] if given.startswith("[") else given
    if name.count(":") == 1:  # more are an IPv6 address's own
        name = name.partition(":")[0]
    return name.strip("[]").rstrip(".").lower()


def _host(scope: Scope) -> str:
    """The name that a request is for; "" where it says none, as no browser does."""
    given: str = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    return host_name(given)


async def _refuse(send: Send, status: int, words: str) -> None:
    body = json.dumps({"error": words}).encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
