"""segment_reduce, segment_arg and gather_segments: values, winners, gradients, and what they refuse."""

from __future__ import annotations

from functools import cache, partial
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext import CSR, ops
from gnas_ext.ops import reference
from python_tests import graphs
from python_tests.ops.oracle import DTYPES, INDEX_TYPES, REDUCES, WIDTHS, Expected, expected_spmm

if TYPE_CHECKING:
    from collections.abc import Callable

    from gnas_ext.ops.spmm import Reduce


@cache
def entries(count: int, width: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(count + width)).to(dtype)


@cache
def expected(indptr: torch.Tensor, src: torch.Tensor, reduce: Reduce) -> Expected:
    """spmm with a column an entry, by its oracle, which has nothing in common with these kernels."""
    csr = CSR(indptr.long(), torch.arange(len(src)), None, (len(indptr) - 1, len(src)))
    return expected_spmm(csr, src, reduce)


@cache
def pointers(csr: CSR, index: torch.dtype) -> torch.Tensor:
    return csr.indptr.to(index)


@pytest.mark.parametrize("dtype", DTYPES)
def test_matches_the_oracle(backend: torch.device, graph: CSR, dtype: torch.dtype) -> None:
    for width, reduce in product(WIDTHS, REDUCES):
        src = entries(graph.nnz, width, dtype)
        for index in INDEX_TYPES:
            got = ops.segment_reduce(src.to(backend), pointers(graph, index).to(backend), reduce)
            expected(graph.indptr, src, reduce).check(got, (width, index, reduce))


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("graph", graphs.LARGE, indirect=True)
def test_matches_the_oracle_where_cuts_divide_segments(backend: torch.device, graph: CSR, dtype: torch.dtype) -> None:
    for width, index in ((1, torch.int64), (3, torch.int32), (17, torch.int64)):
        src = entries(graph.nnz, width, dtype)
        for reduce in REDUCES:
            got = ops.segment_reduce(src.to(backend), pointers(graph, index).to(backend), reduce)
            expected(graph.indptr, src, reduce).check(got, (width, index, reduce))


@pytest.mark.parametrize("dtype", DTYPES)
def test_matches_the_oracle_where_segments_are_taken_in_pieces(backend: torch.device, dtype: torch.dtype) -> None:
    graph = graphs.make(graphs.HUBS)
    for width, index in ((1, torch.int64), (3, torch.int32), (16, torch.int64), (64, torch.int32), (200, torch.int64)):
        src = entries(graph.nnz, width, dtype)
        for reduce in REDUCES:
            got = ops.segment_reduce(src.to(backend), pointers(graph, index).to(backend), reduce)
            expected(graph.indptr, src, reduce).check(got, (width, index, reduce))


