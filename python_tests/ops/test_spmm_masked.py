"""spmm under a mask, and over a list of rows: values, and gradients to x, the weights and scores."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest
import torch

from gnas_ext import CSR, ops
from gnas_ext.ops import reference
from python_tests import graphs
from python_tests.emulated import refused
from python_tests.ops.oracle import DTYPES, REDUCES, expected_spmm

if TYPE_CHECKING:
    from gnas_ext.ops.spmm import Reduce


def some(nnz: int, share: float = 0.5) -> torch.Tensor:
    return torch.rand(nnz, generator=torch.Generator().manual_seed(7)) < share


def numbers(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_matches_the_reference(backend: torch.device, graph: CSR, dtype: torch.dtype) -> None:
    csr = graph.with_weight(numbers(graph.nnz, dtype=dtype))
    mask, x = some(csr.nnz), numbers(csr.cols, 17, dtype=dtype)
    left = CSR(*reference.select_edges(csr, mask)[:2], csr.weight[mask], csr.shape)  # type: ignore[index]
    there, there_x = csr.to(backend), x.to(backend)
    for reduce in REDUCES:
        expected = expected_spmm(left, x, reduce)
        for form in (mask, ops.pack_mask(mask)):
            expected.check(ops.spmm_masked(there, there_x, form.to(backend), reduce), reduce)
        expected.check(reference.spmm_masked(csr, x, mask, reduce), reduce)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("graph", graphs.LARGE, indirect=True)
def test_is_spmm_of_the_compacted_graph(backend: torch.device, graph: CSR) -> None:
    csr = graph.with_weight(numbers(graph.nnz, dtype=torch.float32)).to(backend)
    mask, x = some(csr.nnz, 0.3).to(backend), numbers(csr.cols, 40, dtype=torch.float32).to(backend)
    assert torch.equal(ops.spmm_masked(csr, x, mask), ops.spmm(csr.masked(mask), x))
    back = csr.t()
    y = numbers(csr.rows, 16, dtype=torch.float32).to(backend)
    assert torch.equal(ops.spmm_masked(back, y, mask), ops.spmm(back.masked(mask), y))


def test_heads(backend: torch.device) -> None:
    graph = graphs.make("random")
    mask, x = some(graph.nnz).to(backend), numbers(graph.cols, 2, 3).to(backend)
    csr = graph.with_weight(numbers(graph.nnz, 2)).to(backend)
    dropped = csr.with_weight(csr.weight * mask.unsqueeze(1))  # type: ignore[operator]
    torch.testing.assert_close(ops.spmm_masked(csr, x, mask), ops.spmm(dropped, x))


@pytest.mark.parametrize("reduce", REDUCES)
def test_derivatives(backend: torch.device, reduce: Reduce) -> None:
    graph = CSR.from_coo(torch.tensor([3, 0, 0, 3, 2, 1]), torch.tensor([1, 1, 1, 0, 4, 2]), None, (5, 5)).to(backend)
    mask = torch.tensor([True, False, True, True, True, False], device=backend)
    weight, x = numbers(6).to(backend).requires_grad_(), numbers(5, 3).to(backend).requires_grad_()

    def call(weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return ops.spmm_masked(graph.with_weight(weight), x, mask, reduce)

    assert torch.autograd.gradcheck(call, (weight, x), check_forward_ad=reduce in ("sum", "mean"))
    assert torch.autograd.gradgradcheck(call, (weight, x))


@pytest.mark.parametrize("graph", [*graphs.SMALL, "one_hub"], indirect=True)
def test_gradients_are_those_of_the_reference(backend: torch.device, graph: CSR) -> None:
    mask = some(graph.nnz).to(backend)
    for csr, width in ((graph.to(backend), 5), (graph.to(backend).t(), 6)):
        stored = numbers(csr.nnz).to(backend).requires_grad_()
        x = numbers(csr.cols, width).to(backend).requires_grad_()
        own = CSR._unchecked(csr._structure, stored, csr.shape, csr._kept)
        by_entry = mask if csr.edge is None else mask[csr.edge.long()]
        for reduce in ("sum", "mean"):
            sensitivity = numbers(csr.rows, width).to(backend)
            ours = torch.autograd.grad(ops.spmm_masked(own, x, mask, reduce), (stored, x), sensitivity)
            theirs = torch.autograd.grad(reference.spmm_masked(own, x, by_entry, reduce), (stored, x), sensitivity)
            for got, expected in zip(ours, theirs, strict=True):
                torch.testing.assert_close(got, expected)


def test_the_gradient_sorts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    csr = graphs.make("random").to()
    csr.transposed_structure()

    def sort(*_: object) -> None:
        raise AssertionError("sorted")

    for module in ("gnas_ext.ops.spmm", "gnas_ext.graph.csr"):  # by name: gnas_ext.ops.spmm is the function
        monkeypatch.setattr(sys.modules[module], "transpose", sort)
    mask, x = some(csr.nnz), numbers(csr.cols, 4).requires_grad_()
    for out in (ops.spmm(csr.masked(mask), x), ops.spmm_masked(csr, x, mask)):
        (gradient,) = torch.autograd.grad(out.square().sum(), x)
        assert gradient.any()


def test_scores_get_the_gradient_that_the_mask_would_have(backend: torch.device) -> None:
    """Every edge's, a masked one's too; that of a mask of numbers times the weights."""
    graph = graphs.make("random")
    csr, weight = graph.to(backend), numbers(graph.nnz).to(backend)
    x, sensitivity = numbers(csr.cols, 4).to(backend), numbers(csr.rows, 4).to(backend)
    scores = numbers(csr.nnz).to(backend).requires_grad_()
    mask = scores > 0
    (got,) = torch.autograd.grad(ops.spmm_masked(csr.with_weight(weight), x, mask, scores=scores), scores, sensitivity)
    soft = mask.double().requires_grad_()
    (expected,) = torch.autograd.grad(reference.spmm(csr.with_weight(weight * soft), x), soft, sensitivity)
    torch.testing.assert_close(got, expected)
    assert got[~mask].any()
    lower = scores.detach().float().requires_grad_()
    (got,) = torch.autograd.grad(ops.spmm_masked(csr.with_weight(weight), x, mask, scores=lower), lower, sensitivity)
    assert got.dtype == torch.float32


def test_scores_over_heads_and_a_mean(backend: torch.device) -> None:
    graph = graphs.make("random")
    mask, scores = some(graph.nnz).to(backend), numbers(graph.nnz).to(backend).requires_grad_()
    csr, x = graph.with_weight(numbers(graph.nnz, 2)).to(backend), numbers(graph.cols, 2, 3).to(backend)
    (got,) = torch.autograd.grad(ops.spmm_masked(csr, x, mask, "mean", scores).sum(), scores)
    degree = reference.select_edges(graph, mask.cpu())[0].diff().clamp(min=1).to(backend)
    soft = mask.double().requires_grad_()
    held = csr.with_weight(csr.weight * soft.unsqueeze(1) / degree[csr.row_index()].unsqueeze(1))  # type: ignore[operator]
    (expected,) = torch.autograd.grad(ops.spmm(held, x).sum(), soft)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("reduce", REDUCES)
def test_active_rows(backend: torch.device, reduce: Reduce) -> None:
    graph = graphs.make("random").to(backend)
    rows = torch.tensor([80, 3, 3, 0], device=backend)
    weight, x = numbers(graph.nnz).to(backend).requires_grad_(), numbers(graph.cols, 5).to(backend).requires_grad_()
    csr = graph.with_weight(weight)
    got, expected = ops.spmm_active(csr, x, rows, reduce), ops.spmm(csr, x, reduce)[rows]
    torch.testing.assert_close(got, expected)
    sensitivity = numbers(4, 5).to(backend)
    ours, theirs = (torch.autograd.grad(out, (weight, x), sensitivity) for out in (got, expected))
    torch.testing.assert_close(ours, theirs)


def test_compiles_in_one_graph() -> None:
    graph = graphs.make("random").to()
    graph.transposed_structure()
    mask = some(graph.nnz)

    def layer(weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return ops.spmm_masked(graph.with_weight(weight), torch.tanh(x), mask, "mean").sin().sum()

    torch.compiler.reset()
    step = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
    weight, x = numbers(graph.nnz).requires_grad_(), numbers(graph.cols, 7).requires_grad_()
    got, expected = step(weight, x), layer(weight, x)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(*(torch.autograd.grad(out, (weight, x)) for out in (got, expected)))


def test_vmap_goes_over_features_and_weights() -> None:
    graph = graphs.make("random")
    mask, x, weight = some(graph.nnz), numbers(3, graph.cols, 4), numbers(3, graph.nnz, 1)[..., 0]

    def call(weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return ops.spmm_masked(graph.with_weight(weight), x, mask)

    expected = torch.stack([call(w, one) for w, one in zip(weight, x, strict=True)])
    torch.testing.assert_close(torch.func.vmap(call)(weight, x), expected)
    torch.testing.assert_close(torch.func.vmap(partial(call, weight[0]))(x)[2], call(weight[0], x[2]))
    gradient = torch.func.grad(lambda w: call(w, x[0]).square().sum())
    torch.testing.assert_close(torch.func.vmap(gradient)(weight)[1], gradient(weight[1]))


def test_under_autocast_it_runs_in_the_lower_precision() -> None:
    graph = graphs.make("random")
    mask, x = some(graph.nnz), numbers(graph.cols, 4, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert ops.spmm_masked(graph, x, mask).dtype == torch.bfloat16


def test_what_is_refused() -> None:
    csr = graphs.make("random")
    mask, x = some(csr.nnz), torch.ones(csr.cols, 4)
    with pytest.raises(ValueError, match=r"expected mask of shape \[600\] in bool, or packed, got \[599\]"):
        ops.spmm_masked(csr, x, mask[1:])
    with pytest.raises(TypeError, match=r"spmm_masked: expected mask in uint8, got torch.float32"):
        ops.spmm_masked(csr, x, mask.float())
    with pytest.raises(ValueError, match=r"spmm_masked: expected scores of shape \[600\], got \[3\]"):
        ops.spmm_masked(csr, x, mask, scores=torch.ones(3))
    with pytest.raises(ValueError, match="spmm_masked: scores have no gradient under max"):
        ops.spmm_masked(csr, x, mask, "max", scores=torch.ones(600))
    with pytest.raises(ValueError, match=r"spmm: expected x of shape \[70, width\]"):
        ops.spmm_masked(csr, x[1:], mask)
    with pytest.raises(NotImplementedError, match="scores have no forward-mode derivative"):
        torch.func.jvp(lambda s: ops.spmm_masked(csr, x, mask, scores=s), (torch.ones(600),), (torch.ones(600),))
    with pytest.raises(RuntimeError, match=refused(r"rows\[0\] is none of the graph's 90 rows")):
        ops.spmm_active(csr, x, torch.tensor([90]))
