"""Is a request read to its end, and no further?"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from gnas_ext.serve.guard import Guard

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the body that it was given."""
    message = await receive()
    assert not message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message["body"]})


def ask(
    parts: list[bytes],
    length: bytes | None = None,
    stalls: bool = False,
    host: bytes | None = None,
    hosts: set[str] | None = None,
) -> tuple[int, bytes, dict[bytes, bytes]]:
    """Status, body and headers of the answer to a body that comes in parts."""
    sent: list[Message] = []
    coming = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    if coming and not stalls:
        coming[-1]["more_body"] = False

    async def receive() -> Message:
        if not coming:
            await asyncio.sleep(60)
        return coming.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [] if length is None else [(b"content-length", length)]
    headers += [] if host is None else [(b"host", host)]
    scope: dict[str, Any] = {"type": "http", "headers": headers}
    asyncio.run(Guard(echo, longest=10, seconds=0.05, hosts=hosts)(scope, receive, send))
    return sent[0]["status"], sent[1]["body"], dict(sent[0]["headers"])


def test_a_body_is_handed_on_whole() -> None:
    status, body, headers = ask([b"01234", b"", b"56789"], b"10")
    assert (status, body) == (200, b"0123456789")
    assert headers[b"x-content-type-options"] == b"nosniff"


@pytest.mark.parametrize("length", [b"11", b"-1", b"x", b"9" * 5000])
def test_a_length_that_is_too_long_or_none_is_refused_before_the_body(length: bytes) -> None:
    status, body, _ = ask([], length)
    assert (status, json.loads(body)) == (413, {"error": "expected a body of at most 10 bytes"})


def test_a_body_that_says_nothing_of_its_length_is_counted() -> None:
    assert ask([b"01234", b"567890"])[0] == 413


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    status, body, _ = ask([b"0"], b"10", stalls=True)
    assert (status, json.loads(body)) == (408, {"error": "the body did not come within 0.05 s"})


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (None, 200),
        (b"localhost", 200),
        (b"LocalHost:8000", 200),
        (b"[::1]:8000", 200),
        (b"[::1]", 200),
        (b"localhost.", 200),
        (b"evil.example", 421),
        (b"evil.example:8000", 421),
        (b"localhost.evil.example", 421),
        (b"[::2]:8000", 421),
        (b"\xff\xfe", 421),
    ],
)
def test_only_names_that_are_served_are_answered(host: bytes | None, status: int) -> None:
    assert ask([b"0"], host=host, hosts={"localhost", "::1"})[0] == status
    assert ask([b"0"], host=host)[0] == 200
