from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

import gnas_ext
from python_tests import graphs
from python_tests.emulated import EMULATED

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

_CUDA = ["cuda"] if torch.cuda.is_available() and gnas_ext.build_info()["cuda_loaded"] == "yes" else []


@pytest.fixture(params=["emulated"] if EMULATED else [*gnas_ext.simd_levels(), *_CUDA])
def backend(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """Where the op runs: the CPU with each instruction set that this machine offers, and CUDA where there is one."""
    if request.param in ("cuda", "emulated"):
        yield torch.device("cuda" if request.param == "cuda" else "cpu")
        return
    before = gnas_ext.simd_level()
    gnas_ext.set_simd_level(request.param)
    yield torch.device("cpu")
    gnas_ext.set_simd_level(before)


def pytest_runtest_setup() -> None:
    """What a test draws does not hang on the tests that its process ran before."""
    torch.manual_seed(0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """After a kernel that failed CUDA answers every call with an error: one of several processes starts anew."""
    report = yield
    if report.failed and _CUDA and "PYTEST_XDIST_WORKER" in os.environ:
        try:
            torch.cuda.synchronize()
        except RuntimeError:
            sys.stderr.write(f"{item.nodeid}\n{report.longreprtext}\n")
            sys.stderr.flush()
            os._exit(1)
    return report


@pytest.fixture(params=graphs.SMALL)
def graph(request: pytest.FixtureRequest) -> gnas_ext.CSR:
    """Each small graph, or those named with `parametrize("graph", [...], indirect=True)`."""
    return graphs.make(request.param)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets how many threads torch has; afterwards there are as many as before."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def shared() -> Path:
    """The folder of published data beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is missing: the published data is not kept in the repository")
    return SHARED
