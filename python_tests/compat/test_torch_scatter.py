"""torch-scatter's own documented cases, and where this differs from it on purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from gnas_ext.compat import torch_scatter as ts
from python_tests.compat.cases import SCATTER, SEGMENTS

if TYPE_CHECKING:
    from collections.abc import Callable

REDUCES = ("sum", "add", "mean", "min", "max")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_the_example_of_its_readme() -> None:
    src = torch.tensor([[2, 0, 1, 4, 3], [0, 2, 1, 3, 4]])
    index = torch.tensor([[4, 5, 4, 2, 3], [0, 0, 2, 2, 1]])
    for values in (src, src.float(), src.bfloat16()):
        out, argmax = ts.scatter_max(values, index, dim=-1)
        assert torch.equal(out, torch.tensor([[0, 0, 4, 3, 2, 0], [2, 4, 3, 0, 0, 0]]).to(values.dtype))
        assert torch.equal(argmax, torch.tensor([[5, 5, 3, 4, 0, 1], [1, 4, 3, 5, 5, 5]]))


@pytest.mark.parametrize("reduce", [*REDUCES, "mul"])
def test_the_shape_in_the_documentation_of_scatter(reduce: str) -> None:
    src, index = torch.randn(10, 6, 64), torch.tensor([0, 1, 0, 1, 2, 1])
    out = ts.scatter(src, index, dim=1, reduce=reduce)
    assert out.size() == torch.Size([10, 3, 64])
    torch.testing.assert_close(out[:, 2], src[:, 4])


@pytest.mark.parametrize("reduce", REDUCES)
def test_the_shape_in_the_documentation_of_segment_coo(reduce: str) -> None:
    src, index = torch.randn(10, 6, 64), torch.tensor([0, 0, 1, 1, 1, 2]).view(1, -1)
    out = ts.segment_coo(src, index, reduce=reduce)
    assert out.size() == torch.Size([10, 3, 64])
    torch.testing.assert_close(out[:, 2], src[:, 5])


@pytest.mark.parametrize("reduce", REDUCES)
def test_the_shape_in_the_documentation_of_segment_csr(reduce: str) -> None:
    src, indptr = torch.randn(10, 6, 64), torch.tensor([0, 2, 5, 6]).view(1, -1)
    out = ts.segment_csr(src, indptr, reduce=reduce)
    assert out.size() == torch.Size([10, 3, 64])
    torch.testing.assert_close(out[:, 2], src[:, 5])


# A value, the index of each, and what comes out of each reduction, worked out by hand.
SRC = torch.tensor([5.0, 1.0, 7.0, 2.0, 3.0, 6.0])
INDEX = torch.tensor([2, 0, 2, 0, 3, 0])
BY_HAND = {
    "sum": [9.0, 0.0, 12.0, 3.0],
    "add": [9.0, 0.0, 12.0, 3.0],
    "mul": [12.0, 1.0, 35.0, 3.0],
    "mean": [3.0, 0.0, 6.0, 3.0],
    "min": [1.0, 0.0, 5.0, 3.0],
    "max": [6.0, 0.0, 7.0, 3.0],
}
INTO_TENS = {
    "sum": [19.0, 10.0, 22.0, 13.0],
    "add": [19.0, 10.0, 22.0, 13.0],
    "mul": [120.0, 10.0, 350.0, 30.0],
    "mean": [19.0 / 3, 10.0, 11.0, 13.0],
    "min": [1.0, 10.0, 5.0, 3.0],
    "max": [10.0, 10.0, 10.0, 10.0],
}


@pytest.mark.parametrize("reduce", BY_HAND)
def test_scatter_by_hand(reduce: str) -> None:
    torch.testing.assert_close(ts.scatter(SRC, INDEX, reduce=reduce), torch.tensor(BY_HAND[reduce]))
    beyond = ts.scatter(SRC, INDEX, dim_size=5, reduce=reduce)
    assert beyond[4] == (1 if reduce == "mul" else 0)


@pytest.mark.parametrize("reduce", INTO_TENS)
def test_scatter_into_what_is_there_by_hand(reduce: str) -> None:
    out = torch.full((4,), 10.0)
    assert ts.scatter(SRC, INDEX, out=out, reduce=reduce) is out
    torch.testing.assert_close(out, torch.tensor(INTO_TENS[reduce]))


def test_positions_by_hand() -> None:
    assert ts.scatter_max(SRC, INDEX)[1].tolist() == [5, 6, 2, 4]
    assert ts.scatter_min(SRC, INDEX)[1].tolist() == [1, 6, 0, 4]
    assert ts.scatter_max(SRC, INDEX, out=torch.full((4,), 6.5))[1].tolist() == [6, 6, 2, 6]
    indptr = torch.tensor([0, 3, 3, 6])
    assert ts.segment_max_csr(SRC, indptr)[1].tolist() == [2, 6, 5]
    assert ts.segment_min_csr(SRC, indptr)[1].tolist() == [1, 6, 3]


def test_segments_by_hand() -> None:
    indptr = torch.tensor([1, 3, 3, 6])  # the first value is in no segment
    expected = {"sum": [8.0, 0, 11], "mean": [4.0, 0, 11 / 3], "min": [1.0, 0, 2], "max": [7.0, 0, 6]}
    for reduce, values in expected.items():
        torch.testing.assert_close(ts.segment_csr(SRC, indptr, reduce=reduce), torch.tensor(values))
    assert ts.gather_csr(torch.tensor([4.0, 5.0, 6.0]), indptr).tolist() == [0, 4, 4, 6, 6, 6]
    out = torch.full((6,), 9.0)
    assert ts.gather_csr(torch.tensor([4.0, 5.0, 6.0]), indptr, out) is out
    assert out.tolist() == [9, 4, 4, 6, 6, 6]
    assert ts.gather_coo(torch.tensor([4.0, 5.0, 6.0]), torch.tensor([0, 0, 2])).tolist() == [4, 4, 6]


def test_composites_by_hand() -> None:
    src, index = torch.tensor([1.0, 2.0, 3.0]).log(), torch.tensor([1, 1, 0])
    torch.testing.assert_close(ts.scatter_softmax(src, index), torch.tensor([1 / 3, 2 / 3, 1]))
    torch.testing.assert_close(ts.scatter_log_softmax(src, index), torch.tensor([1 / 3, 2 / 3, 1]).log())
    torch.testing.assert_close(ts.scatter_logsumexp(src, index, dim_size=3), torch.tensor([3.0, 3.0, 1.0]).log())
    values = torch.tensor([1.0, 3.0, 5.0])
    torch.testing.assert_close(ts.scatter_std(values, index), torch.tensor([0.0, 2.0**0.5]))
    torch.testing.assert_close(ts.scatter_std(values, index, unbiased=False), torch.tensor([0.0, 1.0]))


FLOATING = [case for case in SCATTER if SCATTER[case].src.is_floating_point() and SCATTER[case].src.numel() < 200]
FUNCTIONS: list[Callable[..., torch.Tensor]] = [
    ts.scatter_sum,
    ts.scatter_mean,
    ts.scatter_mul,
    ts.scatter_softmax,
    ts.scatter_log_softmax,
    ts.scatter_logsumexp,
    lambda *a: ts.scatter_max(*a)[0],
    lambda *a: ts.scatter_min(*a)[0],
]


@pytest.mark.parametrize("function", range(len(FUNCTIONS)))
@pytest.mark.parametrize("case", FLOATING)
def test_gradients_of_second_order(case: str, function: int) -> None:
    """torch-scatter returns wrong ones for segment_csr's mean, without an error."""
    src, index, dim = SCATTER[case]
    src = src.clone().requires_grad_()

    def of_src(x: torch.Tensor) -> torch.Tensor:
        return FUNCTIONS[function](x, index, dim)

    assert torch.autograd.gradcheck(of_src, src, fast_mode=True)
    assert torch.autograd.gradgradcheck(of_src, src, fast_mode=True)


