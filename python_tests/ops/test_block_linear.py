"""block_linear and nm_linear: values against a dense product, gradients, and what they refuse."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from gnas_ext import ops
from gnas_ext.ops import prune, reference
from python_tests.ops.oracle import DTYPES

# rows, in, out, block
SHAPES = [(5, 16, 16, 16), (40, 37, 50, 16), (100, 256, 96, 32), (7, 100, 33, 48), (0, 16, 16, 16), (3, 0, 16, 16)]


def case(rows: int, width: int, out: int, block: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, ...]:
    random = torch.Generator().manual_seed(rows)
    x, weight, bias = (torch.randn(s, generator=random).to(dtype) for s in ((rows, width), (out, width), (out,)))
    mask = torch.rand(-(-out // block), -(-width // block), generator=random) < 0.5
    return x, weight, mask, bias


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_matches_the_dense_product(backend: torch.device, shape: tuple[int, int, int, int], dtype: torch.dtype) -> None:
    x, weight, mask, bias = (t.to(backend) for t in case(*shape, dtype))
    block = shape[3]
    wide = (x.double(), weight.double(), mask)
    for added in (bias, None):
        got = ops.block_linear(x, weight, mask, added, block)
        assert got.dtype == dtype
        exact = reference.block_linear(*wide, None if added is None else added.double(), block)
        size = reference.block_linear(x.double().abs(), weight.double().abs(), mask, bias.double().abs(), block)
        step = torch.finfo(torch.float64 if dtype == torch.float64 else torch.float32).eps
        room = step * (shape[1] + 2) * size + torch.finfo(dtype).eps * exact.abs() + torch.finfo(dtype).tiny
        assert ((got.double() - exact).abs() <= room).all()


def test_more_outputs_than_a_grid_has_rows(backend: torch.device) -> None:
    """CUDA's grids end at 65535 in two of their directions."""
    out = 16 * 65536
    x, weight, live = torch.full((1, 1), 2.0), torch.arange(out).float().unsqueeze(1), torch.ones(out // 16, 1).bool()
    x, weight, live = x.to(backend), weight.to(backend).requires_grad_(), live.to(backend)
    got = ops.block_linear(x, weight, live)
    (gradient,) = torch.autograd.grad(got.sum(), weight)
    assert torch.equal(got, 2 * weight.T)
    assert torch.equal(gradient, torch.full_like(weight, 2.0))


@pytest.mark.parametrize("shape", [(5, 37, 20, 16), (3, 40, 33, 32)])
def test_derivatives(backend: torch.device, shape: tuple[int, int, int, int]) -> None:
    x, weight, mask, bias = (t.to(backend) for t in case(*shape))
    leaves = (x.requires_grad_(), weight.requires_grad_(), bias.requires_grad_())

    def function(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return ops.block_linear(x, weight, mask, bias, shape[3])

    assert torch.autograd.gradcheck(function, leaves, check_forward_ad=True, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, leaves, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_are_those_of_the_dense_product(backend: torch.device, dtype: torch.dtype) -> None:
    x, weight, mask, bias = (t.to(backend) for t in case(64, 96, 80, 16, dtype))
    leaves = tuple(t.clone().requires_grad_() for t in (x, weight, bias))
    got = ops.block_linear(leaves[0], leaves[1], mask, leaves[2])
    sensitivity = torch.randn(got.shape).to(backend, dtype)
    ours = torch.autograd.grad(got, leaves, sensitivity)
    wide = tuple(t.detach().double().requires_grad_() for t in leaves)
    theirs = torch.autograd.grad(reference.block_linear(wide[0], wide[1], mask, wide[2]), wide, sensitivity.double())
    loose = {"rtol": 2e-2, "atol": 1e-1} if dtype == torch.bfloat16 else {"rtol": 1e-4, "atol": 1e-4}
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.double(), other, **loose)  # type: ignore[arg-type]
    dead = ~mask.repeat_interleave(16, 0).repeat_interleave(16, 1)
    assert not ours[1][dead].any()


@pytest.mark.usefixtures("two_threads")
def test_repeats_exactly_at_any_number_of_threads() -> None:
    x, weight, mask, bias = case(1000, 64, 64, 16, torch.float32)
    both = ops.block_linear(x, weight, mask, bias), torch.ops.gnas_ext.block_outer(x, x, mask, 16, 16)
    torch.set_num_threads(1)
    assert torch.equal(ops.block_linear(x, weight, mask, bias), both[0])
    assert torch.equal(torch.ops.gnas_ext.block_outer(x, x, mask, 16, 16), both[1])


def test_leading_dimensions_stay() -> None:
    x, weight, mask, bias = case(12, 37, 20, 16)
    flat = ops.block_linear(x, weight, mask, bias)
    assert torch.equal(ops.block_linear(x.view(3, 4, 37), weight, mask, bias), flat.view(3, 4, 20))
    assert torch.equal(ops.block_linear(x[0], weight, mask, bias), flat[0])


def test_compiles_in_one_graph() -> None:
    x, weight, mask, bias = case(12, 37, 20, 16)
    step = partial(ops.block_linear, weight=weight, mask=mask, bias=bias)
    torch.compiler.reset()
    got = torch.compile(lambda v: step(torch.tanh(v)), fullgraph=True, backend="aot_eager")(x)
    torch.testing.assert_close(got, step(torch.tanh(x)))


def test_nm_linear_is_a_masked_product(backend: torch.device) -> None:
    x, weight, bias = torch.randn(9, 64), torch.randn(64, 64), torch.randn(64)
    x, weight, bias = (t.to(backend).double().requires_grad_() for t in (x, weight, bias))
    mask = prune.nm_mask(prune.magnitude(weight))
    got = ops.nm_linear(x, weight, mask, bias)
    torch.testing.assert_close(got, torch.nn.functional.linear(x, weight * mask, bias))
    (gradient,) = torch.autograd.grad(got.sum(), weight)
    assert not gradient[~mask].any()


def test_says_what_was_expected_and_what_came() -> None:
    x, weight, mask, _ = case(12, 37, 20, 16)
    with pytest.raises(ValueError, match=r"block_linear: expected mask of shape \[2, 3\], got \[3, 2\]"):
        ops.block_linear(x, weight, mask.t())
    with pytest.raises(ValueError, match="expected block to be a multiple of 16, got 8"):
        ops.block_linear(x, weight, mask, block=8)
    with pytest.raises(TypeError, match="expected mask in bool"):
        ops.block_linear(x, weight, mask.float())
    with pytest.raises(TypeError, match=r"expected weight in x's dtype torch.float64, got torch.float32"):
        ops.block_linear(x, weight.float(), mask)
    with pytest.raises(ValueError, match=r"expected x of shape \[..., 37\], got \[12, 36\]"):
        ops.block_linear(x[:, :36], weight, mask)
    with pytest.raises(ValueError, match="nm_linear: expected a weight of shape"):
        ops.nm_linear(x, weight, weight[:3] > 0)
    native = torch.ops.gnas_ext.block_linear
    with pytest.raises(RuntimeError, match=r"block_linear: expected mask of shape \[2, 3\], got \[2, 2\]"):
        native(x, weight, mask[:, :2].contiguous(), None, 16, 16)
