"""segment_softmax: shares against a loop over rows, what is masked, what is NaN, and gradients of any order."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext import CSR, ops
from gnas_ext.ops import reference
from python_tests import graphs
from python_tests.ops.oracle import DTYPES, INDEX_TYPES, with_index

HEADS = (None, 1, 2, 3, 4, 7, 8, 16, 21)


def scores(csr: CSR, heads: int | None, dtype: torch.dtype, spread: float = 3) -> torch.Tensor:
    random = torch.Generator().manual_seed(heads or 0)
    shape = (csr.nnz,) if heads is None else (csr.nnz, heads)
    return (spread * torch.randn(shape, generator=random)).to(dtype)


def by_rows(csr: CSR, score: torch.Tensor) -> torch.Tensor:
    """A loop over rows in numpy: nothing in common with the kernels or the reference."""
    indptr, values = csr.indptr.numpy(), score.double().numpy()
    out = np.zeros_like(values)
    for row in range(csr.rows):
        edges = slice(indptr[row], indptr[row + 1])
        if edges.start < edges.stop:
            power = np.exp(values[edges] - values[edges].max(0))
            out[edges] = power / power.sum(0)
    return torch.from_numpy(out)


def tolerance(csr: CSR, dtype: torch.dtype) -> float:
    """Relative: a sum of as many numbers as the longest row has, an exp, and one store."""
    sums = torch.finfo(torch.float64 if dtype == torch.float64 else torch.float32).eps
    return sums * (8 + int(csr.degree().max() if csr.rows else 0)) + torch.finfo(dtype).eps


def check(csr: CSR, score: torch.Tensor, backend: torch.device, case: object) -> None:
    got = ops.segment_softmax(csr.to(backend), score.to(backend)).cpu()
    assert got.dtype == score.dtype, case
    expected = by_rows(csr, score)
    # Shares too small for the dtype are what it rounds them to.
    allowed = tolerance(csr, score.dtype) * expected + torch.finfo(score.dtype).smallest_normal
    assert ((got.double() - expected).abs() <= allowed).all(), case


@pytest.mark.parametrize("dtype", DTYPES)
def test_matches_a_loop_over_rows(backend: torch.device, graph: CSR, dtype: torch.dtype) -> None:
    for heads in HEADS:
        for index in INDEX_TYPES:
            check(with_index(graph, index), scores(graph, heads, dtype), backend, (heads, index))


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("graph", graphs.LARGE, indirect=True)
def test_matches_a_loop_over_rows_where_cuts_divide_them(backend: torch.device, graph: CSR) -> None:
    for heads, dtype in ((None, torch.float32), (3, torch.float64), (4, torch.bfloat16), (19, torch.float32)):
        check(graph, scores(graph, heads, dtype), backend, (heads, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_matches_a_loop_over_rows_where_they_are_taken_in_pieces(backend: torch.device, dtype: torch.dtype) -> None:
    csr = graphs.make(graphs.HUBS)
    for heads in (None, 3, 4, 40):
        for index in INDEX_TYPES:
            check(with_index(csr, index), scores(csr, heads, dtype), backend, (heads, index))


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 40), max_size=8), st.sampled_from(HEADS), st.sampled_from(DTYPES))
def test_matches_a_loop_over_rows_of_any_length(lengths: list[int], heads: int | None, dtype: torch.dtype) -> None:
    indptr = torch.tensor([0, *np.cumsum(lengths, dtype=int)])
    csr = CSR(indptr, torch.zeros(int(indptr[-1]), dtype=torch.int64), None, (len(lengths), 1))
    check(csr, scores(csr, heads, dtype), torch.device("cpu"), "")


def test_row_pointers_alone_are_enough(backend: torch.device) -> None:
    csr = graphs.make("random")
    score = scores(csr, 4, torch.float32).to(backend)
    csr = csr.to(backend)
    assert torch.equal(ops.segment_softmax(csr.indptr, score), ops.segment_softmax(csr, score))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exp_is_right_to_two_units_in_the_last_place(backend: torch.device, dtype: torch.dtype) -> None:
    """Where the other entry's share is 1 to the last digit, an entry's share is exp of the difference."""
    kind = torch.finfo(dtype)
    low, high = (-87.0, -18.0) if dtype == torch.float32 else (-700.0, -38.0)
    x = torch.linspace(low, high, 200_001, dtype=torch.float64).to(dtype)
    pairs = torch.stack([torch.zeros_like(x), x], 1).flatten().to(backend)
    got = ops.segment_softmax(torch.arange(0, 2 * len(x) + 1, 2, device=backend), pairs).cpu()[1::2]
    exact = torch.from_numpy(np.exp(x.numpy().astype(np.longdouble)).astype(np.float64))
    # np.exp in long double, so that float64 can be judged too: rounding the oracle costs another half.
    assert ((got.double() - exact).abs() <= (2.5 if dtype == torch.float64 else 2) * kind.eps * exact).all()


def test_shares_below_the_normal_numbers_fade_out(backend: torch.device) -> None:
    x = torch.linspace(-120, -80, 4001, device=backend)
    pairs = torch.stack([torch.zeros_like(x), x], 1).flatten()
    got = ops.segment_softmax(torch.arange(0, 2 * len(x) + 1, 2, device=backend), pairs)[1::2]
    expected = x.double().exp()
    assert ((got.double() - expected).abs() <= 2e-7 * expected + 2e-45).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_largest_scores_there_are(backend: torch.device, dtype: torch.dtype) -> None:
    most = torch.finfo(dtype).max
    score = torch.tensor([most, -most, most, -most, -most, 0.0], dtype=dtype, device=backend)
    got = ops.segment_softmax(torch.tensor([0, 3, 5, 6], device=backend), score)
    assert got.tolist() == [0.5, 0.0, 0.5, 0.5, 0.5, 1.0]


@pytest.mark.parametrize("heads", [1, 3, 8, 20])
def test_minus_infinity_masks(backend: torch.device, heads: int) -> None:
    """An entry, and a whole row: as if it had no entries."""
    for name in ("random", "one_hub"):
        csr = graphs.make(name)
        score = scores(csr, heads, torch.float32)
        masked = torch.rand(score.shape, generator=torch.Generator().manual_seed(1)) < 0.5
        masked[csr.row_index() % 3 == 0] = True
        got = ops.segment_softmax(csr.to(backend), score.masked_fill(masked, -torch.inf).to(backend)).cpu()
        assert (got[masked] == 0).all()
        expected = reference.segment_softmax(csr, score.double().masked_fill(masked, -torch.inf))
        torch.testing.assert_close(got.double(), expected, rtol=1e-3, atol=1e-6)
        assert expected[~masked].all()


@pytest.mark.parametrize("heads", [1, 3, 8, 20])
@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_nan_and_infinity_make_their_row_and_head_nan(backend: torch.device, heads: int, wrong: float) -> None:
    for name in ("random", "one_hub"):
        csr = graphs.make(name)
        score = scores(csr, heads, torch.float32)
        entry, head = csr.nnz // 2, heads // 2
        score[entry, head] = wrong
        got = ops.segment_softmax(csr.to(backend), score.to(backend)).cpu()
        expected = torch.zeros(score.shape, dtype=torch.bool)
        row = csr.row_index()
        expected[row == row[entry], head] = True
        assert torch.equal(got.isnan(), expected)


@pytest.mark.parametrize("heads", [None, 1, 4, 5])
def test_derivatives(backend: torch.device, heads: int | None) -> None:
    indptr = torch.tensor([0, 0, 3, 4, 10, 10], device=backend)
    shape = (10,) if heads is None else (10, heads)
    score = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(backend)
    softmax = partial(ops.segment_softmax, indptr)
    assert torch.autograd.gradcheck(softmax, score.requires_grad_())
    assert torch.autograd.gradgradcheck(softmax, score)


def test_third_derivatives() -> None:
    indptr = torch.tensor([0, 3, 7])

    def first(score: torch.Tensor) -> torch.Tensor:
        out = ops.segment_softmax(indptr, score).pow(2).sum()
        return torch.autograd.grad(out, score, create_graph=True)[0]

    score = torch.linspace(-1, 2, 14, dtype=torch.float64).sin().view(7, 2).requires_grad_()
    assert torch.autograd.gradgradcheck(first, score)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("graph", [*graphs.SMALL, *graphs.LARGE, graphs.HUBS], indirect=True)
def test_gradients_are_those_of_the_reference(backend: torch.device, graph: CSR) -> None:
    csr = graph.to(backend)
    for heads in (1, 3, 8, 17):
        score = scores(graph, heads, torch.float64).to(backend).requires_grad_()
        sensitivity = torch.linspace(-1, 2, score.numel(), dtype=torch.float64, device=backend).view(score.shape)
        (ours,) = torch.autograd.grad(ops.segment_softmax(csr, score), score, sensitivity)
        (theirs,) = torch.autograd.grad(reference.segment_softmax(csr, score), score, sensitivity)
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_gradients_in_narrow_types(backend: torch.device, dtype: torch.dtype) -> None:
    csr = graphs.make("random").to(backend)
    for heads in (None, 3, 8, 17):
        score = scores(csr, heads, dtype).to(backend).requires_grad_()
        sensitivity = torch.linspace(-1, 2, score.numel(), device=backend).view(score.shape).to(dtype)
        (ours,) = torch.autograd.grad(ops.segment_softmax(csr, score), score, sensitivity)
        (theirs,) = torch.autograd.grad(reference.segment_softmax(csr, score), score, sensitivity)
        assert ours.dtype == dtype
        torch.testing.assert_close(ours, theirs, rtol=8 * torch.finfo(dtype).eps, atol=8 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("graph", graphs.LARGE, indirect=True)
def test_results_do_not_depend_on_the_threads(backend: torch.device, graph: CSR, dtype: torch.dtype) -> None:
    if backend.type != "cpu":
        pytest.skip("threads are the CPU's")

    def everything() -> list[torch.Tensor]:
        results = []
        for heads in (1, 3, 18):
            score = scores(graph, heads, dtype)
            out = ops.segment_softmax(graph, score)
            results += [out, torch.ops.gnas_ext.segment_softmax_backward(graph.indptr, out, score)]
        return results

    alone = everything()
    for threads in (2, 3):
        torch.set_num_threads(threads)
        for got, expected in zip(everything(), alone, strict=True):
            assert torch.equal(got, expected)


def test_strided_scores_mean_the_same(backend: torch.device) -> None:
    csr = graphs.make("random").to(backend)
    score = scores(csr, 6, torch.float32).to(backend)
    assert torch.equal(ops.segment_softmax(csr, score.T.contiguous().T), ops.segment_softmax(csr, score))


@pytest.mark.parametrize("index", INDEX_TYPES)
@pytest.mark.parametrize(
    ("indptr", "message"),
    [
        ([0, 3, 2, 5], "indptr decreases at 2: 3 then 2"),
        ([0, 2, 2, 2_000_000_000], "indptr ends at 2000000000, but there are 5"),
        ([0, 2], "indptr ends at 2, but there are 5"),
        ([-1, 2, 5], "indptr[0] is -1, expected 0"),
    ],
)
def test_bad_row_pointers(backend: torch.device, index: torch.dtype, indptr: list[int], message: str) -> None:
    if backend.type != "cpu":
        pytest.skip("on CUDA the kernel traps, which ends the process's context")
    for op, more in (("segment_softmax", ()), ("segment_softmax_backward", (torch.ones(5),))):
        with pytest.raises(RuntimeError) as error:
            getattr(torch.ops.gnas_ext, op)(torch.tensor(indptr, dtype=index), torch.ones(5), *more)
        assert f"{op}: {message}" in str(error.value)


def test_says_what_was_expected_and_what_came() -> None:
    csr = graphs.make("random")
    for score, kind, message in (
        (torch.ones(3, 2, 1), ValueError, "expected score of shape [nnz] or [nnz, heads], got [3, 2, 1]"),
        (torch.ones(3), ValueError, "expected score of shape [600] or [600, heads], got [3]"),
        (torch.ones(600).long(), TypeError, "expected score in float32, float64, bfloat16 or float16, got torch.int64"),
        (torch.ones(600, device="meta"), ValueError, "score is on meta, the graph on cpu: move one with .to()"),
    ):
        with pytest.raises(kind) as error:
            ops.segment_softmax(csr, score)
        assert str(error.value) == f"segment_softmax: {message}"
    with pytest.raises(TypeError, match=r"expected indptr in int32 or int64, got torch\.float32"):
        ops.segment_softmax(csr.indptr.float(), torch.ones(600))


def test_compiles_in_one_graph() -> None:
    csr = graphs.make("random")

    def step(score: torch.Tensor) -> torch.Tensor:
        return ops.segment_softmax(csr, torch.tanh(score)).square().sum()

    torch.compiler.reset()
    compiled = torch.compile(step, fullgraph=True, dynamic=True, backend="aot_eager")
    for heads in (2, 5):
        score = scores(csr, heads, torch.float64).requires_grad_()
        got, expected = compiled(score), step(score)
        torch.testing.assert_close(got, expected)
        torch.testing.assert_close(torch.autograd.grad(got, score), torch.autograd.grad(expected, score))


def test_keeps_its_dtype_under_autocast() -> None:
    csr = graphs.make("random")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for dtype in DTYPES:
            assert ops.segment_softmax(csr, scores(csr, 2, dtype)).dtype == dtype
