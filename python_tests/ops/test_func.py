"""Do the ops work inside torch.func: grad, jvp, vmap, and one inside the other?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from gnas_ext import CSR, ops
from python_tests.ops.oracle import REDUCES

if TYPE_CHECKING:
    from collections.abc import Callable

    from gnas_ext.ops.sddmm import Pairing
    from gnas_ext.ops.spmm import Reduce

    Function = Callable[..., torch.Tensor]

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # torch's own

forward_ad: Any = torch.autograd.forward_ad
functional: Any = torch.autograd.functional


def doubles(seed: int, *shape: int) -> torch.Tensor:
    """All distinct, so that max and min have a derivative."""
    random = torch.Generator().manual_seed(seed)
    size = torch.Size(shape).numel()
    return ((torch.randperm(size, generator=random).double() - size / 2) / 7 + 0.05).reshape(shape)


# Double entries, and a row and a column without one.
ROW, COL = torch.tensor([0, 1, 1, 1, 3, 3, 0]), torch.tensor([1, 0, 2, 2, 0, 3, 3])
ROWS, COLS, NNZ = 4, 5, 7
GRAPH = CSR.from_coo(ROW, COL, None, (ROWS, COLS))
SQUARE = CSR.from_coo(ROW, COL, doubles(9, NNZ), (ROWS, ROWS))
PLACES = torch.tensor([6, 2, 0, 1, 5, 3, 4])


def spmm(reduce: Reduce) -> Function:
    return lambda weight, x: ops.spmm(GRAPH.with_weight(weight), x, reduce)


def sddmm(op: Pairing) -> Function:
    return lambda a, b: ops.sddmm(GRAPH, a, b, op)


def propagate(x: torch.Tensor, hop_weights: torch.Tensor) -> torch.Tensor:
    return ops.propagate(SQUARE, x, hop_weights)


def raw(weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """With weights stored in another order."""
    out: torch.Tensor = torch.ops.gnas_ext.spmm(
        GRAPH.indptr, GRAPH.indices, PLACES, weight, x, "mean", None, None, None
    )
    return out


# A function of two tensors, and their shapes.
CASES: dict[str, tuple[Function, tuple[int, ...], tuple[int, ...]]] = {
    **{f"spmm {reduce}": (spmm(reduce), (NNZ,), (COLS, 3)) for reduce in REDUCES},
    **{f"spmm {reduce}, heads": (spmm(reduce), (NNZ, 2), (COLS, 2, 2)) for reduce in REDUCES},
    "spmm, places": (raw, (NNZ,), (COLS, 3)),
    "propagate": (propagate, (ROWS, 3), (4,)),
    "sddmm": (sddmm("dot"), (ROWS, 3), (COLS, 3)),
    "sddmm, heads": (sddmm("dot"), (ROWS, 2, 3), (COLS, 2, 3)),
    "sddmm add": (sddmm("add"), (ROWS, 3), (COLS, 3)),
    "sddmm mul": (sddmm("mul"), (ROWS, 3), (COLS, 3)),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Function, torch.Tensor, torch.Tensor]:
    function, first, second = CASES[request.param]
    return function, doubles(1, *first), doubles(2, *second)


def close(got: Any, expected: Any) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


Case = tuple["Function", torch.Tensor, torch.Tensor]


def test_forward_mode(case: Case) -> None:
    function, *inputs = case
    inputs = [value.requires_grad_() for value in inputs]
    assert torch.autograd.gradcheck(
        function, inputs, check_forward_ad=True, check_batched_grad=True, check_batched_forward_grad=True
    )


def test_forward_over_backward(case: Case) -> None:
    function, *inputs = case
    inputs = [value.requires_grad_() for value in inputs]
    assert torch.autograd.gradgradcheck(function, inputs, check_fwd_over_rev=True, check_batched_grad=True)


def test_forward_mode_of_one_argument(case: Case) -> None:
    function, first, second = case
    tangent = doubles(3, *second.shape)
    with forward_ad.dual_level():
        out = forward_ad.unpack_dual(function(first, forward_ad.make_dual(second, tangent)))
    close(out.tangent, functional.jvp(lambda value: function(first, value), second, tangent)[1])


def test_func_grad_and_hessian(case: Case) -> None:
    function, *inputs = case

    def loss(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return function(first, second).pow(3).sum()

    leaves = [value.clone().requires_grad_() for value in inputs]
    close(torch.func.grad(loss, (0, 1))(*inputs), torch.autograd.grad(loss(*leaves), leaves))
    expected = functional.hessian(loss, tuple(inputs))
    close(torch.func.hessian(loss, (0, 1))(*inputs), expected)  # forward over backward
    close(torch.func.jacrev(torch.func.jacfwd(loss, (0, 1)), (0, 1))(*inputs), expected)


def test_forward_in_forward(case: Case) -> None:
    function, *inputs = case
    tangents = tuple(doubles(3 + at, *value.shape) for at, value in enumerate(inputs))

    def slope(jvp: Any, *at: torch.Tensor) -> torch.Tensor:
        return jvp(lambda first, second: function(first, second).pow(2), at, tangents)[1]  # type: ignore[no-any-return]

    got = torch.func.jvp(lambda *at: slope(torch.func.jvp, *at), tuple(inputs), tangents)[1]

    def backwards(call: Any, at: Any, along: Any) -> Any:
        return functional.jvp(call, at, along, create_graph=True)

    close(got, functional.jvp(lambda *at: slope(backwards, *at), tuple(inputs), tangents)[1])


@pytest.mark.parametrize("dims", [(0, 0), (None, 0), (0, None), (1, -1)])
def test_vmap(case: Case, dims: tuple[int | None, int | None]) -> None:
    function, *single = case
    batch = [
        value if dim is None else torch.stack([value + at for at in range(3)], dim)
        for value, dim in zip(single, dims, strict=True)
    ]

    def element(at: int) -> list[torch.Tensor]:
        return [value if dim is None else value.select(dim, at) for value, dim in zip(batch, dims, strict=True)]

    def slope(first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.func.grad(lambda a, b: function(a, b).pow(2).sum(), (0, 1))(first, second)  # type: ignore[no-any-return]

    close(torch.vmap(function, dims)(*batch), torch.stack([function(*element(at)) for at in range(3)]))
    each = [torch.stack(part) for part in zip(*(slope(*element(at)) for at in range(3)), strict=True)]
    close(list(torch.vmap(slope, dims)(*batch)), each)

    def total(*values: torch.Tensor) -> torch.Tensor:
        return torch.vmap(function, dims)(*values).pow(2).sum()

    whole = [part.sum(0) if dim is None else part.movedim(0, dim) for part, dim in zip(each, dims, strict=True)]
    close(list(torch.func.grad(total, (0, 1))(*batch)), whole)


def test_vmap_in_vmap(case: Case) -> None:
    function, first, second = case
    many = torch.stack([first - 1, first, first * 2])
    others = torch.stack([second, second + 1])
    got = torch.vmap(lambda a: torch.vmap(lambda b: function(a, b))(others))(many)
    close(got, torch.stack([torch.stack([function(a, b) for b in others]) for a in many]))


def test_edge_weights_of_propagate_have_no_forward_mode() -> None:
    weight, x = doubles(9, NNZ), doubles(1, ROWS, 2)
    with pytest.raises(NotImplementedError, match="propagate: forward-mode derivatives by edge weights"):
        torch.func.jvp(lambda value: ops.propagate(SQUARE.with_weight(value), x, [1.0, 2.0]), (weight,), (weight,))
    slope = torch.func.grad(lambda value: ops.propagate(SQUARE.with_weight(value), x, [1.0, 2.0]).sum())(weight)
    close(slope, x[SQUARE.indices].sum(1) * 2)


def test_a_batch_of_graphs_is_refused() -> None:
    x = torch.ones(COLS, 2)
    with pytest.raises(NotImplementedError, match="spmm: vmap goes over weight and x; for a batch of graphs make one"):
        torch.vmap(lambda i: torch.ops.gnas_ext.spmm(GRAPH.indptr, i, None, None, x, "sum", None, None, None))(
            GRAPH.indices.expand(2, -1)
        )


def test_what_torch_func_leaves_behind_is_plain() -> None:
    csr = CSR(GRAPH.indptr, GRAPH.indices, None, GRAPH.shape)
    x = doubles(1, COLS, 2)
    slope = torch.func.grad(lambda value: ops.spmm(csr, value).pow(2).sum())(x)
    assert csr._kept
    for part in csr.transposed_structure():
        assert part is not None
        assert not torch._C._functorch.is_functorch_wrapped_tensor(part)
    close(slope, functional.vjp(lambda value: ops.spmm(csr, value).pow(2).sum(), x)[1])


def test_no_gradient_where_it_is_switched_off() -> None:
    x = doubles(1, COLS, 2).requires_grad_()
    with torch.no_grad():
        assert not ops.spmm(GRAPH, x).requires_grad
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x.detach(), x.detach())
        with forward_ad._set_fwd_grad_enabled(False):
            assert forward_ad.unpack_dual(ops.spmm(GRAPH, dual)).tangent is None
