from __future__ import annotations

import logging
import shutil
import tempfile
from typing import TYPE_CHECKING

import pytest

from gnas_ext.search import Categorical, Float, Integer, LogFloat, SearchSpace

if TYPE_CHECKING:
    from collections.abc import Iterator

SPACES = {
    "plain": SearchSpace(
        {"hops": Integer(1, 4), "agg": Categorical(["sum", "mean", "max"]), "lr": LogFloat(1e-4, 1e-1)}
    ),
    "conditional": SearchSpace(
        {
            "family": Categorical(["graph", "factors", "popularity"]),
            "hops": Integer(1, 3, when={"family": ["graph"]}),
            "prior": Categorical([True, False]),
            "decay": Categorical(["none", "exp"], when={"prior": [True]}),
            "days": LogFloat(1, 100, levels=3, when={"prior": [True], "decay": ["exp"]}),
            "dim": Categorical([8, 16], ordered=True, when={"family": ["graph", "factors"]}),
        }
    ),
    "constrained": SearchSpace(
        {"a": Integer(0, 9), "b": Float(0, 1, levels=5), "c": Integer(0, 9)}, valid=lambda g: g["a"] == g["c"]
    ),
    "single": SearchSpace({"only": Categorical(["one"])}),
}


@pytest.fixture(scope="session", params=SPACES)
def space(request: pytest.FixtureRequest) -> SearchSpace:
    """Spaces of every kind: plain, conditional (two deep), constrained, and of one genotype."""
    return SPACES[request.param]


@pytest.fixture(scope="session")
def ray_address() -> Iterator[str]:
    """A Ray of two cores, started by these tests as a user would before a search; it ends with this process."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'gnas_ext[ray]'")
    # Not below pytest's folder: the path of a socket is short.
    folder = tempfile.mkdtemp(prefix="gnas-ray-")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Ray's workers are nice to others by default, and starve beside a busy test suite.
        patch.setenv("RAY_worker_niceness", "0")
        ray.init(
            "local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=80_000_000,
            _temp_dir=folder,
        )
        yield ray.get_runtime_context().gcs_address
        ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)
