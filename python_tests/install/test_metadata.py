"""Does what pip reads agree with what is imported?"""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import gnas_ext

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_there_is_one_version() -> None:
    assert gnas_ext.__version__ == PROJECT["version"] == distribution("gnas_ext").version


def test_the_ops_cost_torch_and_numpy_alone() -> None:
    assert [re.split(r"[<>=!~ ]", line)[0] for line in PROJECT["dependencies"]] == ["torch", "numpy"]


def test_the_command_is_installed() -> None:
    (command,) = distribution("gnas_ext").entry_points.select(group="console_scripts")
    assert command.name == "gnas-ext"
    assert callable(command.load())


def test_the_tested_torch_is_one_that_the_package_supports() -> None:
    (pinned,) = re.findall(r"^torch==(\d+)\.(\d+)\.\d+$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    (oldest,) = re.findall(r"^torch>=(\d+)\.(\d+)$", "\n".join(PROJECT["dependencies"]), re.MULTILINE)
    assert tuple(map(int, pinned)) >= tuple(map(int, oldest))


def test_every_licence_that_the_wheel_names_is_there() -> None:
    for name in PROJECT["license-files"]:
        assert (ROOT / name).is_file(), name
