"""scatter, its plan, its winners, index_reduce and gather_rows: values, gradients, and what they refuse."""

from __future__ import annotations

from functools import cache, partial
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext import ops
from gnas_ext.ops import reference
from gnas_ext.ops.sort_index import sort_index
from python_tests.ops.oracle import DTYPES, INDEX_TYPES, REDUCES

if TYPE_CHECKING:
    from gnas_ext.ops.spmm import Reduce


@cache
def drawn(name: str) -> tuple[torch.Tensor, int]:
    """An index and the number of rows that it sends to."""
    random = torch.Generator().manual_seed(len(name))

    def entries(high: int, count: int) -> torch.Tensor:
        return torch.randint(high, (count,), generator=random)

    match name:
        case "nothing":
            return entries(1, 0), 4
        case "unsorted":
            return entries(50, 400), 60
        case "sorted":
            return entries(50, 400).sort()[0], 60
        case "one row":
            return entries(1, 300), 1
        # Large enough for several threads.
        case "many rows":
            return entries(3000, 20_000), 3000
        case "one hub":  # no cut between rows gives two threads as much to do: columns are divided
            return torch.where(entries(10, 20_000) > 0, 7, entries(3000, 20_000)), 3000
    raise ValueError(f"no index named {name}")


SMALL = ("nothing", "unsorted", "sorted", "one row")
LARGE = ("many rows", "one hub")


@cache
def features(count: int, width: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(count + width)).to(dtype)


@cache
def exact(name: str, width: int, dtype: torch.dtype, reduce: Reduce) -> torch.Tensor:
    index, size = drawn(name)
    return reference.scatter(features(len(index), width, dtype).double(), index, size, reduce)


def check(got: torch.Tensor, name: str, width: int, dtype: torch.dtype, reduce: Reduce) -> None:
    assert got.dtype == dtype
    kind = torch.finfo(dtype)
    most = max(int(drawn(name)[0].bincount(minlength=1).max()), 1) if len(drawn(name)[0]) else 1
    sums = torch.finfo(torch.float64 if dtype == torch.float64 else torch.float32).eps * most
    torch.testing.assert_close(got.double().cpu(), exact(name, width, dtype, reduce), rtol=kind.eps, atol=30 * sums)


@pytest.mark.parametrize("planned", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SMALL)
def test_matches_the_reference(backend: torch.device, name: str, dtype: torch.dtype, planned: bool) -> None:
    for index_type in INDEX_TYPES:
        index, size = drawn(name)[0].to(backend, index_type), drawn(name)[1]
        plan = ops.ScatterPlan(index, size) if planned else None
        for width, reduce in product((1, 7, 16, 17, 64, 100), REDUCES):
            src = features(len(index), width, dtype).to(backend)
            check(ops.scatter(src, index, size, reduce, plan), name, width, dtype, reduce)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("planned", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LARGE)
def test_matches_the_reference_with_two_threads(
    backend: torch.device, name: str, dtype: torch.dtype, planned: bool
) -> None:
    index, size = drawn(name)[0].to(backend), drawn(name)[1]
    plan = ops.ScatterPlan(index, size) if planned else None
    for width, reduce in product((1, 5, 40), REDUCES):
        src = features(len(index), width, dtype).to(backend)
        check(ops.scatter(src, index, size, reduce, plan), name, width, dtype, reduce)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LARGE)
def test_results_do_not_depend_on_the_threads(backend: torch.device, name: str, dtype: torch.dtype) -> None:
    if backend.type != "cpu":
        pytest.skip("threads are the CPU's")
    index, size = drawn(name)
    src, numbers = features(len(index), 40, dtype), features(len(index), 1, dtype)

    def everything() -> list[torch.Tensor]:
        found = [ops.scatter(src, index, size, reduce, plan) for reduce in REDUCES for plan in (None, PLANS[name])]
        found += [ops.scatter(numbers, index, size, reduce) for reduce in REDUCES]
        return [*found, *sort_index(index, size), ops.gather_rows(src[:size], index)]

    PLANS = {name: ops.ScatterPlan(index, size)}
    alone = everything()
    for threads in (2, 3, 5):
        torch.set_num_threads(threads)
        assert all(torch.equal(got, want) for got, want in zip(everything(), alone, strict=True))


