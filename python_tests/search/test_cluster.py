from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from gnas_ext.errors import InputError
from gnas_ext.search import Cluster, Outcome, evolve
from python_tests.search import objectives
from python_tests.search.objectives import SPACE, Killed, bowl

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_120_of_120_trials_complete_where_workers_are_killed_at_random(ray_address: str, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    deaths = tmp_path / "deaths"
    deaths.mkdir()
    killed = Killed(deaths, times=1, share=0.1)
    study = evolve(SPACE, killed, evaluations=120, workers=2, ray=ray_address, journal=journal)
    assert len(list(deaths.iterdir())) >= 5
    assert [trial.state for trial in study.trials] == ["complete"] * 120
    assert len({trial.genotype for trial in study.trials}) == 120
    assert evolve(SPACE, killed, evaluations=120, journal=journal, resume=True).trials == study.trials


@pytest.mark.slow
def test_workers_have_the_cores_they_ask_for_and_fill_the_cluster(ray_address: str) -> None:
    study = evolve(SPACE, objectives.who, evaluations=8, ray=Cluster(ray_address, cpus=2))
    assert len({trial.attributes["pid"] for trial in study.trials}) == 1
    assert {trial.attributes["threads"] for trial in study.trials} == {"2"}


@pytest.mark.slow
def test_more_workers_than_the_cluster_holds_do_no_harm(ray_address: str) -> None:
    study = evolve(SPACE, bowl, evaluations=20, workers=4, ray=ray_address)
    assert [trial.state for trial in study.trials] == ["complete"] * 20


CONNECTING = """
import signal, sys, ray
from gnas_ext.search import evolve
from python_tests.search.objectives import SPACE
study = evolve(SPACE, lambda genotype: genotype["a"], evaluations=3, workers=1, ray=sys.argv[1])
print(study.evaluations, ray.is_initialized(), signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
"""


@pytest.mark.slow
def test_a_driver_connects_says_nothing_and_leaves_no_trace(ray_address: str) -> None:
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    command = [sys.executable, "-c", CONNECTING, ray_address]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=200)
    assert (done.stdout, done.stderr) == ("3 False True\n", "")


def test_a_ray_that_was_there_before_is_left_running(ray_address: str) -> None:
    import ray

    with pytest.raises(InputError, match=r"evaluate cannot be sent to the cluster .*cannot pickle '_thread.lock'"):
        evolve(SPACE, Locked(), evaluations=1, ray="auto")
    assert ray.is_initialized()
    assert ray.get_runtime_context().gcs_address == ray_address


class Locked:
    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __call__(self, genotype: object) -> Outcome:
        raise AssertionError


def test_what_no_node_has_is_refused(ray_address: str) -> None:
    with pytest.raises(InputError, match=r"no node of the Ray cluster has 3 CPU and 1 GPU .*: they have 2 CPU, 0 GPU"):
        evolve(SPACE, bowl, evaluations=1, ray=Cluster(ray_address, cpus=3, gpus=1))


def test_another_cluster_than_the_one_connected_to_is_refused(ray_address: str) -> None:
    with pytest.raises(
        InputError, match=f"ray='127.0.0.1:1': this process is connected to the cluster at {ray_address}"
    ):
        evolve(SPACE, bowl, evaluations=1, ray="127.0.0.1:1")


def test_a_cluster_without_cores_is_refused() -> None:
    with pytest.raises(ValueError, match="expected cpus > 0 and gpus >= 0, got 0 and 0"):
        Cluster(cpus=0)


ELSEWHERE = """
import json, sys
from gnas_ext.errors import InputError
from gnas_ext.search import evolve
from python_tests.search.objectives import SPACE, bowl
if sys.argv[1] == "missing":
    sys.modules["ray"] = None
for address in sys.argv[2:]:
    try:
        evolve(SPACE, bowl, evaluations=1, ray=address)
    except InputError as error:
        print(json.dumps(str(error)))
"""


def refusals(*arguments: str) -> list[str]:
    """What evolve says to addresses, in a process that is connected to no Ray."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment["PYTHONPATH"] = os.getcwd()
    command = [sys.executable, "-c", ELSEWHERE, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_without_ray_one_is_told_how_to_install_it() -> None:
    assert refusals("missing", "auto") == ["ray= needs Ray: pip install 'gnas_ext[ray]'"]


def test_an_address_without_a_cluster_is_refused_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # not listened at
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        messages = refusals("there", address, "nonsense")
    assert messages == [
        f"no Ray cluster at {shown!r} that this machine is a node of ({why}); start one with `ray start --head`, "
        "or give the HOST:PORT of its head"
        for shown, why in (
            (address, "ConnectionRefusedError: [Errno 111] Connection refused"),
            ("nonsense", "ValueError: Invalid address format: nonsense"),
        )
    ]
