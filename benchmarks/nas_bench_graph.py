"""26,206 graph networks of four nodes, measured on nine logs: NAS-Bench-Graph (Qin et al., 2022) as a search space.

The package (PyPI `nas-bench-graph`, Apache-2.0) holds pickles; here nothing of them is loaded but numbers.
"""

from __future__ import annotations

import importlib.resources
import pickle
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from gnas_ext.search import Cell, SearchSpace

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES = ("cora", "citeseer", "pubmed", "cs", "physics", "photo", "computers", "arxiv", "proteins")
OPERATIONS = ("gat", "gcn", "gin", "cheb", "sage", "arma", "graph", "fc", "skip")
# On proteins, the largest, its authors left out what did not fit the memory.
FEWER = ("gcn", "sage", "arma", "fc", "skip")


class Measured(NamedTuple):
    """An architecture on a log: accuracy on validation, in percent, and the seconds of a pass."""

    valid: float
    latency: float


class _Numbers(pickle.Unpickler):
    """Loads dicts of numbers; whatever else a file asks for is refused."""

    def find_class(self, module: str, name: str) -> Any:
        import numpy as np

        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "scalar":
            return np._core.multiarray.scalar  # type: ignore[attr-defined]
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        raise pickle.UnpicklingError(f"{module}.{name}: a table of numbers needs no such thing")


def space(name: str) -> SearchSpace:
    """Four nodes, each with one parent; a skip connection changes nothing, and alone it is no network."""
    operations = FEWER if name == "proteins" else OPERATIONS
    cell = Cell(4, operations, identity="skip", input_is_output=False)
    return SearchSpace({"net": cell}, valid=lambda g: any(g[f"net.{node}.op"] != "skip" for node in range(1, 5)))


@cache
def table(name: str) -> dict[int, Measured]:
    """Everything measured on a log, by the benchmark's own number of an architecture."""
    file = importlib.resources.files("nas_bench_graph") / "light" / f"{name}.bench"
    with file.open("rb") as handle:
        rows = _Numbers(handle).load()
    return {number: Measured(100 * float(row["valid_perf"]), float(row["latency"])) for number, row in rows.items()}


def number(genotype: Mapping[str, Any]) -> int:
    """The benchmark's number of an architecture, whatever the order of its nodes."""
    from nas_bench_graph.architecture import Arch

    links = [0, *(genotype[f"net.{node}.from"] for node in (2, 3, 4))]
    found: int = Arch(links, [genotype[f"net.{node}.op"] for node in (1, 2, 3, 4)]).valid_hash()
    return found
