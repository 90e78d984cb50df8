from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from gnas_ext.errors import InputError
from gnas_ext.search import evolve
from python_tests.search import objectives
from python_tests.search.objectives import SPACE, Killed, bowl

if TYPE_CHECKING:
    from pathlib import Path


def test_one_worker_finds_what_no_worker_finds() -> None:
    here = evolve(SPACE, bowl, evaluations=60, seed=3)
    there = evolve(SPACE, bowl, evaluations=60, seed=3, workers=1)
    assert there.trials == here.trials
    assert there.stopped == here.stopped


def test_several_workers_share_the_work_and_the_cores() -> None:
    study = evolve(SPACE, objectives.who, evaluations=40, workers=2)
    assert [trial.number for trial in study.trials] == list(range(40))
    assert len({trial.genotype for trial in study.trials}) == 40
    assert len({trial.attributes["pid"] for trial in study.trials} | {os.getpid()}) == 3
    threads = str(max(1, len(os.sched_getaffinity(0)) // 2))
    assert {trial.attributes["threads"] for trial in study.trials} == {threads}


def test_a_killed_worker_is_replaced_and_its_trial_repeated(tmp_path: Path) -> None:
    study = evolve(SPACE, Killed(tmp_path, times=1, share=0.3), evaluations=12, workers=2)
    assert len(list(tmp_path.iterdir())) > 1
    assert [trial.state for trial in study.trials] == ["complete"] * 12


def test_a_trial_that_kills_its_worker_twice_has_failed(tmp_path: Path) -> None:
    study = evolve(SPACE, Killed(tmp_path, times=9, share=0.3), evaluations=12, workers=2)
    failed = [trial for trial in study.trials if trial.state == "failed"]
    assert len(failed) == len(list(tmp_path.iterdir())) > 1
    assert {trial.reason for trial in failed} == {
        "its worker process was killed (SIGKILL), also when it was tried again"
    }
    assert {(tmp_path / str(trial.genotype).replace(" ", "_")).read_text() for trial in failed} == {"xx"}


def test_a_worker_that_ends_itself_is_a_failure_with_its_status() -> None:
    study = evolve(SPACE, objectives.leaves, evaluations=1, workers=1)
    assert all("ended with status 3" in trial.reason for trial in study.trials)


def test_a_trial_that_hangs_is_ended_at_its_limit() -> None:
    recipes = [{"a": 3, "b": 1}, {"a": 4, "b": 1}]
    began = time.monotonic()
    study = evolve(SPACE, objectives.slow, evaluations=2, workers=2, trial_seconds=2, initial=recipes)
    assert time.monotonic() - began < 60
    reasons = {trial.genotype["a"]: trial.reason for trial in study.trials}
    assert reasons == {3: "no result within 2 s: ended", 4: ""}


def test_what_cannot_be_sent_or_received_is_refused() -> None:
    with pytest.raises(InputError, match=r"evaluate cannot be sent to worker processes .*leave out workers="):
        evolve(SPACE, lambda g: 1.0, evaluations=1, workers=1)
    with pytest.raises(InputError, match="cannot be loaded in a worker process: RuntimeError: no such data here"):
        evolve(SPACE, objectives.Unloadable(), evaluations=1, workers=1)


@pytest.mark.parametrize(
    ("workers", "seconds", "message"),
    [(-1, math.inf, "workers >= 0"), (1, 0.0, "trial_seconds > 0"), (0, 5.0, "trial_seconds needs workers=1")],
)
def test_arguments_out_of_range_are_refused(workers: int, seconds: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evolve(SPACE, bowl, evaluations=1, workers=workers, trial_seconds=seconds)


DRIVER = """
from gnas_ext.search import evolve
from python_tests.search.objectives import SPACE, who
if __name__ == "__main__":
    evolve(SPACE, who, evaluations=400, workers=2, on_trial=lambda s, t: print(t.attributes["pid"], flush=True))
"""


def test_workers_end_with_a_driver_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment) as driver:
        assert driver.stdout is not None
        workers = {int(driver.stdout.readline()) for _ in range(20)}
        driver.kill()
    deadline = time.monotonic() + 30
    while (left := {pid for pid in workers if alive(pid)}) and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert workers
    assert not left


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
