"""quantised_products: numbers, gradients and kept bytes beside plain torch, the stated bound, refusals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch
from torch.nn import functional

from gnas_ext import ops
from gnas_ext.errors import InputError
from gnas_ext.models.quantised_map import quantised_products
from python_tests.kept import kept_by

if TYPE_CHECKING:
    from torch import Tensor

pytestmark = pytest.mark.usefixtures("threads")

BITS = (8, 4)
SLOPES = (1.0, 0.2, 0.0)
# Activations, outputs, width: a last byte that is not full, several parts of a sum, rows that come in parts.
SHAPES = [(5, 3, 1), (600, 16, 17), (70, 24, 300), (9000, 40, 32)]


def sides(shape: tuple[int, int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Activations, a map and a gradient; rows are of different sizes."""
    generator = torch.Generator().manual_seed(0)
    rows, outputs, width = shape
    left, right = (
        torch.randn(some, width, generator=generator) * torch.randn(some, 1, generator=generator).exp()
        for some in (rows, outputs)
    )
    return left.requires_grad_(), right.requires_grad_(), torch.randn(rows, outputs, generator=generator)


def rounded(x: Tensor, bits: int) -> Tensor:
    """What codes stand for: with 8 bits of the whole range, with 4 of the part with the least squared error."""
    highest = 2 ** (bits - 1) - 1
    largest = x.detach().double().abs().amax(1, keepdim=True)
    found = []
    for part in range(32, 3 if bits == 4 else 31, -1):
        scale = (largest * part / 32 / highest).float()
        found.append((x.detach() / scale).round().clamp(-highest, highest) * scale)
    errors = torch.stack([(back - x.detach()).double().square().sum(1) for back in found])
    return torch.stack(found)[errors.argmin(0), torch.arange(len(x))]


def straight_through(x: Tensor, bits: int) -> Tensor:
    coded = ops.fake_quantize_rows(x.detach(), bits, clip="mse" if bits == 4 else "minmax")
    return x + (coded - x).detach()


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("shape", SHAPES)
def test_they_are_products_of_what_codes_stand_for(shape: tuple[int, int, int], bits: int, slope: float) -> None:
    left, right, _ = sides(shape)
    expected = rounded(left, bits).double() @ rounded(right, bits).double().T
    expected = torch.where(expected < 0, slope * expected, expected).float()
    torch.testing.assert_close(quantised_products(left, right, bits, slope), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_go_straight_through_the_rounding(shape: tuple[int, int, int], bits: int, slope: float) -> None:
    left, right, toward = sides(shape)
    products = straight_through(left, bits) @ straight_through(right, bits).T
    # Codes whose products add up to nothing leave float32's rounding to say on which side of zero they are.
    toward = toward * (products.detach().abs() > 1e-4)
    mine = torch.autograd.grad(quantised_products(left, right, bits, slope), (left, right), toward)
    plain = torch.autograd.grad(functional.leaky_relu(products, slope), (left, right), toward)
    torch.testing.assert_close(mine, plain, rtol=1e-4, atol=1e-3)


def test_what_is_cut_off_has_a_gradient_too() -> None:
    """With 4 bits, where the op on its own has none."""
    left = torch.tensor([[10.0, *([1.0] * 63)]], requires_grad=True)
    assert ops.quantize_rows(left, 4, clip="mse").scale.item() * 7 < 10
    (gradient,) = torch.autograd.grad(quantised_products(left, torch.eye(64), 4).sum(), left)
    torch.testing.assert_close(gradient, torch.ones(1, 64))


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("bits", BITS)
def test_codes_and_scales_are_all_that_is_kept(bits: int, slope: float) -> None:
    left, right, toward = sides((500, 64, 64))
    products, kept = kept_by(lambda: quantised_products(left, right, bits, slope))
    assert sum(kept.values()) == (500 + 64) * (64 * bits // 8 + 4)
    torch.autograd.backward(products, toward)
    assert left.grad is not None


def test_eight_bits_are_off_by_half_a_scale_an_entry() -> None:
    """x + e times w + d is off by <e, w> + <x, d> + <e, d>, with |e| up to s / 2 and |d| up to t / 2."""
    left, right, _ = (side.detach().double() for side in sides((600, 16, 17)))
    s, t = (side.abs().amax(1) / 127 for side in (left, right))
    bound = s[:, None] / 2 * right.abs().sum(1) + t / 2 * left.abs().sum(1)[:, None] + 17 / 4 * s[:, None] * t
    off = (quantised_products(left, right, 8) - left @ right.T).abs()
    assert (off <= bound * (1 + 1e-5)).all()


def test_four_bits_are_off_no_more_in_squares_than_the_whole_range() -> None:
    """A range of least squared error has no larger one than the whole: |e|² up to width * (s / 2)²; then Cauchy."""
    left, right, _ = (side.detach().double() for side in sides((600, 16, 17)))
    e, d = (side.abs().amax(1) / 7 / 2 * 17**0.5 for side in (left, right))
    lengths, widths = torch.linalg.vector_norm(left, dim=1), torch.linalg.vector_norm(right, dim=1)
    bound = e[:, None] * widths + lengths[:, None] * d + e[:, None] * d
    off = (quantised_products(left, right, 4) - left @ right.T).abs()
    assert (off <= bound * (1 + 1e-5)).all()


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("shape", SHAPES)
def test_they_repeat_exactly_for_any_number_of_threads(shape: tuple[int, int, int], bits: int) -> None:
    left, right, toward = sides(shape)
    found = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        products = quantised_products(left, right, bits, 0.2)
        found.append((products.detach(), *torch.autograd.grad(products, (left, right), toward)))
    assert all(torch.equal(a, b) for again in found[1:] for a, b in zip(found[0], again, strict=True))


def test_rows_of_zeros_and_no_rows_have_products() -> None:
    assert not quantised_products(torch.zeros(3, 5), torch.ones(2, 5), 8, 0.2).any()
    none, right = torch.zeros(0, 5, requires_grad=True), torch.ones(2, 5, requires_grad=True)
    products = quantised_products(none, right, 4, 0.2)
    assert products.shape == (0, 2)
    to_none, to_right = torch.autograd.grad(products.sum(), (none, right))
    assert to_none.shape == (0, 5)
    assert not to_right.any()


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_laid_to_training(bits: int, value: float) -> None:
    fine, wrong = torch.ones(4, 5), torch.ones(4, 5)
    wrong[2, 1] = value
    with pytest.raises(InputError, match=f"an activation is not finite, .* {bits} bits: did training diverge"):
        quantised_products(wrong, fine, bits)
    with pytest.raises(InputError, match=f"a weight of the map is not finite, .* {bits} bits: did training diverge"):
        quantised_products(fine, wrong, bits)


def test_what_float32_does_not_hold_is_said_so() -> None:
    with pytest.raises(ValueError, match="row 0 holds NaN, Inf or a number beyond float32"):
        quantised_products(torch.full((1, 2), 1e300, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64), 8)


@pytest.mark.parametrize(
    ("bits", "slope", "message"),
    [
        (2, 1.0, "expected bits of 8 or 4, got 2"),
        (32, 1.0, "expected bits of 8 or 4, got 32"),
        (8, -0.1, "expected slope of 0 or more, got -0.1"),
        (8, math.nan, "expected slope of 0 or more, got nan"),
    ],
)
def test_options_outside_are_refused(bits: int, slope: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quantised_products(torch.ones(1, 2), torch.ones(1, 2), bits, slope)
