"""Values: the op against two oracles, over everything that can be said about its input."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext import CSR, ops
from gnas_ext.ops import reference
from python_tests import graphs
from python_tests.ops.oracle import DTYPES, INDEX_TYPES, REDUCES, WIDTHS, expected_spmm, spmm_by_rows, with_index

if TYPE_CHECKING:
    from gnas_ext.ops.spmm import Reduce


@cache
def weighted(csr: CSR, dtype: torch.dtype) -> CSR:
    return csr.with_weight(torch.randn(csr.nnz, generator=torch.Generator().manual_seed(5)).to(dtype))


@cache
def features(cols: int, width: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(cols, width, generator=torch.Generator().manual_seed(width)).to(dtype)


# The oracle is slower than the op, and each answer serves every instruction set and index type.
kept_spmm = cache(expected_spmm)


@pytest.mark.parametrize("dtype", DTYPES)
def test_matches_the_reference(backend: torch.device, graph: CSR, dtype: torch.dtype) -> None:
    for width, has_weight in product(WIDTHS, (False, True)):
        csr = weighted(graph, dtype) if has_weight else graph
        x = features(graph.cols, width, dtype)
        for index, reduce in product(INDEX_TYPES, REDUCES):
            got = ops.spmm(with_index(csr, index).to(backend), x.to(backend), reduce)
            kept_spmm(csr, x, reduce).check(got, (width, has_weight, index, reduce))


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("graph", graphs.LARGE, indirect=True)
def test_matches_the_reference_where_cuts_divide_rows(backend: torch.device, graph: CSR, dtype: torch.dtype) -> None:
    for index, has_weight, width in ((torch.int64, True, 1), (torch.int32, False, 16), (torch.int64, True, 17)):
        csr = weighted(graph, dtype) if has_weight else graph
        x = features(graph.cols, width, dtype)
        for reduce in REDUCES:
            got = ops.spmm(with_index(csr, index).to(backend), x.to(backend), reduce)
            kept_spmm(csr, x, reduce).check(got, (width, has_weight, index, reduce))


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_narrower_than_a_register(backend: torch.device, dtype: torch.dtype) -> None:
    """Each width, for they are taken in parts of a register; the last rows of x, which nothing follows, among them."""
    graph = graphs.make("one_hub")
    assert int(graph.indices.max()) == graph.cols - 1
    for width, has_weight in product(range(2, 16), (False, True)):
        csr = weighted(graph, dtype) if has_weight else graph
        x = features(graph.cols, width, dtype)
        for reduce in REDUCES:
            kept_spmm(csr, x, reduce).check(
                ops.spmm(csr.to(backend), x.to(backend), reduce), (width, has_weight, reduce)
            )


@pytest.mark.parametrize("width", [1, 2, 3, 5, 9, 15])
@pytest.mark.parametrize("reduce", ["max", "min"])
def test_the_first_of_equals_and_the_first_nan_win_in_narrow_rows(
    backend: torch.device, width: int, reduce: Reduce
) -> None:
    csr = graphs.make("random")
    x = features(csr.cols, width).sign()
    x[csr.cols // 2] = torch.nan
    csr, x = csr.to(backend), x.to(backend)
    out, arg = torch.ops.gnas_ext.spmm_arg(csr.indptr, csr.indices, None, x, reduce, None, None, None)
    for row in range(csr.rows):
        begin, end = csr.indptr[row : row + 2].tolist()
        for f in range(width if end > begin else 0):
            values = x[csr.indices[begin:end].long(), f]
            bad = values.isnan().nonzero()
            best = values.max() if reduce == "max" else values.min()
            first = int(bad[0]) if len(bad) else int((values == best).nonzero()[0])
            assert int(arg[row, f]) == begin + first
            torch.testing.assert_close(out[row, f], values[first], equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_matches_the_reference_where_rows_are_taken_in_pieces(backend: torch.device, dtype: torch.dtype) -> None:
    for index, has_weight, width in (
        (torch.int64, True, 1),
        (torch.int32, False, 16),
        (torch.int64, True, 64),
        (torch.int64, False, 17),
        (torch.int32, True, 200),
    ):
        csr = weighted(graphs.make(graphs.HUBS), dtype) if has_weight else graphs.make(graphs.HUBS)
        x = features(csr.cols, width, dtype)
        for reduce in REDUCES:
            got = ops.spmm(with_index(csr, index).to(backend), x.to(backend), reduce)
            kept_spmm(csr, x, reduce).check(got, (width, has_weight, index, reduce))


@pytest.mark.parametrize("reduce", REDUCES)
def test_matches_a_loop_over_rows(backend: torch.device, graph: CSR, reduce: Reduce) -> None:
    csr, x = weighted(graph, torch.float64), features(graph.cols, 37, torch.float64)
    got = ops.spmm(csr.to(backend), x.to(backend), reduce).cpu()
    np.testing.assert_allclose(got.numpy(), spmm_by_rows(csr, x, reduce), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("graph", [*graphs.SMALL, *graphs.LARGE], indirect=True)
def test_sum_matches_scipy(backend: torch.device, graph: CSR) -> None:
    csr, x = weighted(graph, torch.float64), features(graph.cols, 5, torch.float64)
    assert csr.weight is not None
    matrix = scipy.sparse.csr_array((csr.weight.numpy(), csr.indices.numpy(), csr.indptr.numpy()), shape=csr.shape)
    got = ops.spmm(csr.to(backend), x.to(backend)).cpu()
    np.testing.assert_allclose(got.numpy(), matrix @ x.numpy(), rtol=1e-9, atol=1e-9)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("graph", graphs.LARGE, indirect=True)
def test_every_edge_counts_once_wherever_the_cuts_fall(backend: torch.device, graph: CSR) -> None:
    for width in (1, 16, 40):
        degree = ops.spmm(graph.to(backend), torch.ones(graph.cols, width, device=backend))
        assert torch.equal(degree, graph.degree().to(backend).float().unsqueeze(1).expand(-1, width))


@st.composite
def any_graph(draw: st.DrawFn) -> CSR:
    rows, cols = draw(st.integers(0, 12)), draw(st.integers(0, 12))
    entry = st.tuples(st.integers(0, max(rows - 1, 0)), st.integers(0, max(cols - 1, 0)))
    entries = draw(st.lists(entry, max_size=60 if rows and cols else 0))
    pairs = torch.tensor(entries, dtype=draw(st.sampled_from(INDEX_TYPES))).reshape(-1, 2)
    return CSR.from_coo(pairs[:, 0], pairs[:, 1], None, (rows, cols))


@settings(deadline=None, max_examples=100)
@given(any_graph(), st.integers(0, 40), st.sampled_from(DTYPES), st.sampled_from(REDUCES), st.booleans())
def test_matches_the_reference_on_any_graph(
    csr: CSR, width: int, dtype: torch.dtype, reduce: Reduce, has_weight: bool
) -> None:
    csr = csr.with_weight(torch.linspace(-1, 2, csr.nnz).to(dtype)) if has_weight else csr
    x = features(csr.cols, width, dtype)
    expected_spmm(csr, x, reduce).check(ops.spmm(csr, x, reduce))


@pytest.mark.parametrize("reduce", REDUCES)
def test_strided_features_mean_the_same(backend: torch.device, reduce: Reduce) -> None:
    csr = graphs.make("random").to(backend)
    x = features(csr.cols, 34).to(backend)
    expected = ops.spmm(csr, x, reduce)
    every_second = torch.stack([x, torch.full_like(x, torch.nan)], 2).flatten(1)[:, ::2]
    for strided in (x.T.contiguous().T, every_second, torch.cat([x, x])[: len(x)], x.flip(0).flip(0)):
        assert torch.equal(ops.spmm(csr, strided, reduce), expected)


@pytest.mark.parametrize("reduce", REDUCES)
def test_rows_without_edges_are_positive_zero(backend: torch.device, reduce: Reduce) -> None:
    csr = graphs.make("isolated").to(backend)
    for width, dtype in product((1, 17, 64), DTYPES):
        out = ops.spmm(csr, features(csr.cols, width, dtype).to(backend), reduce)[csr.degree() == 0]
        assert len(out) > 0
        assert torch.equal(out, torch.zeros_like(out))
        assert not out.signbit().any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_are_summed_in_float32(backend: torch.device, dtype: torch.dtype) -> None:
    csr = CSR(torch.tensor([0, 4096]), torch.arange(4096)).to(backend)
    for width in (1, 64):
        ones = torch.ones(4096, width, dtype=dtype, device=backend)
        assert (ops.spmm(csr, ones) == 4096).all()
        assert (ops.spmm(csr, ones, "mean") == 1).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_are_rounded_as_torch_rounds(backend: torch.device, dtype: torch.dtype) -> None:
    """One edge a row: what comes out is the product, stored once. Every float16 and bfloat16 there is goes in."""
    every = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    x = every.reshape(-1, 256).to(backend)
    row = torch.arange(len(x))
    for factor in (1.0, 1.001, 0.333, 2.0**-9, -37.0):
        weight = torch.full((len(x),), factor).to(dtype).to(backend)
        csr = CSR(torch.arange(len(x) + 1).to(backend), row.to(backend), weight)
        expected = (x.float() * weight.float().unsqueeze(1)).to(dtype)
        torch.testing.assert_close(ops.spmm(csr, x), expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("reduce", REDUCES)
@pytest.mark.parametrize("width", [1, 7, 16, 37, 130])
def test_nan_and_infinity_stay_in_their_column(backend: torch.device, reduce: Reduce, width: int) -> None:
    csr = weighted(graphs.make("random"), torch.float32).to(backend)
    x = features(csr.cols, width).to(backend, copy=True)
    x[3, 0], x[5, width // 2], x[7, width - 1] = torch.nan, torch.inf, -torch.inf
    x[9, width - 1] = torch.inf
    got = ops.spmm(csr, x, reduce)
    torch.testing.assert_close(got, reference.spmm(csr, x, reduce), equal_nan=True)


@pytest.mark.parametrize("width", [1, 16, 70])
@pytest.mark.parametrize("reduce", ["max", "min"])
@pytest.mark.parametrize("graph", ["random", "isolated", "one_hub"], indirect=True)
def test_the_first_of_equal_values_wins(backend: torch.device, graph: CSR, reduce: str, width: int) -> None:
    csr = graph.to(backend)
    x = torch.full((csr.cols, width), -3.0, device=backend)
    _, winner = torch.ops.gnas_ext.spmm_arg(csr.indptr, csr.indices, None, x, reduce, None, None, None)
    first = torch.where(csr.degree() > 0, csr.indptr[:-1], -1)
    assert torch.equal(winner, first.unsqueeze(1).expand(-1, width))


@pytest.mark.parametrize("width", [1, 70])
@pytest.mark.parametrize("reduce", ["max", "min"])
@pytest.mark.parametrize("graph", ["random", "one_hub"], indirect=True)
def test_the_first_nan_wins_over_all(backend: torch.device, graph: CSR, reduce: str, width: int) -> None:
    csr = graph.to(backend)
    x = features(csr.cols, width).to(backend, copy=True)
    x[::3] = torch.nan
    _, winner = torch.ops.gnas_ext.spmm_arg(csr.indptr, csr.indices, None, x, reduce, None, None, None)
    is_nan = (csr.indices % 3 == 0).cpu()
    for row in range(csr.rows):
        begin, end = int(csr.indptr[row]), int(csr.indptr[row + 1])
        places = is_nan[begin:end].nonzero()
        if len(places):
            assert (winner[row] == begin + int(places[0])).all()


@pytest.mark.parametrize("reduce", ["max", "min"])
@pytest.mark.parametrize("graph", [*graphs.SMALL, "one_hub"], indirect=True)
def test_the_winner_holds_the_value(backend: torch.device, graph: CSR, reduce: str) -> None:
    csr = weighted(graph, torch.float64).to(backend)
    x = features(graph.cols, 21, torch.float64).to(backend)
    out, winner = torch.ops.gnas_ext.spmm_arg(csr.indptr, csr.indices, csr.weight, x, reduce, None, None, None)
    assert csr.weight is not None
    row, column = (winner >= 0).nonzero(as_tuple=True)
    edge = winner[row, column]
    assert torch.equal(csr.row_index()[edge], row)
    assert torch.equal(csr.weight[edge] * x[csr.indices[edge], column], out[row, column])


def select_by_messages(csr: CSR, edge: torch.Tensor, x: torch.Tensor, select: torch.Tensor) -> torch.Tensor:
    """spmm_select by a message an edge, in float64."""
    assert csr.weight is not None
    source = csr.indices.long()
    messages = x.double()[source] * csr.weight.double()[edge.long()].unsqueeze(1)
    exact = torch.zeros(csr.rows, x.shape[1], dtype=torch.float64)
    return exact.index_add_(0, csr.row_index().long(), messages * (select[source] == edge.unsqueeze(1)))


@pytest.mark.parametrize("graph", [*graphs.SMALL, "desert"], indirect=True)
def test_select_sums_over_the_chosen_edges(backend: torch.device, graph: CSR) -> None:
    random = torch.Generator().manual_seed(1)
    for dtype, index in ((torch.float32, torch.int64), (torch.float64, torch.int32), (torch.bfloat16, torch.int64)):
        for width in (1, 7, 33):
            csr, x = with_index(weighted(graph, dtype), index), features(graph.cols, width, dtype)
            edge = torch.randperm(csr.nnz, generator=random).to(index)
            # Every place names the last edge that begins there, so that each node sends to one row.
            select = torch.full(x.shape, -1, dtype=index)
            select[csr.indices.long()] = edge.unsqueeze(1).expand(-1, width)
            tensors = (csr.indptr, csr.indices, edge, csr.weight, x, select)
            got = torch.ops.gnas_ext.spmm_select(*(t.to(backend) for t in tensors if t is not None), None, None, None)
            exact = select_by_messages(csr, edge, x, select)
            assert exact.any() or csr.nnz == 0
            # Up to 50 messages of about 1 arrive.
            torch.testing.assert_close(got.cpu(), exact.to(dtype), rtol=2 * torch.finfo(dtype).eps, atol=1e-5)


def test_weights_by_place_are_weights_by_edge(backend: torch.device) -> None:
    csr = weighted(graphs.make("random"), torch.float32).to(backend)
    assert csr.weight is not None
    order = torch.randperm(csr.nnz, generator=torch.Generator().manual_seed(3)).to(backend)
    x = features(csr.cols, 20).to(backend)
    got = torch.ops.gnas_ext.spmm(csr.indptr, csr.indices, order, csr.weight, x, "sum", None, None, None)
    assert torch.equal(got, ops.spmm(csr.with_weight(csr.weight[order]), x))
