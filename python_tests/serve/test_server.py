"""The process: where it listens, how it ends, and what a reload costs those who ask at that moment."""

from __future__ import annotations

import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from gnas_ext.errors import InputError
from gnas_ext.serve import serve
from gnas_ext.serve.server import _listen, _served
from python_tests.recommend.conftest import make_sample
from python_tests.serve.running import as_a_process, ask, connect, in_a_thread, wait_for, watching

if TYPE_CHECKING:
    from pathlib import Path

HEAD = b"POST /recommend HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 17\r\n\r\n"


def test_a_process_reloads_when_it_is_told_to_and_ends_when_all_is_answered(folder: Path) -> None:
    """One process for both signals, for starting one takes seconds."""
    with as_a_process(folder, "--watch", "0", "--allow-host", "X") as (url, process):
        before = wait_for(url, "reloads", 0)["artefact"]
        make_sample("float32").save(folder, overwrite=True)
        process.send_signal(signal.SIGHUP)
        assert wait_for(url, "reloads", 1)["artefact"] != before

        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as talk:
            # The head of a question has come when the server is told to stop; its body comes afterwards.
            talk.sendall(HEAD)
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            talk.sendall(b'{"users": ["03"]}')
            assert talk.recv(1 << 16).startswith(b"HTTP/1.1 200 OK")
        said, complained = process.communicate(timeout=60)
        assert (process.returncode, said) == (0, "")
        assert complained.startswith("reloaded: ")
        assert len(complained.splitlines()) == 1


@pytest.mark.parametrize(
    ("host", "given", "served"),
    [
        ("127.0.0.1", (), {"localhost", "127.0.0.1", "::1"}),
        ("localhost", ("Films.example",), {"localhost", "127.0.0.1", "::1", "films.example"}),
        ("0.0.0.0", (), None),
        ("0.0.0.0", ("films.example:8000", "[fe80::1]:80", "FE80::2"), {"films.example", "fe80::1", "fe80::2"}),
    ],
)
def test_an_address_of_this_machine_has_names_of_its_own(
    host: str, given: tuple[str, ...], served: set[str] | None
) -> None:
    with _listen(host, 0) as listening:
        assert _served(listening, host, given) == served


def test_reloads_drop_nothing(folder: Path) -> None:
    """Four ask without a pause while the artefact is replaced again and again."""
    wrong: list[object] = []
    asked = [0] * 4
    stop = threading.Event()

    def keep_asking(place: int) -> None:
        connection = connect(url)
        while not stop.is_set():
            status, found = ask(connection, "/recommend", {"users": ["03"], "k": 5})
            asked[place] += 1
            if status != 200 or len(found["lists"][0]["items"]) != 5:
                wrong.append((status, found))

    with in_a_thread(watching(folder)) as url:
        threads = [threading.Thread(target=keep_asking, args=(place,)) for place in range(4)]
        for thread in threads:
            thread.start()
        for count in range(1, 5):
            make_sample("float32" if count % 2 else "int8").save(folder, overwrite=True)
            assert wait_for(url, "reloads", count)["reload_error"] is None
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert min(asked) > 0


def test_an_address_that_is_taken_is_named(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"127.0.0.1:{port}: cannot be listened on: .*name another --host or"):
            serve(folder, port=port)


def test_short_answers_do_not_wait_for_acknowledgements() -> None:
    """asyncio sets TCP_NODELAY on connections of a socket that says it is TCP, and on no others."""
    with _listen("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP


def test_a_port_that_is_none_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match="--port 70000: expected 0 … 65535"):
        serve(folder, port=70000)