@pytest.mark.parametrize("reduce", ["sum", "mean", "min", "max"])
@pytest.mark.parametrize("case", ["rows", "pointers a batch", "entries in no segment, pointers a batch"])
def test_gradients_of_segments(case: str, reduce: str) -> None:
    src, indptr, _ = SEGMENTS[case]
    src = src.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: ts.segment_csr(x, indptr, reduce=reduce), src, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x: ts.segment_csr(x, indptr, reduce=reduce), src, fast_mode=True)


def test_the_gradient_of_a_product_with_a_zero() -> None:
    src = torch.tensor([0.0, 2.0, 3.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(ts.scatter_mul(src, torch.zeros(3, dtype=torch.int64)).sum(), src)
    assert gradient.tolist() == [6, 0, 0]


def test_nan_wins() -> None:
    out, argmax = ts.scatter_max(torch.tensor([1.0, torch.nan, 3.0]), torch.tensor([0, 0, 0]))
    assert out.isnan().all()
    assert argmax.item() == 1


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 2)])
@pytest.mark.parametrize("wrong", [-1, 5])
def test_an_index_out_of_range_does_not_reach_the_next_batch(shape: tuple[int, ...], wrong: int) -> None:
    index = torch.zeros(3, 4, dtype=torch.int64)
    index[1, 2] = wrong
    with pytest.raises(RuntimeError, match="index"):
        ts.scatter(torch.ones(shape), index, dim=1, dim_size=5)


def test_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="scatter: expected reduce in sum, add, mul, mean, min, max, got 'prod'"):
        ts.scatter(SRC, INDEX, reduce="prod")
    with pytest.raises(ValueError, match="segment_coo: expected reduce in sum, add, mean, min, max, got 'mul'"):
        ts.segment_coo(SRC, INDEX.sort()[0], reduce="mul")
    with pytest.raises(ValueError, match="segment_csr: expected reduce in sum, add, mean, min, max, got 'mul'"):
        ts.segment_csr(SRC, torch.tensor([0, 6]), reduce="mul")
    for function in (ts.scatter_softmax, ts.scatter_log_softmax, ts.scatter_logsumexp):
        with pytest.raises(ValueError, match="expected src of floating point, got torch"):
            function(SRC.long(), INDEX)
