"""Do the benchmarks compare like with like, and does the table say what was measured?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from benchmarks import data, rivals, table

if TYPE_CHECKING:
    from pathlib import Path

    from gnas_ext import CSR
    from gnas_ext.ops.spmm import Reduce


def small() -> CSR:
    random = torch.Generator().manual_seed(0)
    return data.symmetric(*torch.randint(0, 9, (2, 60), generator=random, dtype=torch.int32))


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize(
    ("reduce", "impl"), [(reduce, impl) for reduce, all_ in rivals.FORWARD.items() for impl in all_]
)
def test_every_rival_computes_the_same(reduce: Reduce, impl: str) -> None:
    csr, x = small(), torch.randn(18, 5, generator=torch.Generator().manual_seed(1))
    got = torch.as_tensor(rivals.forward(impl, csr, reduce)(x))
    torch.testing.assert_close(got, rivals.forward("gnas_ext", csr, reduce)(x))


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("impl", rivals.BACKWARD)
def test_every_rival_has_the_same_gradient(impl: str) -> None:
    x, gradient = torch.randn(2, 18, 5, generator=torch.Generator().manual_seed(1))
    got = rivals.backward(impl, small(), x, gradient)()
    torch.testing.assert_close(got, rivals.backward("gnas_ext", small(), x, gradient)())


def test_a_published_split_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "train.txt").write_text("0 2 1\n1\n2 0\n")
    monkeypatch.setenv("GNAS_BENCH_DATA", str(folder))
    name, csr = data.load()
    assert (name, csr.shape, csr.nnz) == ("tiny", (6, 6), 6)
    assert csr.weight is not None
    assert torch.equal(csr.row_index(), csr.t().row_index())
    torch.testing.assert_close(csr.weight[:2], torch.full((2,), 2**-0.5))


def run(impl: str, width: int, seconds: float) -> dict[str, Any]:
    return {
        "name": f"bench_forward[sum-{impl}-{width}]",
        "params": {"reduce": "sum", "impl": impl, "width": width},
        "stats": {"median": seconds},
        "extra_info": {"graph": "g", "nodes": 5, "edges": 1234, "threads": 2, "simd": "avx2", "torch": "2.13.0"},
    }


def test_the_table_sets_each_rival_beside_ours() -> None:
    runs = [run("gnas_ext", 64, 0.002), run("slow", 64, 0.010), run("close", 64, 0.003), run("slow", 16, 0.001)]
    lines = table.markdown({"benchmarks": runs, "machine_info": {"cpu": {"brand_raw": "A CPU"}}}).splitlines()
    assert lines[0] == (
        "Medians in milliseconds. g: 5 nodes, 1,234 edges; float32; 2 threads, avx2, A CPU; torch 2.13.0."
    )
    assert lines[2] == "| | width | gnas_ext | slow | close | best rival / ours |"
    assert lines[4:] == [
        "| forward sum | 16 |  | 1.00 |  |  |",
        "| forward sum | 64 | 2.00 | 10.00 (5.0×) | 3.00 (1.5×) | 1.50× |",
    ]
