"""Is what `make bench-search` measures what it says?"""

from __future__ import annotations

import io
import os
import pickle

import numpy as np
import pytest

from benchmarks import nas_bench_graph as nbg
from benchmarks import search


class Command:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("true",)


def test_a_table_that_would_run_something_is_refused() -> None:
    with pytest.raises(pickle.UnpicklingError, match="system: a table of numbers needs no such thing"):
        nbg._Numbers(io.BytesIO(pickle.dumps({1: Command()}))).load()
    row = {1: {"valid_perf": 0.5, "para": np.float64(2.0)}}
    assert nbg._Numbers(io.BytesIO(pickle.dumps(row, protocol=4))).load() == row


def test_every_architecture_of_the_space_is_in_the_table_once() -> None:
    pytest.importorskip("nas_bench_graph", reason="nas-bench-graph is not installed: make install-bench")
    space = nbg.space("proteins")
    numbers = [nbg.number(space.decode(tokens)) for tokens in space.sequences() if space.allows(tokens)]
    assert sorted(numbers) == sorted(nbg.table("proteins"))


@pytest.mark.parametrize("method", ["ours", "ours without predictor", "random", "Optuna TPE"])
@pytest.mark.parametrize("goal", ["regret", "hypervolume"])
def test_a_search_of_the_benchmark_gets_better(goal: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nas_bench_graph", reason="nas-bench-graph is not installed: make install-bench")
    monkeypatch.setattr(search, "MARKS", {"regret": (10, 40), "hypervolume": (10, 40)})
    _, figures, _ = search.run(search.Job(goal, method, "proteins", 1))
    assert figures == sorted(figures, reverse=goal == "regret")
    assert all(figure >= 0 for figure in figures)


def test_the_written_table_means_over_tables_and_seeds() -> None:
    found = {f"regret/ours/{table}/{seed}": [1.0 + seed, 0.5, 0.25, 0.0, 4.0] for table in "ab" for seed in (0, 1)}
    text = search.written_table(found, "2026-01-02")
    assert "| ours | 1.500 ± 0.500 | 0.500 ± 0.000 | 0.250 ± 0.000 | 0.000 ± 0.000 | 10.0 | 2 x 2 |" in text


def test_regret_is_told_by_table_over_the_seeds_that_all_have() -> None:
    table = nbg.NAMES[0]
    found = {f"regret/ours/{table}/{seed}": [0.0, 0.0, 1.0 + seed, 0.0, 1.0] for seed in (0, 1)}
    assert "first" not in search.written_table(found, "2026-01-02")
    found |= {f"regret/ours with decoder/{table}/0": [0.0, 0.0, 3.0, 0.0, 1.0]}
    lines = search.written_table(found, "2026-01-02").splitlines()
    assert lines[-4:] == [
        f"| regret after 200, the first 1 seeds | {table} |",
        "|---|---|",
        "| ours | 1.000 |",
        "| ours with decoder | 3.000 |",
    ]
