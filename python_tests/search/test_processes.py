from __future__ import annotations

import math
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from gnas_ext.errors import InputError
from gnas_ext.search import evolve
from python_tests.search import objectives
from python_tests.search.objectives import SPACE, bowl

if TYPE_CHECKING:
    from pathlib import Path


def test_workers_share_the_cores() -> None:
    study = evolve(SPACE, objectives.who, evaluations=4, workers=2)
    threads = str(max(1, len(os.sched_getaffinity(0)) // 2))
    assert {trial.attributes["threads"] for trial in study.trials} == {threads}


def test_a_worker_that_ends_itself_is_a_failure_with_its_status() -> None:
    study = evolve(SPACE, objectives.leaves, evaluations=1, workers=1)
    assert all("ended with status 3" in trial.reason for trial in study.trials)


def test_what_cannot_be_sent_is_refused() -> None:
    with pytest.raises(InputError, match=r"evaluate cannot be sent to worker processes .*leave out workers="):
        evolve(SPACE, lambda g: 1.0, evaluations=1, workers=1)


@pytest.mark.parametrize(
    ("workers", "seconds", "message"),
    [(-1, math.inf, "workers >= 0"), (1, 0.0, "trial_seconds > 0"), (0, 5.0, "trial_seconds needs workers=1")],
)
def test_arguments_out_of_range_are_refused(workers: int, seconds: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evolve(SPACE, bowl, evaluations=1, workers=workers, trial_seconds=seconds)


UNGUARDED = """
import sys
from gnas_ext.errors import InputError
from gnas_ext.search import evolve
from python_tests.search.objectives import SPACE, bowl
try:
    evolve(SPACE, bowl, evaluations=4, workers=2, journal=sys.argv[1])
except InputError as error:
    print(error)
"""


def test_a_script_without_a_guard_is_told_so_in_one_line(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    command = [sys.executable, str(script), str(tmp_path / "journal")]
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    wanted = 'each worker process runs the script again; put what it does under `if __name__ == "__main__":`\n'
    assert (done.stdout, done.stderr) == (wanted, "")
