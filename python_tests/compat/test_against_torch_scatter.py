"""Does it agree with torch-scatter itself? Everything it documents, where it is installed (make install-bench)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from gnas_ext.compat import torch_scatter as ours
from python_tests.compat.cases import SCATTER, SEGMENTS, Case

if TYPE_CHECKING:
    from collections.abc import Callable

theirs: Any = pytest.importorskip(
    "torch_scatter", reason="torch-scatter is not installed: make install-bench (5 minutes)"
)

SIMPLE = ("scatter_sum", "scatter_add", "scatter_mul", "scatter_mean", "scatter_min", "scatter_max")
COMPOSITE = ("scatter_softmax", "scatter_log_softmax", "scatter_logsumexp", "scatter_std")
CSR = ("segment_sum_csr", "segment_add_csr", "segment_mean_csr", "segment_min_csr", "segment_max_csr")
COO = ("segment_sum_coo", "segment_add_coo", "segment_mean_coo", "segment_min_coo", "segment_max_coo")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def tensors(result: Any) -> list[torch.Tensor]:
    return list(result) if isinstance(result, tuple) else [result]


def check(
    name: str,
    case: Case,
    *arguments: Any,
    out: torch.Tensor | None = None,
    gradient: bool = True,
    **options: Any,
) -> None:
    """Values, places and gradients alike; with `out`, what is in it afterwards too."""
    results, gradients = [], []
    for module in (theirs, ours):
        src = case.src.clone(memory_format=torch.preserve_format)
        into = {} if out is None else {"out": out.clone()}
        if src.is_floating_point() and out is None and gradient:
            src.requires_grad_()
        got = tensors(getattr(module, name)(src, *arguments, **into, **options))
        results.append([*got, *into.values()])
        if src.requires_grad:
            sensitivity = torch.cos(torch.arange(got[0].numel())).reshape(got[0].shape).to(got[0].dtype)
            gradients.append(torch.autograd.grad(got[0], src, sensitivity)[0])
    for their, our in zip(*results, strict=True):
        assert our.dtype == their.dtype
        torch.testing.assert_close(our, their, rtol=1e-10, atol=1e-10, equal_nan=True)
    if gradients:
        torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-9, atol=1e-9, equal_nan=True)


def test_has_every_name() -> None:
    names = {name for name in theirs.__all__ if not name.startswith("__") and name != "torch_scatter"}
    assert names == set(ours.__all__)


@pytest.mark.parametrize("name", SIMPLE)
@pytest.mark.parametrize("case", SCATTER)
def test_scatter(case: str, name: str) -> None:
    given = SCATTER[case]
    check(name, given, given.place, given.dim)
    check(name, given, given.place, given.dim, dim_size=12)


@pytest.mark.parametrize("name", SIMPLE)
@pytest.mark.parametrize("case", SCATTER)
def test_scatter_into_what_is_there(case: str, name: str) -> None:
    given = SCATTER[case]
    shape = list(given.src.shape)
    shape[given.dim] = 10
    out = torch.arange(given.src.new_empty(shape).numel()).remainder(7).reshape(shape).to(given.src.dtype) - 3
    check(name, given, given.place, given.dim, out=out)


@pytest.mark.parametrize("name", COMPOSITE)
@pytest.mark.parametrize("case", [case for case in SCATTER if SCATTER[case].src.is_floating_point()])
def test_composites(case: str, name: str) -> None:
    given = SCATTER[case]
    check(name, given, given.place, given.dim)
    check(name, given, given.place, given.dim, dim_size=12)


@pytest.mark.parametrize("unbiased", [False, True])
def test_std_with_either_divisor(unbiased: bool) -> None:
    given = SCATTER["rows without entries"]
    check("scatter_std", given, given.place, given.dim, unbiased=unbiased)


def test_logsumexp_into_what_is_there() -> None:
    given = SCATTER["rows"]
    check("scatter_logsumexp", given, given.place, given.dim, out=torch.linspace(-3, 3, 50).double().reshape(10, 5))


@pytest.mark.parametrize("reduce", ["sum", "add", "mul", "mean", "min", "max"])
def test_scatter_by_name(reduce: str) -> None:
    given = SCATTER["an index a batch"]
    check("scatter", given, given.place, given.dim, reduce=reduce)


@pytest.mark.parametrize("name", CSR)
@pytest.mark.parametrize("case", SEGMENTS)
def test_segments(case: str, name: str) -> None:
    given = SEGMENTS[case]
    if "in no segment" in case and given.src.is_floating_point():
        # Their gradient of an entry in no segment is what happened to be in memory.
        check(name, given, given.place, gradient=False)
    else:
        check(name, given, given.place)


@pytest.mark.parametrize("reduce", ["sum", "add", "mean", "min", "max"])
def test_segments_by_name_and_into_what_is_there(reduce: str) -> None:
    given = SEGMENTS["rows"]
    check("segment_csr", given, given.place, reduce=reduce)
    check("segment_csr", given, given.place, out=torch.full((4, 5), 9.0, dtype=torch.float64), reduce=reduce)


def sorted_case(case: str) -> Case:
    """Sorted along the last dimension of the index, as segment_coo wants it."""
    given = SCATTER[case]
    index = given.place.clone()
    if index.dim() == 1 and given.dim not in (0, -given.src.dim()):
        index = index.reshape(*(1 for _ in range(given.dim % given.src.dim())), -1)
    return given._replace(place=index.sort(-1)[0])


COO_CASES = (
    "one dimension",
    "rows",
    "wide rows",
    "broadcast in the first and last dimension",
    "an index a batch",
    "an index for all batches",
    "rows without entries",
    "an index an element, of rows",
    "integers",
)


@pytest.mark.parametrize("name", COO)
@pytest.mark.parametrize("case", COO_CASES)
def test_sorted_indexes(case: str, name: str) -> None:
    given = sorted_case(case)
    # Their backward refuses the index that their forward broadcast.
    gradient = given.place.shape == given.src.shape[: given.place.dim()]
    check(name, given, given.place, gradient=gradient)
    check(name, given, given.place, gradient=gradient, dim_size=12)


@pytest.mark.parametrize("reduce", ["sum", "add", "mean", "min", "max"])
def test_sorted_indexes_by_name(reduce: str) -> None:
    given = sorted_case("an index a batch")
    check("segment_coo", given, given.place, reduce=reduce)


def gather_cases() -> list[tuple[str, Callable[..., Any], Callable[..., Any], torch.Tensor, torch.Tensor]]:
    rows = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    batches = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    return [
        ("csr", theirs.gather_csr, ours.gather_csr, rows, torch.tensor([0, 3, 3, 7, 12])),
        ("csr, a batch", theirs.gather_csr, ours.gather_csr, batches, torch.tensor([[0, 2, 5, 8], [0, 0, 8, 8]])),
        ("csr, broadcast", theirs.gather_csr, ours.gather_csr, batches, torch.tensor([[0, 2, 2, 6]])),
        ("csr, integers", theirs.gather_csr, ours.gather_csr, rows.long(), torch.tensor([0, 3, 3, 7, 12])),
        ("coo", theirs.gather_coo, ours.gather_coo, rows, torch.tensor([0, 0, 1, 3, 3, 3])),
        ("coo, a batch", theirs.gather_coo, ours.gather_coo, batches, torch.tensor([[0, 0, 1, 2], [1, 1, 1, 2]])),
        ("coo, integers", theirs.gather_coo, ours.gather_coo, rows.long(), torch.tensor([0, 0, 1, 3, 3, 3])),
    ]


@pytest.mark.parametrize("case", gather_cases(), ids=lambda case: case[0])
def test_gathers(
    case: tuple[str, Callable[..., Any], Callable[..., Any], torch.Tensor, torch.Tensor],
) -> None:
    _, their, our, src, index = case
    results, gradients = [], []
    for function in (their, our):
        x = src.clone().requires_grad_(src.is_floating_point())
        out = function(x, index)
        results.append(out)
        into = torch.full_like(out, 7)
        assert function(src, index, into) is into or torch.equal(function(src, index, into), into)
        torch.testing.assert_close(into, out.detach())
        if src.is_floating_point():
            gradients.append(torch.autograd.grad(out, x, torch.cos(torch.arange(out.numel()).double()).view_as(out)))
    torch.testing.assert_close(results[1], results[0])
    if gradients:
        torch.testing.assert_close(gradients[1], gradients[0])


def test_empty_inputs() -> None:
    nothing = torch.empty(0, dtype=torch.int64)
    for name in SIMPLE:
        check(name, Case(torch.empty(0, 3, dtype=torch.float64), nothing, 0), nothing, 0, dim_size=4)
