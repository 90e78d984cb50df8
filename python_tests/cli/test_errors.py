"""Wrong input: exit status 2 and one clear line, never a traceback."""

from __future__ import annotations

import socket
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEADER = "userId,movieId,rating,timestamp\n"
ONE_USER = HEADER + "".join(f"1,{item},4,{1_600_000_000 + item}\n" for item in range(30))
SPARSE = HEADER + "".join(f"{n},{n},4,{1_600_000_000 + n}\n" for n in range(30))


@pytest.mark.parametrize(
    ("content", "arguments", "expected"),
    [
        (None, [], "no such file"),
        ("", [], "empty"),
        (HEADER, [], "ratings.csv"),
        (ONE_USER, ["--k-core", "1"], "one user"),
        (SPARSE, [], "k-core"),
        (SPARSE, ["--user", "who"], "no column 'who'"),
        (SPARSE, ["--min-rating", "9"], "rating"),
        (SPARSE, ["--k-core", "0"], "--k-core 0"),
        (SPARSE, ["--minutes", "0"], "--minutes 0"),
        (SPARSE, ["--train", "x"], "one or the other"),
        (SPARSE, ["--ray", "auto", "--cpus", "0"], "--cpus 0: expected more than 0"),
        (SPARSE, ["--max-size", "2 miles"], "--max-size 2 miles: expected a size above 0 such as 500kB or 2MB"),
        (SPARSE, ["--max-size", "0kB"], "--max-size 0kB: expected"),
        (SPARSE, ["--max-ms", "0"], "--max-ms 0: expected more than 0"),
        (SPARSE, ["--trial-seconds", "0", "--workers", "1"], "--trial-seconds 0: expected more than 0"),
        (SPARSE, ["--trial-seconds", "9"], "--trial-seconds 9: only a worker's trial can be ended; add --workers 1"),
        (SPARSE, ["--cpus", "2"], "--cpus 2: only workers on Ray ask for cores; add --ray"),
    ],
)
def test_a_log_that_cannot_be_used(
    content: str | None,
    arguments: list[str],
    expected: str,
    tmp_path: Path,
    command: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = tmp_path / "ratings.csv"
    if content is not None:
        log.write_text(content, encoding="utf-8")
    assert command("search", log, "--out", tmp_path / "out", "--evaluations", "1", *arguments) == 2
    said = capsys.readouterr()
    assert expected in said.err
    assert len(said.err.splitlines()) == 1
    assert said.err.startswith("gnas-ext: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
def test_a_cluster_that_is_not_there(
    ratings: Path,
    tmp_path: Path,
    command: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Other tests of this process may have left it connected to a cluster of their own.
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # not listened at
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert command("search", ratings, "--out", tmp_path / "out", "--evaluations", "1", "--ray", address) == 2
    said = capsys.readouterr().err
    assert f"no Ray cluster at '{address}'" in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "out" / "journal.log").exists()


def test_an_unknown_user(found: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert command("recommend", found, "nobody") == 2
    said = capsys.readouterr()
    assert "unknown user 'nobody'" in said.err
    assert said.err.endswith("; --unknown popular recommends what is popular\n")
    assert len(said.err.splitlines()) == 1
    assert said.out == ""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["recommend"], "recommend: no user; give users of the log, or --like ITEM"),
        (["recommend", "7", "--like", "0007"], "recommend: both users (7) and --like; give one or the other"),
        (["recommend", "--like", "0007", "--unknown", "popular"], "--unknown popular is for users"),
        (["recommend", "--like", "x"], "unknown item 'x'"),
        (["recommend", "7", "--items", "x"], "unknown item 'x'"),
        (["recommend", "7", "--filter-items", "x"], "unknown item 'x'"),
        (["recommend", "--like", "0007", "-k", "0"], "expected k of 1 or more"),
        (["similar", "x"], "unknown item 'x'"),
        (["similar", "0007", "-k", "0"], "expected k of 1 or more"),
        (["explain", "7", "x"], "unknown item 'x'"),
        (["explain", "nobody", "0007"], "unknown user 'nobody'"),
        (["explain", "7", "0007", "--reasons", "0"], "--reasons 0"),
        (["serve", "--watch", "-1"], "--watch -1"),
        (["serve", "--port", "65536"], "--port 65536"),
    ],
)
def test_a_question_that_cannot_be_answered(
    arguments: list[str],
    expected: str,
    found: Path,
    command: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    if arguments[0] == "serve":
        pytest.importorskip("gnas_ext.serve", reason="needs the extra serve")
    assert command(arguments[0], found, *arguments[1:]) == 2
    said = capsys.readouterr()
    assert expected in said.err
    assert len(said.err.splitlines()) == 1


def test_a_missing_extra_is_named(
    found: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("gnas_ext.serve")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert command("serve", found) == 2
    assert capsys.readouterr().err == "gnas-ext: serve needs fastapi: pip install 'gnas_ext[search,serve]'\n"


def test_a_folder_that_is_no_artefact(
    tmp_path: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("show", tmp_path) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_no_log_at_all(command: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert command("search") == 2
    assert "no log" in capsys.readouterr().err


NAMES = ("search", "recommend", "similar", "explain", "serve", "evaluate", "show", "export", "demo", "info")


@pytest.mark.parametrize("name", [[], *([name] for name in NAMES)])
def test_help_fits_a_screen(
    name: list[str], command: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert command(*name, "--help") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80