@pytest.mark.parametrize("name", LARGE)
def test_without_a_plan_rows_add_up_in_the_order_of_the_entries(name: str) -> None:
    index, size = drawn(name)
    for width in (1, 40):
        src = features(len(index), width, torch.float32)
        one_by_one = torch.zeros(size, width).index_add_(0, index, src)  # with one thread, in order
        assert torch.equal(ops.scatter(src, index, size), one_by_one)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.integers(0, 9), max_size=50),
    st.integers(0, 20),
    st.sampled_from(DTYPES),
    st.sampled_from(INDEX_TYPES),
    st.sampled_from(REDUCES),
    st.booleans(),
)
def test_matches_the_reference_on_any_index(
    rows: list[int], width: int, dtype: torch.dtype, index_type: torch.dtype, reduce: Reduce, planned: bool
) -> None:
    index = torch.tensor(rows, dtype=index_type)
    src = features(len(rows), width, dtype)
    plan = ops.ScatterPlan(index, 10) if planned else None
    want = reference.scatter(src.double(), index, 10, reduce)
    got = ops.scatter(src, index, 10, reduce, plan).double()
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(got, want, rtol=4 * eps, atol=1e-14 if dtype == torch.float64 else 2e-5)


@pytest.mark.parametrize("planned", [False, True])
@pytest.mark.parametrize("reduce", ["max", "min"])
@pytest.mark.parametrize("name", [*SMALL, *LARGE])
def test_the_first_of_the_best_wins(backend: torch.device, name: str, reduce: Reduce, planned: bool) -> None:
    index, size = drawn(name)
    src = features(len(index), 9, torch.float32).round()
    plan = ops.ScatterPlan(index.to(backend), size) if planned else None
    value, arg = (t.cpu() for t in ops.scatter_arg(src.to(backend), index.to(backend), size, reduce, plan))
    assert arg.dtype == torch.int64
    assert torch.equal(value, reference.scatter(src, index, size, reduce))
    full = index.unsqueeze(1).expand_as(src)
    entry = torch.where(src == value[index], torch.arange(len(index)).unsqueeze(1), len(index))
    first = torch.full_like(arg, len(index)).scatter_reduce(0, full, entry, "amin")
    assert torch.equal(torch.where(first == len(index), -1, first), arg)


@pytest.mark.parametrize("reduce", REDUCES)
def test_an_index_an_element(backend: torch.device, reduce: Reduce) -> None:
    src = features(60, 12, torch.float64)
    index = torch.randint(7, src.shape, generator=torch.Generator().manual_seed(0))
    want = torch.stack([reference.scatter(src[:, f : f + 1], index[:, f], 9, reduce)[:, 0] for f in range(12)], 1)
    got = ops.scatter(src.to(backend), index.to(backend), 9, reduce).cpu()
    torch.testing.assert_close(got, want)
    deep = ops.scatter(src.reshape(60, 3, 4).to(backend), index.reshape(60, 3, 4).to(backend), 9, reduce)
    assert torch.equal(deep.cpu().reshape(9, 12), got)
    if reduce in ("max", "min"):
        value, arg = (t.cpu() for t in ops.scatter_arg(src.to(backend), index.to(backend), 9, reduce))
        assert torch.equal(src.gather(0, arg.clamp(min=0)).where(arg >= 0, 0), value)
        assert torch.equal(index.gather(0, arg.clamp(min=0))[:7], torch.arange(7).unsqueeze(1).expand(-1, 12))


def test_the_size_is_what_the_largest_index_asks_for(backend: torch.device) -> None:
    index = torch.tensor([3, 0, 3], device=backend)
    assert ops.scatter(torch.ones(3, 2, 2, device=backend), index).shape == (4, 2, 2)
    assert ops.ScatterPlan(index).size == 4
    assert ops.scatter(torch.ones(0, 2, device=backend), index[:0]).shape == (0, 2)


def test_any_strides_mean_the_same(backend: torch.device) -> None:
    index, size = drawn("unsorted")[0].to(backend), drawn("unsorted")[1]
    src = features(len(index), 6, torch.float32).to(backend)
    want = ops.scatter(src, index, size)
    assert torch.equal(ops.scatter(src.T.contiguous().T, index, size), want)
    assert torch.equal(ops.scatter(src, index.repeat_interleave(2)[::2], size), want)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_are_summed_in_float32(backend: torch.device, dtype: torch.dtype) -> None:
    index = torch.zeros(4096, dtype=torch.int64, device=backend)
    for width, plan in product((1, 64), (None, ops.ScatterPlan(index, 2))):
        ones = torch.ones(4096, width, dtype=dtype, device=backend)
        assert ops.scatter(ones, index, 2, "sum", plan)[:, 0].tolist() == [4096, 0]
        assert ops.scatter(ones, index, 2, "mean", plan)[:, 0].tolist() == [1, 0]


