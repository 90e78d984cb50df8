"""What workers promise, on this machine and on a cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from gnas_ext.errors import InputError
from gnas_ext.search import evolve
from python_tests.search import objectives
from python_tests.search.objectives import SPACE, Killed, bowl

if TYPE_CHECKING:
    from pathlib import Path

# Ray takes seconds to start an actor: of its cases those are fast that say most.
anywhere = pytest.mark.parametrize("place", ["processes", pytest.param("ray", marks=pytest.mark.slow)], indirect=True)
anywhere_at_once = pytest.mark.parametrize("place", ["processes", "ray"], indirect=True)


@pytest.fixture
def place(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What names the place of the workers."""
    return {"ray": request.getfixturevalue("ray_address")} if request.param == "ray" else {}


@anywhere_at_once
def test_one_worker_finds_what_no_worker_finds(place: dict[str, Any]) -> None:
    here = evolve(SPACE, bowl, evaluations=60, seed=3)
    there = evolve(SPACE, bowl, evaluations=60, seed=3, workers=1, **place)
    assert there.trials == here.trials
    assert there.stopped == here.stopped


@anywhere
def test_several_workers_share_the_work(place: dict[str, Any], tmp_path: Path) -> None:
    study = evolve(SPACE, objectives.Met(tmp_path, workers=2), evaluations=40, workers=2, **place)
    assert [trial.number for trial in study.trials] == list(range(40))
    assert len({trial.genotype for trial in study.trials}) == 40
    assert len({trial.attributes["pid"] for trial in study.trials} | {os.getpid()}) == 3


@anywhere_at_once
def test_a_killed_worker_is_replaced_and_its_trial_repeated(place: dict[str, Any], tmp_path: Path) -> None:
    study = evolve(SPACE, Killed(tmp_path, times=1, share=0.25), evaluations=6, workers=2, **place)
    assert list(tmp_path.iterdir())
    assert [trial.state for trial in study.trials] == ["complete"] * 6


@anywhere
def test_a_trial_that_kills_its_worker_twice_has_failed(place: dict[str, Any], tmp_path: Path) -> None:
    study = evolve(SPACE, Killed(tmp_path, times=9, share=0.25), evaluations=6, workers=2, **place)
    failed = [trial for trial in study.trials if trial.state == "failed"]
    assert len(failed) == len(list(tmp_path.iterdir())) > 0
    (reason,) = {trial.reason for trial in failed}
    assert reason.endswith(", also when it was tried again")
    assert ("was killed (SIGKILL)" if not place else "its worker died (") in reason
    assert {(tmp_path / str(trial.genotype).replace(" ", "_")).read_text() for trial in failed} == {"xx"}


@anywhere
def test_a_trial_that_hangs_is_ended_at_its_limit(place: dict[str, Any]) -> None:
    recipes = [{"a": 3, "b": 1}, {"a": 4, "b": 1}]
    began = time.monotonic()
    study = evolve(SPACE, objectives.slow, evaluations=2, workers=2, trial_seconds=2, initial=recipes, **place)
    assert time.monotonic() - began < 120
    reasons = {trial.genotype["a"]: trial.reason for trial in study.trials}
    assert reasons == {3: "no result within 2 s: ended", 4: ""}


@anywhere
def test_what_cannot_be_received_is_refused(place: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"cannot be loaded in a worker .*no such data here"):
        evolve(SPACE, objectives.Unloadable(), evaluations=1, workers=1, **place)


@anywhere
def test_workers_that_die_before_they_are_ready_end_the_search(place: dict[str, Any]) -> None:
    message = "workers end before they are ready .*every node of the cluster needs gnas_ext"
    if not place:
        message = (
            "a worker process ended with status 5 before it was ready, 2 times; if a script was run, put .*__main__"
        )
    with pytest.raises(InputError, match=message):
        evolve(SPACE, objectives.Deadly(), evaluations=4, workers=2, **place)


DRIVER = """
import sys
from gnas_ext.search import evolve
from python_tests.search.objectives import SPACE, who
if __name__ == "__main__":
    place = {"ray": sys.argv[2]} if len(sys.argv) > 2 else {}
    study = evolve(SPACE, who, evaluations=400, workers=2, journal=sys.argv[1], **place,
                   on_trial=lambda s, t: print(t.attributes["pid"], flush=True))
    print(study.stopped)
"""


@anywhere
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_a_driver_that_is_ended(place: dict[str, Any], sign: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    arguments = [sys.executable, script, tmp_path / "journal", *place.values()]
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment) as driver:
        assert driver.stdout is not None
        workers = {int(driver.stdout.readline()) for _ in range(20)}
        driver.send_signal(sign)
        last = driver.stdout.read().splitlines()[-1:]
        status = driver.wait()
    assert (last, status) == (["interrupted"], 0) if sign == signal.SIGINT else status == -signal.SIGKILL
    deadline = time.monotonic() + 30
    while (left := {pid for pid in workers if alive(pid)}) and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert workers
    assert not left
    resumed = evolve(SPACE, objectives.who, evaluations=1, journal=tmp_path / "journal", resume=True)
    assert resumed.evaluations >= 20


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
