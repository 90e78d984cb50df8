"""spmm_int32: equal to the last bit to sums in int64, or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from gnas_ext import _C, CSR, ops
from gnas_ext.ops import reference
from python_tests import graphs
from python_tests.emulated import refused
from python_tests.ops.oracle import INDEX_TYPES, with_index

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTHS = (0, 1, 15, 16, 63, 64, 65, 130, 200, 256, 300)


@pytest.fixture(params=["vnni", "plain"])
def way(request: pytest.FixtureRequest, backend: torch.device) -> Iterator[torch.device]:
    """Each backend, with dot products of bytes where it has them, and without."""
    before = _C.vnni()
    if request.param == "vnni" and not before:
        pytest.skip("not offered here")
    if before:
        _C.set_vnni(request.param == "vnni")
    yield backend
    if before:
        _C.set_vnni(True)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(-128, 128, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.int8)


def check(csr: CSR, codes: torch.Tensor, weight: torch.Tensor, place: torch.device, case: object = "") -> None:
    got = ops.spmm_int32(csr.to(place), codes.to(place), weight.to(place))
    assert got.dtype == torch.int32, case
    assert torch.equal(got.cpu(), reference.spmm_int32(csr, codes, weight).int()), case


def test_is_the_sum_in_int64(way: torch.device, graph: CSR) -> None:
    weight = drawn(graph.nnz, seed=1)
    for width in WIDTHS:
        for index in INDEX_TYPES:
            check(with_index(graph, index), drawn(graph.cols, width), weight, way, (width, index))


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("graph", graphs.LARGE, indirect=True)
def test_where_cuts_divide_rows(way: torch.device, graph: CSR) -> None:
    check(graph, drawn(graph.cols, 77), drawn(graph.nnz, seed=1), way)


@pytest.mark.parametrize("width", [24, 77, 300])
def test_hubs_among_small_rows(way: torch.device, width: int) -> None:
    csr = graphs.make("hubs_among_many")
    for index in INDEX_TYPES:
        check(with_index(csr, index), drawn(csr.cols, width), drawn(csr.nnz, seed=1), way, index)


@pytest.mark.parametrize("degree", [100_000, 131_071])
def test_the_largest_products_of_a_large_row(way: torch.device, degree: int) -> None:
    """-128 times -128 as often as always fits; 131,071 * 2^14 is 2^31 - 2^14."""
    csr = CSR(torch.tensor([0, 0, degree]), torch.zeros(degree, dtype=torch.int64), None, (2, 1))
    weight = torch.full((degree,), -128, dtype=torch.int8)
    check(csr, torch.full((1, 20), -128, dtype=torch.int8), weight, way)
    check(csr, torch.full((1, 20), 127, dtype=torch.int8), weight, way)


def test_a_row_that_may_not_fit_is_refused_by_name(way: torch.device) -> None:
    degree = 131_072
    csr = CSR(torch.tensor([0, 0, degree]), torch.zeros(degree, dtype=torch.int64), None, (2, 1)).to(way)
    codes = torch.ones(1, 3, dtype=torch.int8, device=way)
    weight = torch.full((degree,), -128, dtype=torch.int8, device=way)
    with pytest.raises(RuntimeError, match="spmm_int32: row 1 may not fit int32: it has more than 131071 edges"):
        ops.spmm_int32(csr, codes, weight)
    weight[0] = 127  # 131,071 * 128 + 127 = 2^24 - 1
    assert torch.equal(ops.spmm_int32(csr, codes, weight).cpu()[1], torch.full((3,), 127 - 131_071 * 128).int())


def test_says_what_was_expected_and_what_came() -> None:
    csr = graphs.make("random")
    codes, weight = drawn(csr.cols, 5), drawn(csr.nnz)
    for kind, message, arguments in (
        (ValueError, "codes of shape [cols, width], got [70]", (codes[:, 0], weight)),
        (ValueError, "codes of shape [70, width] for a graph of shape [90, 70], got [69, 5]", (codes[1:], weight)),
        (ValueError, "weight of shape [600], one an edge, got [599]", (codes, weight[1:])),
        (TypeError, "codes in int8, got torch.int32", (codes.int(), weight)),
        (TypeError, "weight in int8, got torch.float32", (codes, weight.float())),
        (ValueError, "codes is on meta, the graph on cpu: move one with .to()", (codes.to("meta"), weight)),
    ):
        with pytest.raises(kind) as error:
            ops.spmm_int32(csr, *arguments)
        assert str(error.value).startswith("spmm_int32: expected " if "is on" not in message else "spmm_int32: ")
        assert message in str(error.value)


def test_raw_calls_are_checked() -> None:
    native = torch.ops.gnas_ext.spmm_int32
    indptr, indices, weight, codes = torch.tensor([0, 2]), torch.tensor([0, 1]), drawn(2), drawn(2, 5)
    for message, arguments in (
        ("entry 1 of the graph is out of bounds", (indptr, torch.tensor([0, 2]), weight, codes)),
        (r"indptr\[0\] is 1, expected 0", (indptr + 1, indices, weight, codes)),
        (r"weight of shape \[2\], got \[1\]", (indptr, indices, weight[1:], codes)),
        ("weight in int8", (indptr, indices, weight.int(), codes)),
        ("codes in int8", (indptr, indices, weight, codes.float())),
    ):
        with pytest.raises(RuntimeError, match=refused(f"spmm_int32: (expected )?{message}")):
            native(*arguments)
