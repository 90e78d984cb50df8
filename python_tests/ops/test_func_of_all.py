"""torch.func over every differentiable op: the derivatives of autograd, or a refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch.func import grad, jvp

from gnas_ext import CSR, ops

if TYPE_CHECKING:
    from collections.abc import Callable

    Function = Callable[[torch.Tensor], torch.Tensor]

_RANDOM = torch.Generator().manual_seed(0)
GRAPH = CSR.from_coo(
    torch.randint(6, (20,), generator=_RANDOM), torch.randint(5, (20,), generator=_RANDOM), None, (6, 5)
)
INDEX = torch.randint(4, (20,), generator=_RANDOM)


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=_RANDOM, dtype=torch.float64)


QUERY, X, ATT, EDGES = numbers(6, 2, 3), numbers(5, 2, 3), numbers(2, 3), numbers(20, 2)

CASES: dict[str, tuple[Function, torch.Tensor]] = {
    "segment_softmax": (lambda s: ops.segment_softmax(GRAPH, s), EDGES),
    "attention": (lambda x: ops.attention(GRAPH, QUERY, x, x), X),
    "gat": (lambda x: ops.gat(GRAPH, QUERY, x, ATT, ATT), X),
    "segment_reduce sum": (lambda s: ops.segment_reduce(s, GRAPH.indptr, "sum"), EDGES),
    "segment_reduce max": (lambda s: ops.segment_reduce(s, GRAPH.indptr, "max"), EDGES),
    "gather_segments": (lambda x: ops.gather_segments(x.flatten(1), GRAPH.t().indptr), X),
    "scatter sum": (lambda s: ops.scatter(s, INDEX, 4), EDGES),
    "scatter max": (lambda s: ops.scatter(s, INDEX, 4, "max"), EDGES),
}


def square(function: Function) -> Function:
    return lambda x: function(x).square().sum()


@pytest.mark.parametrize("case", CASES)
def test_grad_and_its_grad_are_those_of_autograd(case: str) -> None:
    function, x = square(CASES[case][0]), CASES[case][1]
    leaf = x.clone().requires_grad_()
    (first,) = torch.autograd.grad(function(leaf), leaf, create_graph=True)
    torch.testing.assert_close(grad(function)(x), first.detach())
    (second,) = torch.autograd.grad(first.square().sum(), leaf)
    torch.testing.assert_close(grad(square(grad(function)))(x), second)


def test_forward_mode_of_winners_in_any_order() -> None:
    function, x = CASES["scatter max"]
    tangent = jvp(square(function), (x,), (torch.ones_like(x),))[1]
    torch.testing.assert_close(tangent, grad(square(function))(x).sum())


@pytest.mark.parametrize("case", [case for case in CASES if case != "scatter max"])
def test_forward_mode_is_refused_instead_of_zero(case: str) -> None:
    function, x = CASES[case]
    with pytest.raises((NotImplementedError, RuntimeError), match=r"forward-mode|needs the winners"):
        jvp(square(function), (x,), (torch.ones_like(x),))


@pytest.mark.parametrize("case", CASES)
def test_vmap_is_a_call_for_each(case: str) -> None:
    function, x = CASES[case]
    batch = torch.stack([x, x + 1, -x], 1)
    elements = batch.unbind(1)
    torch.testing.assert_close(torch.vmap(function, 1)(batch), torch.stack([function(one) for one in elements]))
    slopes = torch.vmap(grad(square(function)), 1)(batch)
    torch.testing.assert_close(slopes, torch.stack([grad(square(function))(one) for one in elements]))


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_of_vmap_is_that_of_a_call_for_each(case: str) -> None:
    function, x = CASES[case]
    batch = torch.stack([x, x + 1, -x])
    leaf = batch.clone().requires_grad_()
    (slopes,) = torch.autograd.grad(torch.vmap(square(function))(leaf).sum(), leaf)
    expected = torch.stack([grad(square(function))(one) for one in batch])
    torch.testing.assert_close(slopes, expected)
    torch.testing.assert_close(grad(lambda b: torch.vmap(square(function))(b).sum())(batch), expected)


ROWS = ops.quantize_rows(X.flatten(1).float())
MASK = torch.tensor([[True, False], [False, True]])
WEIGHT = numbers(18, 20)
# Of these forward mode exists, or they stand in float32: not in CASES.
COMPRESSED: dict[str, tuple[Function, torch.Tensor]] = {
    "spmm_quantized": (lambda w: ops.spmm_quantized(GRAPH.with_weight(w), ROWS), EDGES[:, 0].float()),
    "spmm_blocks": (lambda x: ops.spmm_blocks(GRAPH, x, MASK[0]), numbers(5, 20)),
    "block_linear": (lambda x: ops.block_linear(x, WEIGHT, MASK), numbers(7, 20)),
}


@pytest.mark.parametrize("case", COMPRESSED)
def test_vmap_of_compressed_ops_is_a_call_for_each(case: str) -> None:
    function, x = COMPRESSED[case]
    batch = torch.stack([x, x + 1, -x], 1)
    elements = batch.unbind(1)
    torch.testing.assert_close(torch.vmap(function, 1)(batch), torch.stack([function(one) for one in elements]))
    slopes = torch.vmap(grad(square(function)), 1)(batch)
    torch.testing.assert_close(slopes, torch.stack([grad(square(function))(one) for one in elements]))
