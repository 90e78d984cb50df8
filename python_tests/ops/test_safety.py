"""Raw calls with a graph that is not one: refused with the reason, never read out of bounds.

The public functions take a `CSR`, which is checked when it is made; `torch.ops.gnas_ext.*` takes whatever comes.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext import CSR, ops
from gnas_ext.ops import reference
from python_tests.emulated import EMULATED, refused
from python_tests.ops.oracle import INDEX_TYPES
from python_tests.ops.samples import CORRUPT

ROWS, COLS, WIDTH = 3, 4, 5
INDPTR, INDICES, EDGE = [0, 2, 2, 5], [0, 3, 1, 1, 2], [4, 3, 2, 1, 0]
NOTHING = (None, None, None)

native = torch.ops.gnas_ext


# Those that read an entry's weight where `edge` says.
WITH_EDGE = ("spmm", "spmm_out", "spmm_select", "sddmm", "select_edges")
# Those that take no features.
STRUCTURAL = ("transpose", "edge_dropout_pairs", "select_edges", "k_core", "spspmm_topk", "communities")


def ones(width: int) -> torch.Tensor:
    return torch.ones(COLS, width)


@pytest.fixture(params=INDEX_TYPES)
def index(request: pytest.FixtureRequest) -> torch.dtype:
    dtype: torch.dtype = request.param
    return dtype


@pytest.mark.parametrize("op", CORRUPT)
@pytest.mark.parametrize(
    ("indptr", "message"),
    [
        ([0, 3, 2, 5], "indptr decreases at 2: 3 then 2"),
        ([0, 9, 9, 5], "indptr decreases at 3: 9 then 5"),
        ([0, 2, 2, 4], "indptr ends at 4, but there are 5 indices"),
        ([0, 2, 2, 2_000_000_000], "indptr ends at 2000000000, but there are 5 indices"),
        ([1, 2, 2, 5], "indptr[0] is 1, expected 0"),
        ([-1, 2, 2, 5], "indptr[0] is -1, expected 0"),
        ([], "expected indptr of shape [rows + 1], got [0]"),
    ],
)
def test_bad_row_pointers(backend: torch.device, op: str, index: torch.dtype, indptr: list[int], message: str) -> None:
    if backend.type != "cpu":
        pytest.skip("on CUDA the kernel traps, which ends the process's context")
    with pytest.raises(RuntimeError) as error:
        CORRUPT[op](
            torch.tensor(indptr, dtype=index), torch.tensor(INDICES, dtype=index), None, torch.ones(COLS, WIDTH)
        )
    assert f"{op}: {message}" in str(error.value)


@pytest.mark.parametrize("op", CORRUPT)
@pytest.mark.parametrize("wrong", [-1, COLS, -(2**31), 2**31 - 1])
def test_an_index_out_of_range(backend: torch.device, op: str, index: torch.dtype, wrong: int) -> None:
    if backend.type != "cpu":
        pytest.skip("on CUDA the kernel traps, which ends the process's context")
    if EMULATED and op == "topk_scores":
        pytest.skip("CUDA's kernel compares with what is excluded, and reads nothing by it")
    indices = torch.tensor([*INDICES[:3], wrong, INDICES[4]], dtype=index)
    for width in (1, WIDTH, 40):
        with pytest.raises(RuntimeError, match=refused(f"{op}: entry 3 of the graph is out of bounds")):
            CORRUPT[op](torch.tensor(INDPTR, dtype=index), indices, None, ones(width))


@pytest.mark.parametrize("op", WITH_EDGE)
@pytest.mark.parametrize("wrong", [-1, len(EDGE), -(2**31), 2**31 - 1])
def test_a_place_out_of_range(backend: torch.device, op: str, index: torch.dtype, wrong: int) -> None:
    if backend.type != "cpu":
        pytest.skip("on CUDA the kernel traps, which ends the process's context")
    edge = torch.tensor([wrong, *EDGE[1:]], dtype=index)
    with pytest.raises(RuntimeError, match=refused(f"{op}: entry 0 of the graph is out of bounds")):
        CORRUPT[op](
            torch.tensor(INDPTR, dtype=index), torch.tensor(INDICES, dtype=index), edge, torch.ones(COLS, WIDTH)
        )


@pytest.mark.parametrize("op", CORRUPT)
def test_shapes_types_and_layouts(op: str, index: torch.dtype) -> None:
    call = CORRUPT[op]
    indptr, indices = torch.tensor(INDPTR, dtype=index), torch.tensor(INDICES, dtype=index)
    x, other = torch.ones(COLS, WIDTH), INDEX_TYPES[index == torch.int32]
    bad = {
        "indices in indptr's dtype": (indptr, indices.to(other), x),
        "indptr of int32 or int64": (indptr.float(), indices.float(), x),
        "indptr of shape": (indptr.unsqueeze(0), indices, x),
        "indices of shape": (indptr, indices.unsqueeze(0), x),
        "contiguous indptr and indices": (indptr, indices.repeat_interleave(2)[::2], x),
    }
    if op not in STRUCTURAL:
        bad |= {
            "(x|b|items) of shape": (indptr, indices, torch.ones(COLS, WIDTH, 1)),
            "x of float32": (indptr, indices, torch.ones(COLS, WIDTH, dtype=torch.int64)),
        }
    for message, (p, i, features) in bad.items():
        with pytest.raises(RuntimeError, match=f"{op}: .*{message}"):
            call(p, i, None, features)


@pytest.mark.parametrize("op", WITH_EDGE)
def test_shape_and_type_of_the_places(op: str) -> None:
    indptr, indices, x = torch.tensor(INDPTR), torch.tensor(INDICES), torch.ones(COLS, WIDTH)
    for edge, message in (
        (torch.tensor(EDGE[1:]), r"edge of shape \[5\], got \[4\]"),
        (torch.tensor(EDGE, dtype=torch.int32), "edge in indptr's dtype"),
        (torch.tensor(EDGE).repeat_interleave(2)[::2], "contiguous edge"),
    ):
        with pytest.raises(RuntimeError, match=f"{op}: expected {message}"):
            CORRUPT[op](indptr, indices, edge, x)


def test_what_goes_with_the_features() -> None:
    graph, x = (torch.tensor(INDPTR), torch.tensor(INDICES)), torch.ones(COLS, WIDTH)
    select = torch.zeros(COLS, WIDTH, dtype=torch.int64)
    a = torch.ones(ROWS, WIDTH)
    cases: list[tuple[Any, tuple[Any, ...], str]] = [
        (native.spmm, (None, torch.ones(4), x, "sum"), r"weight of shape \[5\] or \[5, heads\], got \[4\]"),
        (native.spmm, (None, torch.ones(5).half(), x, "sum"), "weight in x's dtype"),
        (native.spmm, (None, None, x, "add"), "reduce sum, mean, max or min, got add"),
        (native.spmm_arg, (None, x, "mean"), "reduce max or min, got mean"),
        (native.spmm_select, (None, None, x, select[1:]), r"select of x's shape \[4, 5\]"),
        (native.spmm_select, (None, None, x, select.int()), "select in indptr's dtype"),
        (native.spmm, (None, torch.ones(5, 2), x, "sum"), "a multiple of the 2 heads of weight, got 5"),
        (native.spmm, (None, torch.ones(5, 0), x, "sum"), "a multiple of the 0 heads of weight, got 5"),
        (native.sddmm, (None, a, x, None, 2), "a multiple of the 2 heads, got 5"),
        (native.sddmm, (None, a, x, None, -1), "a multiple of the -1 heads, got 5"),
        (native.sddmm, (None, a[1:], x, None, 0), r"a of shape \[3, width\], got \[2, 5\]"),
        (native.sddmm, (None, a[:, 1:], x, None, 0), "a and b differ in width"),
        (native.sddmm, (None, a.double(), x, None, 0), "a and b in one dtype"),
        (native.sddmm, (None, a, x, select[1:, 1:], 0), r"select of a's shape \[3, 5\]"),
    ]
    for op, arguments, message in cases:
        with pytest.raises(RuntimeError, match=message):
            op(*graph, *arguments, *NOTHING)


def test_a_negative_number_of_columns() -> None:
    with pytest.raises(RuntimeError, match="cols of 0 or more, got -1"):
        native.transpose(torch.tensor(INDPTR), torch.tensor(INDICES), -1)


@settings(deadline=None, max_examples=300)
@given(
    indptr=st.lists(st.integers(-1, 7), min_size=1, max_size=5),
    indices=st.lists(st.integers(-2, COLS + 1), max_size=6),
    index=st.sampled_from(INDEX_TYPES),
    op=st.sampled_from(["spmm", "sddmm"]),
    width=st.sampled_from([1, 16]),
)
def test_a_graph_is_refused_or_right(
    indptr: list[int], indices: list[int], index: torch.dtype, op: str, width: int
) -> None:
    """With NaN on both sides of x, a row that is read from outside it would show."""
    x = torch.full((COLS + 4, width), torch.nan)[2:-2].fill_(1)
    steps = zip(indptr, [*indptr[1:], len(indices)], strict=True)
    right = indptr[0] == 0 and all(a <= b for a, b in steps) and indptr[-1] == len(indices)
    right = right and all(0 <= column < COLS for column in indices)
    p, i = torch.tensor(indptr, dtype=index), torch.tensor(indices, dtype=index)
    if not right:
        with pytest.raises(RuntimeError, match=f"{op}: "):
            CORRUPT[op](p, i, None, x)
        return
    csr = CSR(p, i, None, (len(indptr) - 1, COLS))
    got = CORRUPT[op](p, i, None, x)
    a = x.new_ones(csr.rows, width)
    assert torch.equal(got, reference.spmm(csr, x) if op == "spmm" else reference.sddmm(csr, a, x))


def test_a_graph_changed_after_it_was_checked_is_refused() -> None:
    csr = CSR(torch.tensor(INDPTR), torch.tensor(INDICES), None, (ROWS, COLS))
    csr.indices[0] = 1_000_000
    with pytest.raises(RuntimeError, match=refused("spmm: entry 0 of the graph is out of bounds")):
        ops.spmm(csr, torch.ones(COLS, WIDTH))
    csr.indices[0] = 0
    csr.indptr[1] = 9
    with pytest.raises(RuntimeError, match="spmm: indptr decreases"):
        ops.spmm(csr, torch.ones(COLS, WIDTH))
