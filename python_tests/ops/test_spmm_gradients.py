"""Gradients of spmm: of any order, to x and to the weights, through the transpose that the graph keeps."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import torch

from gnas_ext import CSR, ops
from gnas_ext.ops import reference
from python_tests import graphs
from python_tests.kept import kept_by
from python_tests.ops.oracle import REDUCES, with_index

if TYPE_CHECKING:
    from gnas_ext.ops.spmm import Reduce

# Duplicates, rows and columns without an entry, and few enough entries for gradcheck.
ROW = torch.tensor([4, 1, 1, 0, 4, 4, 2, 1, 4, 0, 2, 2])
COL = torch.tensor([0, 3, 3, 1, 4, 2, 0, 1, 4, 0, 3, 2])
SHAPE = (6, 6)


def small() -> CSR:
    return CSR.from_coo(ROW, COL, None, SHAPE)


def doubles(*shape: int, seed: int = 0) -> torch.Tensor:
    """Distinct values, so that max and min have a derivative."""
    random = torch.Generator().manual_seed(seed)
    values = torch.randperm(int(torch.tensor(shape).prod()), generator=random).double()
    return ((values - values.mean()) / 7 + 0.05).reshape(shape).requires_grad_()


def by_weight_and_x(csr: CSR, reduce: Reduce, weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return ops.spmm(csr.with_weight(weight), x, reduce)


@pytest.mark.parametrize("width", [1, 9])
@pytest.mark.parametrize("reduce", REDUCES)
def test_first_derivatives(backend: torch.device, reduce: Reduce, width: int) -> None:
    csr = small().to(backend)
    weight, x = doubles(len(ROW), seed=1).to(backend), doubles(SHAPE[1], width).to(backend)
    assert torch.autograd.gradcheck(partial(by_weight_and_x, csr, reduce), (weight, x))
    assert torch.autograd.gradcheck(partial(ops.spmm, csr, reduce=reduce), (x,))


@pytest.mark.parametrize("reduce", REDUCES)
def test_second_derivatives(backend: torch.device, reduce: Reduce) -> None:
    csr = small().to(backend)
    weight, x = doubles(len(ROW), seed=1).to(backend), doubles(SHAPE[1], 3).to(backend)
    assert torch.autograd.gradgradcheck(partial(by_weight_and_x, csr, reduce), (weight, x))
    assert torch.autograd.gradgradcheck(partial(ops.spmm, csr, reduce=reduce), (x,))


@pytest.mark.parametrize("reduce", REDUCES)
def test_third_derivatives(reduce: Reduce) -> None:
    def first(weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        out = by_weight_and_x(small(), reduce, weight, x).pow(2).sum()
        return torch.autograd.grad(out, weight, create_graph=True)[0]

    assert torch.autograd.gradgradcheck(first, (doubles(len(ROW), seed=1), doubles(SHAPE[1], 2)))


def gradients(out: torch.Tensor, csr: CSR, x: torch.Tensor) -> list[torch.Tensor]:
    assert csr.weight is not None
    sensitivity = torch.cos(torch.arange(out.numel(), device=out.device)).reshape(out.shape).to(out.dtype)
    return list(torch.autograd.grad(out, (csr.weight, x), sensitivity))


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("reduce", REDUCES)
@pytest.mark.parametrize("graph", [*graphs.SMALL, *graphs.LARGE], indirect=True)
def test_gradients_are_those_of_the_reference(backend: torch.device, graph: CSR, reduce: Reduce) -> None:
    for index, width in ((torch.int64, 5), (torch.int32, 18)):
        weight = doubles(graph.nnz, seed=2).detach() / max(graph.nnz, 1) + 1
        csr = with_index(graph, index).with_weight(weight).to(backend)
        assert csr.weight is not None
        csr.weight.requires_grad_()
        x = doubles(graph.cols, width).detach().to(backend).requires_grad_()
        got = gradients(ops.spmm(csr, x, reduce), csr, x)
        for ours, theirs in zip(got, gradients(reference.spmm(csr, x, reduce), csr, x), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("reduce", ["sum", "mean"])
def test_gradients_in_narrow_types(backend: torch.device, reduce: Reduce, dtype: torch.dtype) -> None:
    graph = graphs.make("random").to(backend)
    csr = graph.with_weight(torch.linspace(-1, 1, graph.nnz, device=backend).to(dtype).requires_grad_())
    x = torch.linspace(-2, 3, graph.cols * 16, device=backend).reshape(-1, 16).to(dtype).requires_grad_()
    ours = gradients(ops.spmm(csr, x, reduce), csr, x)
    theirs = gradients(reference.spmm(csr, x, reduce), csr, x)
    for got, expected in zip(ours, theirs, strict=True):
        assert got.dtype == dtype
        torch.testing.assert_close(got, expected, rtol=8 * torch.finfo(dtype).eps, atol=32 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("reduce", ["max", "min"])
def test_the_gradient_of_a_tie_goes_to_the_first(backend: torch.device, reduce: Reduce) -> None:
    csr = CSR(torch.tensor([0, 3]), torch.tensor([2, 0, 1])).to(backend)
    x = torch.ones(3, 20, device=backend, requires_grad=True)
    ops.spmm(csr, x, reduce).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert torch.equal(x.grad.sum(1).cpu(), torch.tensor([0.0, 0.0, 20.0]))


@pytest.mark.parametrize("reduce", REDUCES)
def test_weights_changed_in_place_after_the_transpose_was_kept(backend: torch.device, reduce: Reduce) -> None:
    csr = small().with_weight(doubles(len(ROW), seed=1).detach()).to(backend)
    assert csr.weight is not None
    csr.weight.requires_grad_()
    x = doubles(SHAPE[1], 4).to(backend)
    gradients(ops.spmm(csr, x, reduce), csr, x)
    with torch.no_grad():
        csr.weight.mul_(-0.5).add_(2)
    ours = gradients(ops.spmm(csr, x, reduce), csr, x)
    theirs = gradients(reference.spmm(csr, x, reduce), csr, x)
    for got, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(got, expected)


def test_weights_changed_between_forward_and_backward_are_refused() -> None:
    csr = small().with_weight(doubles(len(ROW), seed=1))
    assert csr.weight is not None
    x = doubles(SHAPE[1], 4)
    out = ops.spmm(csr, x)
    with torch.no_grad():
        csr.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()  # type: ignore[no-untyped-call]


def test_the_transpose_is_computed_only_for_a_gradient() -> None:
    csr, x = small(), doubles(SHAPE[1], 4)
    ops.spmm(csr, x.detach())
    with torch.no_grad():
        ops.spmm(csr, x)
    assert csr._kept == {}
    ops.spmm(csr, x)
    kept = csr.transposed_structure()
    ops.spmm(csr, x)
    assert csr.transposed_structure() is kept


def test_a_transpose_kept_in_inference_mode_serves_training() -> None:
    csr, x = small(), doubles(SHAPE[1], 4)
    with torch.inference_mode():
        csr.t()
    ops.spmm(csr, x).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None


def test_weight_gradients_need_no_square_matrix() -> None:
    nodes = 300_000  # a dense gradient would be 360 GB
    row = torch.arange(nodes)
    weight = torch.ones(nodes, requires_grad=True)
    csr = CSR.from_coo(row, row.flip(0), weight, (nodes, nodes))
    x = torch.ones(nodes, 1)
    (gradient,) = torch.autograd.grad(ops.spmm(csr, x).sum(), weight)
    assert torch.equal(gradient, torch.ones(nodes))


@pytest.mark.parametrize("edge", [None, torch.randperm(len(ROW), generator=torch.Generator().manual_seed(4))])
def test_raw_calls_without_a_transpose_make_their_own(backend: torch.device, edge: torch.Tensor | None) -> None:
    csr = small().to(backend)
    edge = None if edge is None else edge.to(backend)

    def spmm(weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = torch.ops.gnas_ext.spmm(csr.indptr, csr.indices, edge, weight, x, "mean", None, None, None)
        return out

    inputs = (doubles(len(ROW), seed=1).to(backend), doubles(SHAPE[1], 2).to(backend))
    assert torch.autograd.gradcheck(spmm, inputs)
    assert torch.autograd.gradgradcheck(spmm, inputs)


def test_raw_select_without_its_graph_has_no_gradient() -> None:
    csr = small()
    x = doubles(SHAPE[1], 2)
    select = torch.zeros(x.shape, dtype=torch.int64)
    out = torch.ops.gnas_ext.spmm_select(csr.indptr, csr.indices, None, None, x, select, None, None, None)
    with pytest.raises(RuntimeError, match="pass it as t_indptr and t_indices"):
        out.sum().backward()


@pytest.mark.parametrize("learned", [False, True])
def test_x_outlives_the_call_only_where_weights_have_a_gradient(learned: bool) -> None:
    csr = CSR(torch.tensor([0, 2, 3]), torch.tensor([0, 1, 1]), torch.ones(3, requires_grad=learned), (2, 2))
    x = torch.randn(2, 1000, requires_grad=True) * 1
    out, kept = kept_by(lambda: ops.spmm(csr, x))
    assert (x.data_ptr() in kept) == learned
    assert torch.autograd.grad(out.sum(), x)[0].shape == x.shape