@pytest.mark.parametrize("name", [*SMALL, *LARGE])
def test_a_plan_is_a_stable_sort(backend: torch.device, name: str) -> None:
    for index_type, threads in product(INDEX_TYPES, (1, 3)):
        torch.set_num_threads(threads)
        index, size = drawn(name)[0].to(index_type), drawn(name)[1]
        plan = ops.ScatterPlan(index.to(backend), size)
        assert plan.indptr.dtype == plan.perm.dtype == torch.int32
        assert torch.equal(plan.perm.cpu().long(), torch.argsort(index, stable=True))
        counts = torch.bincount(index, minlength=size)
        assert torch.equal(plan.indptr.cpu().long(), torch.cat([counts.new_zeros(1), counts.cumsum(0)]))
        assert plan.ascends == (backend.type == "cpu" and bool((index[1:] >= index[:-1]).all()))
        t_indptr, t_indices, t_edge = plan.transpose()
        got = ops.transpose(plan.indptr, plan.perm, len(index))
        assert all(torch.equal(a, b) for a, b in zip((t_indptr, t_indices, t_edge), got, strict=True))


@pytest.mark.parametrize("reduce", REDUCES)
def test_index_reduce_is_torchs(backend: torch.device, reduce: Reduce) -> None:
    index, size = drawn("unsorted")
    src, x = features(len(index), 6, torch.float64), features(size, 6, torch.float64)
    how = {"max": "amax", "min": "amin"}.get(reduce, reduce)
    want = x.scatter_reduce(0, index.unsqueeze(1).expand_as(src), src, how, include_self=True)
    for plan in (None, ops.ScatterPlan(index.to(backend), size)):
        got = ops.index_reduce(x.to(backend), index.to(backend), src.to(backend), reduce, plan)
        torch.testing.assert_close(got.cpu(), want)


def test_index_reduce_says_who_won() -> None:
    x, src = torch.tensor([[2.0], [2.0], [torch.nan], [2.0]]), torch.tensor([[2.0], [3.0], [9.0], [torch.nan], [3.0]])
    value, arg = ops.index_reduce_arg(x, torch.tensor([0, 1, 2, 3, 1]), src, "max")
    torch.testing.assert_close(value[:, 0], torch.tensor([2.0, 3.0, torch.nan, torch.nan]), equal_nan=True)
    assert arg[:, 0].tolist() == [-1, 1, -1, 3]


INDEX = torch.tensor([4, 0, 2, 2, 4, 0, 4])


def doubles(*shape: int) -> torch.Tensor:
    """Distinct values, so that max and min have a derivative."""
    count = int(torch.tensor(shape).prod())
    random = torch.Generator().manual_seed(count)
    return (torch.randperm(count, generator=random).double() / 7 - 2).reshape(shape).requires_grad_()


@pytest.mark.parametrize("kind", ["planned", "at once", "sorted", "an index an element"])
@pytest.mark.parametrize("reduce", REDUCES)
def test_gradients_of_first_and_second_order(backend: torch.device, reduce: Reduce, kind: str) -> None:
    src = doubles(7, 3).detach().to(backend).requires_grad_()
    index = {"sorted": INDEX.sort()[0], "an index an element": torch.stack([INDEX, INDEX.flip(0), INDEX], 1)}.get(
        kind, INDEX
    )
    index = index.to(backend)
    plan = ops.ScatterPlan(index, 6) if kind in ("planned", "sorted") else None
    function = partial(ops.scatter, index=index, size=6, reduce=reduce, plan=plan)
    assert torch.autograd.gradcheck(function, src)
    assert torch.autograd.gradgradcheck(function, src)


@pytest.mark.parametrize("reduce", REDUCES)
def test_gradients_of_index_reduce(reduce: Reduce) -> None:
    x, src = doubles(5, 2), (doubles(7, 2).detach() + 0.05).requires_grad_()
    function = partial(ops.index_reduce, reduce=reduce)
    assert torch.autograd.gradcheck(lambda x, src: function(x, INDEX, src), (x, src))
    assert torch.autograd.gradgradcheck(lambda x, src: function(x, INDEX, src), (x, src))


