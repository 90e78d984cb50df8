"""Does what is freed go back, and does a reload cost memory for ever?"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from benchmarks import serve_load
from gnas_ext.models import FactorModel, Table

if TYPE_CHECKING:
    from gnas_ext.serve import Current

needs_proc = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's smaps_rollup")

USERS, ITEMS, WIDTH, TOUCHES = 12_000, 16_000, 128, 20
MB = 4 * (USERS + ITEMS) * WIDTH / 1e6  # of both tables: 14.3
EARLY, LATE, AROUND = 20, 60, 5
RELOADS = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import torch
from fastapi.testclient import TestClient
from gnas_ext.serve import Current, make_app
from gnas_ext.serve.memory import keep_large_apart

folder, reloads, leaked = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(1)
keep_large_apart()
current = Current(folder, rehearsed=False)
held, kept = [], []
with TestClient(make_app(current, watch_s=0)) as client, ThreadPoolExecutor(1) as reloading:
    for reload in range(reloads):
        assert reloading.submit(current.refresh, True).result()
        for _ in range(3):
            assert client.post("/recommend", json={"users": list(range(64)), "k": 20}).status_code == 200
        kept.append(bytearray(b"x") * leaked)
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
        held += [int(line.split()[1]) / 1e3 for line in lines if line.startswith("Anonymous:")]
print(json.dumps(held))
"""
FREED = """
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np
from gnas_ext.serve.memory import give_back, keep_large_apart

def held():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Anonymous:")) / 1e3

def tables():
    for _ in range(4):
        [np.ones(rows << 20, np.uint8) for rows in (6, 12, 24, 30)]

keep_large_apart()
with ThreadPoolExecutor(1) as thread:
    thread.submit(int).result()
    give_back()
    before = held()
    thread.submit(tables).result()
    thread.submit(give_back).result()
    print(json.dumps(held() - before))
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artefact whose tables are most of what it is."""
    generator = torch.Generator().manual_seed(0)
    user, item = (Table(torch.randn(rows, WIDTH, generator=generator)) for rows in (USERS, ITEMS))
    touched = np.tile(np.arange(TOUCHES), (USERS, 1))
    return serve_load.saved(tmp_path_factory.mktemp("large") / "artefact", FactorModel(user, item), touched)


def ran(program: str, *arguments: object) -> object:
    """What a process of its own printed."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: object = json.loads(done.stdout)
    return found


def grown(large: Path, leaked: int) -> float:
    """MB from about the 20th to about the 60th reload, of medians: a single look may come upon a block not yet freed.

    Args:
        large: an artefact.
        leaked: bytes that are kept a reload.
    """
    held = ran(RELOADS, large, LATE, leaked)
    assert isinstance(held, list)
    assert len(held) == LATE
    early, late = (float(np.median(held[end - AROUND : end])) for end in (EARLY, LATE))
    return late - early


@needs_proc
@pytest.mark.slow
def test_the_sixtieth_reload_holds_what_the_twentieth_did(large: Path) -> None:
    """A tenth of the tables a reload would be 57 MB."""
    assert grown(large, 0) < 0.5 * MB


@needs_proc
@pytest.mark.slow
def test_a_tenth_of_the_tables_a_reload_would_be_seen(large: Path) -> None:
    assert grown(large, int(0.1e6 * MB)) > 2 * MB


@needs_proc
def test_what_a_thread_has_freed_goes_back() -> None:
    """Without `keep_large_apart` tens of megabytes stay, on top of the thread's heap."""
    held = ran(FREED)
    assert isinstance(held, float)
    assert held < 8


def test_a_reload_waits_for_those_who_ask_the_old_one(current: Current, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they hold would be freed when nobody gives it back any more."""
    kept = [current.now]
    old = weakref.ref(kept[0])
    gone = []
    monkeypatch.setattr("gnas_ext.serve.current.give_back", lambda: gone.append(old() is None))
    threading.Timer(0.1, kept.clear).start()
    assert current.refresh(force=True)
    assert gone == [True]


def test_a_reload_that_failed_gives_back_too(current: Current, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    monkeypatch.setattr("gnas_ext.serve.current.give_back", lambda: given.append(current.error))
    (folder / "model.safetensors").write_bytes(b"")
    assert not current.refresh()
    assert len(given) == 1
    assert given[0] is not None