@pytest.mark.parametrize("reduce", REDUCES)
def test_matches_a_loop_in_numpy(backend: torch.device, graph: CSR, reduce: Reduce) -> None:
    functions: dict[str, Callable[..., Any]] = {"sum": np.sum, "mean": np.mean, "max": np.max, "min": np.min}
    src, indptr = entries(graph.nnz, 5, torch.float64), graph.indptr.tolist()
    want = np.zeros((graph.rows, 5))
    for row, (begin, end) in enumerate(pairwise(indptr)):
        if begin < end:
            want[row] = functions[reduce](src.numpy()[begin:end], axis=0)
    got = ops.segment_reduce(src.to(backend), graph.indptr.to(backend), reduce).cpu()
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-12, atol=1e-12)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.integers(0, 40), max_size=12),
    st.integers(0, 40),
    st.sampled_from(DTYPES),
    st.sampled_from(INDEX_TYPES),
    st.sampled_from(REDUCES),
)
def test_matches_the_oracle_on_any_lengths(
    lengths: list[int], width: int, dtype: torch.dtype, index: torch.dtype, reduce: Reduce
) -> None:
    indptr = torch.tensor([0, *lengths]).cumsum(0).to(index)
    src = entries(sum(lengths), width, dtype)
    expected(indptr, src, reduce).check(ops.segment_reduce(src, indptr, reduce))
    assert torch.equal(
        ops.gather_segments(src[: len(lengths)], indptr) if len(src) >= len(lengths) else src,
        src[: len(lengths)].repeat_interleave(torch.tensor(lengths, dtype=torch.int64), 0)
        if len(src) >= len(lengths)
        else src,
    )


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("graph", [*graphs.SMALL, *graphs.LARGE, graphs.HUBS], indirect=True)
def test_gathering_repeats_rows(backend: torch.device, graph: CSR, dtype: torch.dtype) -> None:
    for width, index in ((1, torch.int64), (7, torch.int32), (40, torch.int64)):
        src = entries(graph.rows, width, dtype)
        got = ops.gather_segments(src.to(backend), pointers(graph, index).to(backend)).cpu()
        assert torch.equal(got, src[graph.row_index().long()])


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("reduce", ["max", "min"])
@pytest.mark.parametrize("graph", [*graphs.SMALL, *graphs.LARGE, graphs.HUBS], indirect=True)
def test_the_first_of_the_best_wins_and_nan_over_all(backend: torch.device, graph: CSR, reduce: Reduce) -> None:
    for width, dtype, nan in ((1, torch.float32, False), (5, torch.float32, True), (40, torch.float64, True)):
        src = entries(graph.nnz, width, dtype).round()
        if nan:
            src = torch.where(src == 1, torch.nan, src)
        value, arg = (t.cpu() for t in ops.segment_arg(src.to(backend), graph.indptr.to(backend), reduce))
        assert arg.dtype == graph.indptr.dtype
        assert torch.equal(arg < 0, (graph.degree() == 0).unsqueeze(1).expand_as(arg))
        assert not value[arg < 0].any()
        if graph.nnz == 0:
            continue
        torch.testing.assert_close(src.gather(0, arg.clamp(min=0))[arg >= 0], value[arg >= 0], equal_nan=True)
        row = graph.row_index()
        best = value[row]
        is_best = torch.where(best.isnan(), src.isnan(), src == best)
        leads = torch.where(is_best, torch.arange(graph.nnz).unsqueeze(1), graph.nnz)
        first = torch.full_like(arg, graph.nnz).scatter_reduce(0, row.unsqueeze(1).expand_as(leads), leads, "amin")
        assert torch.equal(torch.where(first == graph.nnz, -1, first), arg)
        exact = reference.segment_reduce(src, graph.indptr, reduce)
        torch.testing.assert_close(value, exact, equal_nan=True, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_are_summed_in_float32(backend: torch.device, dtype: torch.dtype) -> None:
    for width in (1, 3, 64):
        ones = torch.ones(4096, width, dtype=dtype, device=backend)
        indptr = torch.tensor([0, 4096], device=backend)
        assert (ops.segment_reduce(ones, indptr) == 4096).all()
        assert (ops.segment_reduce(ones, indptr, "mean") == 1).all()


@pytest.mark.parametrize("reduce", REDUCES)
def test_more_dimensions_and_any_strides(backend: torch.device, reduce: Reduce) -> None:
    indptr = torch.tensor([0, 3, 3, 8], device=backend)
    src = entries(8, 24, torch.float32).to(backend)
    want = ops.segment_reduce(src, indptr, reduce)
    assert torch.equal(ops.segment_reduce(src.reshape(8, 2, 3, 4), indptr, reduce), want.reshape(3, 2, 3, 4))
    assert torch.equal(ops.segment_reduce(src.T.contiguous().T, indptr, reduce), want)
    assert torch.equal(ops.segment_reduce(src, indptr.repeat_interleave(2)[::2], reduce), want)
    torch.testing.assert_close(ops.segment_reduce(src[:, 0], indptr, reduce), want[:, 0])
    gathered = ops.gather_segments(want.reshape(3, 2, 12), indptr)
    assert torch.equal(gathered, want[torch.tensor([0] * 3 + [2] * 5, device=backend)].reshape(8, 2, 12))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("graph", graphs.LARGE, indirect=True)
def test_results_do_not_depend_on_the_threads(backend: torch.device, graph: CSR, dtype: torch.dtype) -> None:
    if backend.type != "cpu":
        pytest.skip("threads are the CPU's")

    def everything() -> list[torch.Tensor]:
        src = entries(graph.nnz, 19, dtype)
        found = [ops.segment_reduce(src, graph.indptr, reduce) for reduce in REDUCES]
        return [*found, *ops.segment_arg(src, graph.indptr), ops.gather_segments(src[: graph.rows], graph.indptr)]

    alone = everything()
    for threads in (2, 3):
        torch.set_num_threads(threads)
        assert all(torch.equal(got, want) for got, want in zip(everything(), alone, strict=True))


INDPTR = torch.tensor([0, 3, 3, 4, 9])


def doubles(*shape: int) -> torch.Tensor:
    """Distinct values, so that max and min have a derivative."""
    count = int(np.prod(shape))
    random = torch.Generator().manual_seed(count)
    return (torch.randperm(count, generator=random).double() / 7 - 2).reshape(shape).requires_grad_()


@pytest.mark.parametrize("reduce", REDUCES)
def test_gradients_of_first_and_second_order(backend: torch.device, reduce: Reduce) -> None:
    indptr = INDPTR.to(backend)
    for shape in ((9, 1), (9, 3), (9, 2, 2)):
        src = doubles(*shape).detach().to(backend).requires_grad_()
        function = partial(ops.segment_reduce, indptr=indptr, reduce=reduce)
        assert torch.autograd.gradcheck(function, src)
        assert torch.autograd.gradgradcheck(function, src)


def test_gradients_of_gathering(backend: torch.device) -> None:
    src = doubles(4, 3).detach().to(backend).requires_grad_()
    function = partial(ops.gather_segments, indptr=INDPTR.to(backend))
    assert torch.autograd.gradcheck(function, src)
    assert torch.autograd.gradgradcheck(function, src)


@pytest.mark.parametrize("reduce", REDUCES)
def test_gradients_of_third_order(reduce: Reduce) -> None:
    def first(src: torch.Tensor) -> torch.Tensor:
        out = ops.segment_reduce(src, INDPTR, reduce).pow(3).sum()
        return torch.autograd.grad(out, src, create_graph=True)[0]

    assert torch.autograd.gradgradcheck(first, doubles(9, 2))


@pytest.mark.parametrize("reduce", REDUCES)
def test_compiles_in_one_graph(reduce: Reduce) -> None:
    def step(src: torch.Tensor) -> torch.Tensor:
        out = ops.segment_reduce(src.sin(), INDPTR, reduce)
        return ops.gather_segments(out, INDPTR, 9).mul(src).sum()

    torch.compiler.reset()
    run = torch.compile(step, fullgraph=True, dynamic=True, backend="aot_eager")
    for width in (3, 21):
        src = doubles(9, width)
        torch.testing.assert_close(run(src), step(src))
        torch.testing.assert_close(*(torch.autograd.grad(function(src), src) for function in (run, step)))


@pytest.mark.parametrize("index", INDEX_TYPES)
@pytest.mark.parametrize(
    ("indptr", "message"),
    [
        ([0, 3, 2, 5], "indptr decreases at 2: 3 then 2"),
        ([0, 9, 9, 5], "indptr decreases at 3: 9 then 5"),
        ([0, 2, 2, 4], "indptr ends at 4, but there are 5"),
        ([1, 2, 2, 5], r"indptr\[0\] is 1, expected 0"),
        ([-1, 2, 2, 5], r"indptr\[0\] is -1, expected 0"),
    ],
)
def test_bad_pointers_are_refused(index: torch.dtype, indptr: list[int], message: str) -> None:
    pointers, src = torch.tensor(indptr, dtype=index), torch.ones(5, 2)
    with pytest.raises(RuntimeError, match=f"segment_reduce: {message}"):
        ops.segment_reduce(src, pointers)
    with pytest.raises(RuntimeError, match=f"segment_arg: {message}"):
        ops.segment_arg(src, pointers)
    with pytest.raises(RuntimeError, match=f"gather_segments: {message}"):
        ops.gather_segments(src[:3], pointers, 5)


def test_says_what_was_expected_and_what_came() -> None:
    src = torch.ones(9, 2)
    unknown: Any = "prod"
    for kind, message, call in (
        (
            ValueError,
            "expected reduce in sum, mean, max, min, got 'prod'",
            lambda: ops.segment_reduce(src, INDPTR, unknown),
        ),
        (ValueError, "expected reduce max or min, got 'sum'", lambda: ops.segment_arg(src, INDPTR, "sum")),
        (
            TypeError,
            "expected src in float32, float64, bfloat16 or float16, got torch.int64",
            lambda: ops.segment_reduce(src.long(), INDPTR),
        ),
        (
            TypeError,
            "expected indptr in int32 or int64, got torch.float32",
            lambda: ops.segment_reduce(src, INDPTR.float()),
        ),
        (ValueError, r"expected indptr of shape \[rows \+ 1\], got \[0\]", lambda: ops.segment_reduce(src, INDPTR[:0])),
        (
            ValueError,
            r"expected src of shape \[4, …\] for as many segments, got \[9, 2\]",
            lambda: ops.gather_segments(src, INDPTR),
        ),
        (ValueError, "src is on meta, indptr on cpu: move one", lambda: ops.segment_reduce(src.to("meta"), INDPTR)),
    ):
        with pytest.raises(kind, match=message):
            call()


def test_raw_calls_check_what_memory_safety_needs() -> None:
    src = torch.ones(9, 2)
    native: Any = torch.ops.gnas_ext
    select = torch.zeros(4, 2, dtype=torch.int64)
    cases: list[tuple[str, Callable[[], Any]]] = [
        (r"src of shape \[rows, width\], got \[9\]", lambda: native.segment_reduce(src[:, 0], INDPTR, "sum")),
        ("contiguous indptr", lambda: native.segment_reduce(src, INDPTR.repeat_interleave(2)[::2], "sum")),
        ("reduce sum, mean, max or min, got add", lambda: native.segment_reduce(src, INDPTR, "add")),
        ("reduce max or min, got sum", lambda: native.segment_arg(src, INDPTR, "sum")),
        (r"src of shape \[4, width\], got \[9, 2\]", lambda: native.gather_segments(src, INDPTR, None, 9)),
        ("nnz of 0 or more, got -1", lambda: native.gather_segments(src[:4], INDPTR, None, -1)),
        (r"select of src's shape \[4, 2\]", lambda: native.gather_segments(src[:4], INDPTR, select[1:], 9)),
        ("select in indptr's dtype", lambda: native.gather_segments(src[:4], INDPTR, select.int(), 9)),
    ]
    for message, call in cases:
        with pytest.raises(RuntimeError, match=message):
            call()
