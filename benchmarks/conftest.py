"""What is to be measured, and what stands in the JSON beside pytest-benchmark's own figures."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import torch

from benchmarks import data, suite

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gnas_ext")
    group.addoption("--graphs", default="gowalla,power-law", help=f"which graphs, of {', '.join(data.NAMES)}")
    group.addoption("--sizes", default="", help="which widths (or what else an op is measured at): 64,128")
    group.addoption("--device", default="cpu", help="cpu or cuda")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The turns of all families of a module, in the order in which they are to run."""
    options = metafunc.config
    graphs = options.getoption("graphs").split(",")
    sizes = {int(size) for size in options.getoption("sizes").split(",") if size}
    families = [
        family._replace(sizes=tuple(size for size in family.sizes if not sizes or size in sizes))
        for family in metafunc.module.FAMILIES
    ]
    huge_pages = suite.pages() == "huge"
    turns = list(suite.turns(families, graphs, options.getoption("device"), huge_pages))
    metafunc.parametrize("turn", turns, ids=str)


@pytest.fixture(autouse=True, scope="session")
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("GNAS_BENCH_THREADS", "2")))
    yield
    torch.set_num_threads(before)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """One that was stopped before its first round has no figures, and would keep all others from being saved."""
    measured = getattr(session.config, "_benchmarksession", None)
    if measured is not None:
        measured.benchmarks = [one for one in measured.benchmarks if one.stats.data]


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """The machine's name is nobody's business."""
    machine_info.pop("node", None)


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: Any, output_json: dict[str, Any]) -> None:
    """A point with what could not be timed at it, instead of an entry a turn."""
    output_json["points"] = suite.points(benchmarks)
    output_json["benchmarks"] = []