def test_gradients_of_gathering(backend: torch.device) -> None:
    x = doubles(5, 3).detach().to(backend).requires_grad_()
    function = partial(ops.gather_rows, index=INDEX.to(backend))
    assert torch.autograd.gradcheck(function, x)
    assert torch.autograd.gradgradcheck(function, x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gathering_copies_rows(backend: torch.device, dtype: torch.dtype) -> None:
    index, size = drawn("unsorted")
    for width, index_type in product((1, 5, 64), INDEX_TYPES):
        x = features(size, width, dtype)
        assert torch.equal(ops.gather_rows(x.to(backend), index.to(backend, index_type)).cpu(), x[index])


@pytest.mark.parametrize("reduce", REDUCES)
def test_compiles_in_one_graph(reduce: Reduce) -> None:
    plan = ops.ScatterPlan(INDEX, 6)
    plan.transpose()

    def step(src: torch.Tensor) -> torch.Tensor:
        out = ops.scatter(src.sin(), INDEX, 6, reduce, plan).cos()
        if reduce in ("sum", "mean"):
            out = out + ops.scatter(src, INDEX, 6, reduce)
        return ops.gather_rows(out, INDEX).mul(src).sum()

    torch.compiler.reset()
    run = torch.compile(step, fullgraph=True, dynamic=True, backend="aot_eager")
    for width in (3, 21):
        src = doubles(7, width)
        torch.testing.assert_close(run(src), step(src))
        torch.testing.assert_close(*(torch.autograd.grad(function(src), src) for function in (run, step)))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("wrong", [-1, 3000, -(2**31), 2**31 - 1])
@pytest.mark.parametrize("index_type", INDEX_TYPES)
def test_an_index_out_of_range_is_refused(
    backend: torch.device, index_type: torch.dtype, wrong: int, threads: int
) -> None:
    if backend.type != "cpu":
        pytest.skip("on CUDA an assertion fails, which ends the process's context")
    torch.set_num_threads(threads)
    for name in LARGE:
        index = drawn(name)[0].to(index_type).clone()
        index[11_111] = wrong
        for width in (1, 40):
            src = features(len(index), width, torch.float32)
            with pytest.raises(RuntimeError, match=rf"scatter: index\[11111\] is {wrong}, expected 0 or more and less"):
                ops.scatter(src, index, 3000)
            with pytest.raises(RuntimeError, match=r"gather_rows: index\[11111\] is out of bounds"):
                ops.gather_rows(src[:3000], index)
        with pytest.raises(RuntimeError, match=rf"sort_index: index\[11111\] is {wrong}, expected 0 or more and less"):
            ops.ScatterPlan(index, 3000)


def test_says_what_was_expected_and_what_came() -> None:
    src, plan = torch.ones(7, 2), ops.ScatterPlan(INDEX, 6)
    unknown: Any = "add"
    for kind, message, call in (
        (
            ValueError,
            "scatter: expected reduce in sum, mean, max, min, got 'add'",
            lambda: ops.scatter(src, INDEX, 6, unknown),
        ),
        (
            ValueError,
            "scatter_arg: expected reduce max or min, got 'sum'",
            lambda: ops.scatter_arg(src, INDEX, 6, "sum"),
        ),
        (
            TypeError,
            "scatter: expected src in float32, float64, bfloat16 or float16, got torch.int64",
            lambda: ops.scatter(src.long(), INDEX, 6),
        ),
        (
            TypeError,
            "scatter: expected index in int32 or int64, got torch.float32",
            lambda: ops.scatter(src, INDEX.float(), 6),
        ),
        (
            ValueError,
            r"scatter: expected index of shape \[7\] or of src's shape \[7, 2\], got \[6\]",
            lambda: ops.scatter(src, INDEX[1:], 6),
        ),
        (ValueError, "scatter: expected size of 0 or more, got -1", lambda: ops.scatter(src, INDEX, -1)),
        (ValueError, "scatter: src is on meta, index on cpu: move one", lambda: ops.scatter(src.to("meta"), INDEX, 6)),
        (
            ValueError,
            r"scatter: expected a plan of 7 entries and 5 rows, got ScatterPlan\(size=6",
            lambda: ops.scatter(src, INDEX, 5, "sum", plan),
        ),
        (
            ValueError,
            "scatter: a plan is for an index of shape",
            lambda: ops.scatter(src, INDEX.unsqueeze(1).expand(7, 2), 6, "sum", plan),
        ),
        (
            ValueError,
            r"ScatterPlan: expected index of shape \[entries\], got \[7, 1\]",
            lambda: ops.ScatterPlan(INDEX.unsqueeze(1)),
        ),
        (ValueError, "sort_index: expected size of 0 or more, got -1", lambda: ops.ScatterPlan(INDEX, -1)),
        (
            TypeError,
            "index_reduce: expected src in x's dtype torch.float32, got torch.float64",
            lambda: ops.index_reduce(torch.ones(6, 2), INDEX, src.double()),
        ),
        (
            ValueError,
            r"index_reduce: expected src of shape \[entries, …\] with x's \[3\], got \[7, 2\]",
            lambda: ops.index_reduce(torch.ones(6, 3), INDEX, src),
        ),
        (
            ValueError,
            r"gather_rows: expected index of shape \[entries\], got \[7, 1\]",
            lambda: ops.gather_rows(src, INDEX.unsqueeze(1)),
        ),
        (
            TypeError,
            "gather_rows: expected x in float32, float64, bfloat16 or float16, got torch.int64",
            lambda: ops.gather_rows(src.long(), INDEX),
        ),
    ):
        with pytest.raises(kind, match=message):
            call()
