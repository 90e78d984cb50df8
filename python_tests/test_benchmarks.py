"""Do the benchmarks compare like with like, and does the table say what was measured?"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import ceiling, data, families, rivals, sources, suite, table

ROOT = Path(__file__).parents[1]
POINTS = [
    pytest.param(family, size, id=f"{family.name}-{size}")
    for family in families.FAMILIES
    if suite.OURS in family.implementations
    for size in family.sizes[:1]
]


def _plain(name: str) -> object:
    """A kernel of numba's as plain Python, which it is already where another test switched numba off."""
    kernel = getattr(rivals.peer("benchmarks.kernels"), name)
    return getattr(kernel, "py_func", kernel)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("family", "size"), POINTS)
def test_every_implementation_computes_the_same(
    family: suite.Family, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is run once on a small graph; one that is not installed, or that cannot, says why."""
    # numba's kernels as plain Python: compiling them takes longer.
    monkeypatch.setattr(rivals, "compiled", _plain)
    found = suite.prepare(suite.Point(family, "thousand-nodes", "cpu", size))
    assert not found.wrong
    assert suite.OURS in found.ready
    for name, reason in found.unable.items():
        assert reason.startswith(("not installed", "NotImplementedError", "rows of", "needs", "RuntimeError")), name


def test_one_that_is_wrong_is_found() -> None:
    def twice(setting: suite.Setting) -> suite.Run:
        return lambda: 2 * setting.x

    family = suite.Family("copy", None, {suite.OURS: lambda s: lambda: s.x, "twice": twice})
    found = suite.prepare(suite.Point(family, "ten-nodes", "cpu", 16))
    assert found.wrong["twice"].startswith("not our numbers")
    assert "twice" not in found.ready


def test_one_that_a_saving_is_measured_against_has_other_numbers() -> None:
    family = suite.Family("copy", None, {suite.OURS: lambda s: lambda: s.x, "twice": lambda s: lambda: 2 * s.x})
    assert "twice" in suite.prepare(suite.Point(family, "ten-nodes", "cpu", 16)).wrong
    family = family._replace(same_numbers=False)
    assert "twice" in suite.prepare(suite.Point(family, "ten-nodes", "cpu", 16)).ready


def test_the_slow_are_left_out_of_the_large_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "LARGE_EDGES", 0)
    seconds = {suite.OURS: 1.0, "best": 2.0, "close": 5.0, "slow": 7.0}
    found = suite.Prepared(None, {n: suite.Ready(lambda: None, s) for n, s in seconds.items()}, {}, {})  # type: ignore[arg-type]
    monkeypatch.setattr(suite, "hopeless", set())
    found.ready["hopeless"] = suite.Ready(lambda: None, 20.0)
    suite.leave_out_the_slow(suite.Point(suite.Family("f", None, {}), "g", "cpu", 16), found)
    assert set(found.ready) == {suite.OURS, "best", "close"}
    assert found.unable["slow"] == "its first call took 7.00 s, over 3× the best rival's"
    assert suite.hopeless == {("f", "g", "hopeless")}


def test_turns_go_round_all_implementations() -> None:
    family = suite.Family("copy", None, dict.fromkeys((suite.OURS, "other"), lambda s: lambda: s.x), (16, 64))
    order = [(t.point.size, t.number, t.implementation) for t in suite.turns([family], ["g"], "cpu", False)]
    assert order[:4] == [(16, 0, suite.OURS), (16, 0, "other"), (16, 1, suite.OURS), (16, 1, "other")]
    assert len(order) == 2 * suite.TURNS * 2
    assert list(suite.turns([family], ["g"], "cpu", True)) == []


def test_on_cuda_a_family_waits_for_its_graphs() -> None:
    family = suite.Family("copy", None, {}, graphs=("power-law",), cuda_graphs=("power-law-10m",))
    assert suite.graphs_of(family, ["gowalla"], "cpu") == ["power-law"]
    assert suite.graphs_of(family, ["gowalla"], "cuda") == []
    assert suite.graphs_of(family, ["gowalla", "power-law-10m"], "cuda") == ["power-law-10m"]
    family = suite.Family("copy", None, {}, graphs=("ten-nodes",))
    assert suite.graphs_of(family, ["gowalla"], "cuda") == ["ten-nodes"]
    family = suite.Family("copy", None, {})
    assert suite.graphs_of(family, ["gowalla"], "cuda") == suite.graphs_of(family, ["gowalla"], "cpu") == ["gowalla"]


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_the_ceiling_reads_every_row() -> None:
    table_, index = torch.randint(0, 9, (50, 16)), torch.randint(0, 50, (700,), dtype=torch.int32)
    expected = 0
    for value in table_[index.long()].flatten().tolist():
        expected ^= value
    got = ceiling.library().gather_rows(table_.data_ptr(), 128, index.data_ptr(), len(index), 2)
    assert got & 0xFFFFFFFF == expected
    target = torch.empty_like(table_)
    ceiling.library().copy_all(target.data_ptr(), table_.data_ptr(), table_.numel() * 8, 2)
    assert torch.equal(target, table_)


def test_a_power_law_graph_is_symmetric_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(data.POWER_LAW, "power-law", data.Size(500, 4000))
    csr = data.load("power-law").csr
    assert (csr.rows, csr.nnz) == (500, 4000)
    assert torch.equal(csr.row_index(), csr.t().row_index())
    entries = csr.row_index().long() * 500 + csr.indices
    assert len(torch.unique(entries)) == 4000
    assert not (csr.row_index() == csr.indices).any()
    assert int(csr.degree().max()) > 5 * 4000 // 500
    (kept,) = (tmp_path / "gnas_ext").iterdir()
    before = kept.stat().st_mtime_ns
    again = data.load("power-law").csr
    assert torch.equal(again.indices, csr.indices)
    assert kept.stat().st_mtime_ns == before


def test_a_published_split_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "train.txt").write_text("0 2 1\n1\n2 0\n")
    monkeypatch.setenv("GNAS_BENCH_DATA", str(folder))
    name, csr = data.load("gowalla")
    assert (name, csr.shape, csr.nnz) == ("tiny", (6, 6), 6)
    assert csr.weight is not None
    assert torch.equal(csr.row_index(), csr.t().row_index())
    torch.testing.assert_close(csr.weight[:2], torch.full((2,), 2**-0.5))


def test_the_hash_is_of_the_sources() -> None:
    assert sources.digest() == sources.digest()
    names = {path.name for pattern in sources.PATTERNS for path in ROOT.glob(pattern)}
    assert {"CMakeLists.txt", "spmm_simd.cpp", "torch.h", "spmm.py", "csr.py"} <= names


def point(size: int, pages: str = "default", graph: str = "gowalla", **seconds: float) -> dict[str, Any]:
    return {
        "family": "spmm sum",
        "target": [1.4, 1.0, ""] if pages == "huge" else [1.8, 1.0, ""],
        "limit_us": None,
        "graph": graph,
        "nodes": 5,
        "edges": 1234,
        "bytes": 1_000_000,
        "size_name": "width",
        "size": size,
        "dtype": "float32",
        "device": "cpu",
        "pages": pages,
        "threads": 2,
        "simd": "avx2",
        "torch": "2.13.0",
        "date": "2026-01-01",
        "sources": "abc",
        "seconds": seconds,
        "rounds": {},
        "unable": {"slow": "too slow"} if "slow" not in seconds else {},
        "peak_bytes": {},
    }


def test_the_table_sets_each_rival_beside_ours() -> None:
    points = [
        point(64, gnas_ext=0.002, slow=0.010, close=0.003, ceiling=0.001),
        point(16, gnas_ext=0.001, close=0.006, ceiling=0.001),
        point(16, "huge", gnas_ext=0.001, close=0.0015),
    ]
    text = table.markdown(table.folded([{"points": points, "machine": "A CPU, 2 cores"}]))
    assert "A CPU, 2 cores; 2 threads, avx2; torch 2.13.0; measured on 2026-01-01; sources abc." in text
    assert "- gowalla: 5 nodes, 1,234 edges" in text
    rows = [line for line in text.splitlines() if line.startswith("| spmm sum")]
    huge = "| 1 | 1.50× | 1.50× (gowalla, width 16: close) | 1.4× / 1× | yes |  |"
    assert rows == [
        "| spmm sum | 2 | 3.00× | 1.50× (gowalla, width 64: close) | 1.8× / 1× | yes | 50% … 100% |",
        f"| spmm sum, both with huge pages {huge}",
        f"| spmm sum, only the rival with huge pages {huge}",
    ]
    assert "| gowalla | 64 | 2.00 | 3.00 (1.5×) | 10.00 (5.0×) | 1.00 (0.5×) |" in text
    assert "| gowalla | 16 | 1.00 | 6.00 (6.0×) |  | 1.00 (1.0×) |" in text
    assert "- slow: too slow (gowalla 16)" in text


def test_a_target_that_is_missed_shows() -> None:
    for points in (
        [point(64, gnas_ext=1.0, close=1.7)],
        [point(64, gnas_ext=1, close=9), point(16, gnas_ext=1, close=0.9)],
    ):
        assert "| **no** |" in table.targets(points)[2]


def test_what_was_tried_stands_below_a_target_that_is_missed() -> None:
    notes = "# Notes\n\n## spmm sum\n\nThe gather takes\nall of it.\n\n## sddmm\n\nNothing yet.\n"
    lines = table.missed(table.targets([point(64, gnas_ext=1.0, close=1.7)]), table.sections(notes))
    assert lines[-1] == "- spmm sum: The gather takes all of it."
    assert table.missed(table.targets([point(64, gnas_ext=1.0, close=9)]), table.sections(notes)) == []


def test_a_note_is_of_a_family_that_is_measured() -> None:
    assert set(table.sections(table.NOTES.read_text())) <= {family.name for family in families.FAMILIES} | {
        f"{family.name}, {pages}" for family in families.FAMILIES for pages in table.HUGE_PAGES if family.huge_pages
    }


def test_a_target_of_one_graph_counts_that_one_alone() -> None:
    points = [point(16, gnas_ext=1, close=0.5), point(16, graph="power-law", gnas_ext=1, close=4)]
    for entry in points:
        entry["target"] = [2.0, 1.2, "power-law"]
    assert table.targets(points)[2].startswith("| spmm sum | 1 | 4.00× |")


def test_on_a_gpu_the_bandwidth_stands_beside_a_copy() -> None:
    points = [point(1024, ceiling=0.001), point(64, gnas_ext=1e-6)]
    points[0] |= {"family": "memory: copy", "size_name": "MiB"}
    assert table.bandwidth(points) == []
    for entry in points:
        entry["device"] = "A GPU"
    lines = table.bandwidth(points)
    assert lines[3] == "A copy moves 2147 GB/s, read and written."
    assert lines[-1] == "| spmm sum | gowalla, width 64 | 1000 | 47% |"


def test_a_later_figure_takes_the_place_of_an_earlier_one() -> None:
    old = {"points": [point(16, gnas_ext=1, close=2), point(64, gnas_ext=1, close=2)], "machine": "m"}
    new = {"points": [point(16, gnas_ext=3, close=9)]}
    folded = table.folded([old, new])
    assert {p["size"]: p["seconds"]["gnas_ext"] for p in folded["points"]} == {64: 1, 16: 3}
    assert folded["machine"] == "m"


@pytest.mark.slow
def test_the_command_measures_keeps_and_writes(tmp_path: Path) -> None:
    result = tmp_path / "latest.json"
    files = [ROOT / "benchmarks" / name for name in ("bench_sddmm.py", "bench_overhead.py")]
    options = ["--graphs", "thousand-nodes", "--sizes", "16", f"--benchmark-json={result}"]
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "pytest",
        "-c",
        ROOT / "benchmarks" / "pytest.ini",
        *files,
        *options,
    ]
    subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, "GNAS_BENCH_THREADS": "1"})
    docs = tmp_path / "performance.md"
    command = [sys.executable, ROOT / "benchmarks" / "table.py", "--keep", tmp_path, "--docs", docs, result]
    subprocess.run(command, check=True, cwd=ROOT)
    text = docs.read_text()
    assert "| thousand-nodes | 16 |" in text
    assert "call overhead (spmm sum), ten-nodes, width 16, microseconds: gnas_ext" in text
    (kept,) = (path for path in tmp_path.glob("*.json") if path != result)
    measured = json.loads(kept.read_text())
    assert {p["sources"] for p in measured["points"]} == {sources.digest()}
