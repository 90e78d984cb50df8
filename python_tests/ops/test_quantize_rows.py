"""quantize_rows, dequantize_rows and fake_quantize_rows: codes to the bit, the stated bounds, refusals, gradients."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import gnas_ext
from gnas_ext import ops
from gnas_ext.ops import reference
from python_tests.ops.oracle import DTYPES
from python_tests.philox import Draws

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gnas_ext.ops.quantize_rows import Clip, Rounding

BITS = (8, 4, 2)
SYMMETRIC = (True, False)
FAMILY = 2**31
LARGEST = torch.finfo(torch.float32).max

ROWS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=20),
    elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
)


def numbers(rows: int, width: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    random = torch.Generator().manual_seed(width)
    return torch.randn(rows, width, generator=random).to(dtype)


def drawn(seed: int, rows: int, width: int, family: int = FAMILY) -> torch.Tensor:
    """The random numbers of each entry, by the Philox of plain Python."""
    streams = [Draws(seed, row, family) for row in range(rows)]
    return torch.tensor([[stream.uniform() for _ in range(width)] for stream in streams]).view(rows, width)


def assert_same(got: ops.QuantizedRows, expected: ops.QuantizedRows, case: object = "") -> None:
    assert (got.bits, got.width) == (expected.bits, expected.width), case
    assert torch.equal(got.codes.cpu(), expected.codes), case
    assert torch.equal(got.scale.cpu(), expected.scale), case
    assert (got.zero is None) == (expected.zero is None), case
    if got.zero is not None and expected.zero is not None:
        assert torch.equal(got.zero.cpu(), expected.zero), case


@pytest.mark.parametrize("dtype", DTYPES)
def test_is_the_reference_to_the_bit(backend: torch.device, dtype: torch.dtype) -> None:
    for width, bits, symmetric in product((0, 1, 2, 7, 15, 16, 17, 63, 64, 130), BITS, SYMMETRIC):
        x = numbers(9, width, dtype)
        got = ops.quantize_rows(x.to(backend), bits, symmetric=symmetric)
        assert_same(got, reference.quantize_rows(x, bits, symmetric), (width, bits, symmetric))
        for out in DTYPES:
            back = ops.dequantize_rows(got, out).cpu()
            assert back.dtype == out
            if out != torch.float64:
                assert torch.equal(back, reference.dequantize_rows(got.to("cpu")).to(out)), (width, bits, symmetric)
            else:
                torch.testing.assert_close(back.float(), ops.dequantize_rows(got).cpu(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("symmetric", SYMMETRIC)
@settings(deadline=None, max_examples=60)
@given(x=ROWS, bits=st.sampled_from(BITS), halves=st.booleans())
def test_so_are_any_rows_and_places_between_two_codes(
    symmetric: bool, x: NDArray[Any], bits: int, halves: bool
) -> None:
    """The kernels multiply where that is sure to give the code of the division."""
    rows = torch.from_numpy(x / 2)
    if halves and rows.numel():
        highest = 2 ** (bits - 1) - 1
        rows = (rows.view(torch.int32) % (4 * highest + 2)).float() / 2 - highest
        rows = rows * torch.tensor([0.1, 1.0, 3.0]).repeat(len(rows))[: len(rows), None]
    assert_same(ops.quantize_rows(rows, bits, symmetric=symmetric), reference.quantize_rows(rows, bits, symmetric))


@pytest.mark.parametrize("dtype", DTYPES)
def test_random_rounding_is_that_of_a_philox_in_python(backend: torch.device, dtype: torch.dtype) -> None:
    for seed, width in ((0, 5), (-3, 37), (2**40 + 5, 150)):
        x, even = numbers(6, width, dtype), drawn(seed, 6, width)
        for bits, symmetric in product(BITS, SYMMETRIC):
            got = ops.quantize_rows(x.to(backend), bits, "stochastic", symmetric=symmetric, seed=seed)
            assert_same(got, reference.quantize_rows(x, bits, symmetric, even), (seed, width, bits, symmetric))


@pytest.mark.parametrize("symmetric", SYMMETRIC)
def test_the_mean_over_seeds_is_the_number(symmetric: bool) -> None:
    x, count = numbers(4, 33), 600
    drawings = (ops.quantize_rows(x, 4, "stochastic", symmetric=symmetric, seed=seed) for seed in range(count))
    many = [ops.dequantize_rows(rows) for rows in drawings]
    scale = ops.quantize_rows(x, 4, symmetric=symmetric).scale.double().unsqueeze(1)
    off = (torch.stack(many).double().mean(0) - x).abs()
    # A rounding has a standard deviation of half a scale at most: five of the mean's.
    assert (off <= 5 * 0.5 * scale / count**0.5).all()


@pytest.mark.parametrize("symmetric", SYMMETRIC)
@pytest.mark.parametrize("bits", BITS)
@settings(deadline=None, max_examples=60)
@given(x=ROWS, rounding=st.sampled_from(["nearest", "stochastic"]), seed=st.integers(-(2**63), 2**63 - 1))
def test_the_stated_bound_holds(bits: int, symmetric: bool, x: NDArray[Any], rounding: Rounding, seed: int) -> None:
    given_ = torch.from_numpy(x if symmetric else x / 2)
    rows = ops.quantize_rows(given_, bits, rounding, "minmax", symmetric, seed)
    assert rows.scale.isfinite().all()
    assert (rows.scale > 0).all()
    off = (ops.dequantize_rows(rows).double() - given_.double()).abs()
    largest = given_.double().abs().amax(1, keepdim=True) if given_.shape[1] else 0.0
    half = 0.5 if rounding == "nearest" else 1.0
    assert (off <= half * rows.scale.double().unsqueeze(1) + 2.0**-22 * largest).all()


@pytest.mark.parametrize("symmetric", SYMMETRIC)
@pytest.mark.parametrize("bits", BITS)
def test_a_search_takes_the_candidate_of_least_squared_error(backend: torch.device, bits: int, symmetric: bool) -> None:
    for width, dtype in ((5, torch.float32), (64, torch.float64), (77, torch.float16)):
        x = numbers(30, width, dtype)
        got = ops.quantize_rows(x.to(backend), bits, clip="mse", symmetric=symmetric).to("cpu")
        highest = 2 ** (bits - 1) - 1
        errors, chosen = [], torch.full((30,), torch.nan, dtype=torch.float64)
        for scale, zero in reference.quantized_ranges(x, bits, symmetric, search=True):
            wide = [part.double().unsqueeze(1) for part in (scale, zero)]
            code = ((x.double() - wide[1]) / wide[0]).round().clamp(-highest if symmetric else -highest - 1, highest)
            errors.append((code * wide[0] + wide[1] - x.double()).square().sum(1))
            same = (scale == got.scale) & (torch.tensor(True) if got.zero is None else zero == got.zero)
            chosen = torch.where(same, errors[-1], chosen)
        assert len(errors) == (29 if symmetric else 49)
        assert (chosen <= torch.stack(errors).amin(0) * (1 + 1e-5)).all()
        if bits < 8 and width == 64:
            assert chosen.sum() < 0.96 * errors[0].sum()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_instruction_set_gives_the_same_bits(dtype: torch.dtype) -> None:
    """Random rounding and the search too, whose sums could be added in another order."""
    x, before = numbers(50, 83, dtype), gnas_ext.simd_level()
    clips: tuple[Clip, ...] = ("minmax", "mse")
    try:
        for bits, clip, symmetric in product(BITS, clips, SYMMETRIC):
            found = []
            for level in gnas_ext.simd_levels():
                gnas_ext.set_simd_level(level)
                found.append(ops.quantize_rows(x, bits, "stochastic", clip, symmetric, 5))
                assert_same(found[-1], found[0], (level, bits, clip, symmetric))
                assert torch.equal(ops.dequantize_rows(found[-1]), reference.dequantize_rows(found[0]))
    finally:
        gnas_ext.set_simd_level(before)


def test_threads_make_no_difference() -> None:
    x = numbers(5000, 20)
    alone = ops.quantize_rows(x, 4, "stochastic", "mse", False, 1)
    for threads in (2, 3):
        torch.set_num_threads(threads)
        again = ops.quantize_rows(x, 4, "stochastic", "mse", False, 1)
        assert_same(again, alone)
        assert torch.equal(ops.dequantize_rows(again), reference.dequantize_rows(alone))


def test_how_codes_are_packed(backend: torch.device) -> None:
    """The lowest bits of a byte first, with 2^(bits-1) added; what is left over is zero."""
    four = ops.quantize_rows(torch.tensor([[7.0, -7.0, 0.0]], device=backend), 4)
    assert four.codes.tolist() == [[0x1F, 0x08]]
    two = ops.quantize_rows(torch.tensor([[-1.0, 1.0, 0.0, 1.0, -1.0]], device=backend), 2)
    assert two.codes.tolist() == [[1 | 3 << 2 | 2 << 4 | 3 << 6, 1]]
    affine = ops.quantize_rows(torch.tensor([[0.0, 1.0, 2.0, 3.0]], device=backend), 2, symmetric=False)
    assert affine.codes.tolist() == [[0 | 1 << 2 | 2 << 4 | 3 << 6]]
    assert affine.zero is not None
    assert (affine.scale.item(), affine.zero.item()) == (1.0, 2.0)


def test_symmetric_rows_leave_the_lowest_code_unused_and_affine_ones_use_it(backend: torch.device) -> None:
    x = numbers(40, 64).to(backend)
    for bits in BITS:
        rows = ops.quantize_rows(x, bits)
        back = ops.dequantize_rows(rows)
        assert (back / rows.scale.unsqueeze(1)).round().min() == 1 - 2 ** (bits - 1)
        assert torch.equal(ops.dequantize_rows(ops.quantize_rows(-x, bits)), -back)
    assert (ops.quantize_rows(x, symmetric=False).codes == -128).any(1).all()


@pytest.mark.parametrize("clip", ["minmax", "mse"])
@pytest.mark.parametrize("bits", BITS)
def test_rows_of_zeros_and_of_one_value_are_exact(backend: torch.device, bits: int, clip: Clip) -> None:
    x = torch.tensor([0.0, -0.0, 3.25, -1e30, 1e-42, LARGEST / 2], device=backend).unsqueeze(1).repeat(1, 19)
    affine = ops.quantize_rows(x, bits, clip=clip, symmetric=False)
    assert torch.equal(ops.dequantize_rows(affine), x)
    assert (affine.scale == 1).all()
    symmetric = ops.quantize_rows(x, bits, clip=clip)
    assert torch.equal(ops.dequantize_rows(symmetric)[:2], x[:2])
    torch.testing.assert_close(ops.dequantize_rows(symmetric)[[2, 3, 5]], x[[2, 3, 5]], rtol=3e-7, atol=0)


def test_scales_below_the_normal_numbers_are_one(backend: torch.device) -> None:
    x = torch.tensor([[1e-37, -1e-40, 0.0], [1.5e-36, 1e-37, -1.5e-36]], device=backend)
    rows = ops.quantize_rows(x)
    assert rows.scale[0] == 1
    assert rows.codes.tolist() == [[0, 0, 0], [127, 8, -127]]
    affine = ops.quantize_rows(x, symmetric=False)
    assert affine.scale[0] == 1
    assert affine.codes[0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("bits", BITS)
def test_the_whole_range_of_float32_has_codes(backend: torch.device, bits: int) -> None:
    ends = ([-LARGEST, LARGEST], [0.0, LARGEST], [-LARGEST, 0.0], [1e38, LARGEST], [-LARGEST, -3e38])
    whole = torch.tensor([[*end, sum(end) / 3] for end in ends], device=backend)
    for symmetric in SYMMETRIC:
        x = whole if symmetric else whole / 2
        rows = ops.quantize_rows(x, bits, symmetric=symmetric)
        off = ops.dequantize_rows(rows).double() - x.double()
        assert (off.abs() <= 0.5 * rows.scale.double().unsqueeze(1) + 2.0**-22 * LARGEST).all()
        assert_same(rows, reference.quantize_rows(x.cpu(), bits, symmetric))


def test_strided_input_means_the_same(backend: torch.device) -> None:
    x = numbers(30, 40).to(backend)
    for strided in (x.T, x[::2], x[:, 3:20], x[:1].expand(5, -1)):
        assert_same(ops.quantize_rows(strided), ops.quantize_rows(strided.contiguous()).to("cpu"))


def test_no_rows(backend: torch.device) -> None:
    for bits, symmetric in product(BITS, SYMMETRIC):
        rows = ops.quantize_rows(torch.zeros(0, 9, device=backend), bits, symmetric=symmetric)
        assert rows.shape == (0, 9)
        assert ops.dequantize_rows(rows).shape == (0, 9)


@pytest.mark.parametrize("call", [ops.quantize_rows, ops.fake_quantize_rows])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_finite_is_refused_with_its_row(
    backend: torch.device, dtype: torch.dtype, value: float, call: Any
) -> None:
    for symmetric, column in product(SYMMETRIC, (0, 16, 18)):
        x = numbers(2000, 19, dtype)
        x[1200, column] = x[1900, 0] = value
        with pytest.raises(ValueError, match=r"^quantize_rows: row 1200 holds NaN, Inf or a number beyond"):
            call(x.to(backend), symmetric=symmetric)


@pytest.mark.usefixtures("two_threads")
def test_the_first_bad_row_is_named_by_two_threads() -> None:
    x = numbers(20_000, 8)
    x[19_000:] = torch.nan
    x[4_321, 7] = torch.inf
    with pytest.raises(ValueError, match="row 4321 holds"):
        ops.quantize_rows(x)
    with pytest.raises(RuntimeError, match="quantize_rows: row 4321 holds"):
        torch.ops.gnas_ext.quantize_rows(x, 8, "nearest", "minmax", True, 0)


def test_float64_beyond_float32_is_refused(backend: torch.device) -> None:
    x = torch.tensor([[LARGEST], [-1e39]], dtype=torch.float64, device=backend)
    assert ops.quantize_rows(x[:1]).codes.item() == 127
    with pytest.raises(ValueError, match="row 1 holds NaN, Inf or a number beyond float32, which"):
        ops.quantize_rows(x)
    with pytest.raises(ValueError, match="row 0 holds NaN, Inf or a number beyond half of float32's range, which"):
        ops.quantize_rows(x, symmetric=False)


def test_what_else_is_refused() -> None:
    x, rows = torch.ones(3, 4), ops.quantize_rows(torch.ones(3, 4))
    cases: list[tuple[type[Exception], str, Any]] = [
        (ValueError, r"x of shape \[rows, width\], got \[4\]", lambda: ops.quantize_rows(x[0])),
        (TypeError, "x in float32, .*, got torch.int64", lambda: ops.quantize_rows(x.long())),
        (ValueError, "bits of 8, 4 or 2, got 3", lambda: ops.quantize_rows(x, 3)),
        (ValueError, "rounding in nearest, stochastic, got 'up'", lambda: ops.quantize_rows(x, rounding="up")),  # type: ignore[arg-type]
        (ValueError, "clip in minmax, mse, got 'max'", lambda: ops.quantize_rows(x, clip="max")),  # type: ignore[arg-type]
        (TypeError, "dtype float32, .*, got torch.int8", lambda: ops.dequantize_rows(rows, torch.int8)),
    ]
    for kind, message, call in cases:
        with pytest.raises(kind, match=f"quantize_rows: expected {message}"):
            call()


def test_raw_calls_check_for_themselves() -> None:
    native, x = torch.ops.gnas_ext, torch.ones(3, 4)
    codes, scale, _ = native.quantize_rows(x, 8, "nearest", "minmax", True, 0)
    good = (x, 8, "nearest", "minmax", True, 0)
    cases: list[tuple[Any, tuple[Any, ...], str]] = [
        (native.quantize_rows, (x[0], *good[1:]), r"x of shape \[rows, width\], got \[4\]"),
        (native.quantize_rows, (x.long(), *good[1:]), "x of float32"),
        (native.quantize_rows, (x, 16, *good[2:]), "bits of 8, 4 or 2, got 16"),
        (native.quantize_rows, (x, 8, "up", *good[3:]), "rounding nearest or stochastic, got up"),
        (native.quantize_rows, (*good[:3], "max", True, 0), "clip minmax or mse, got max"),
        (native.dequantize_rows, (codes, scale, None, 8, 5, x.dtype), r"codes of shape \[rows, 5\]"),
        (native.dequantize_rows, (codes, scale, None, 4, 8, x.dtype), "codes in uint8"),
        (native.dequantize_rows, (codes.T, scale[:1].expand(4), None, 8, 3, x.dtype), "contiguous codes"),
        (native.dequantize_rows, (codes, scale[1:], None, 8, 4, x.dtype), r"scale of shape \[3\], .*, got \[2\]"),
        (native.dequantize_rows, (codes, scale, scale.double(), 8, 4, x.dtype), "contiguous zero in float32"),
        (native.dequantize_rows, (codes, scale, None, 8, 4, torch.int32), "x of float32"),
    ]
    for op, arguments, message in cases:
        with pytest.raises(RuntimeError, match=f"quantize_rows: expected {message}"):
            op(*arguments)


@pytest.mark.parametrize("dtype", DTYPES)
def test_fake_quantization_is_there_and_back(backend: torch.device, dtype: torch.dtype) -> None:
    x = numbers(7, 21, dtype).to(backend)
    for bits, symmetric in product(BITS, SYMMETRIC):
        options: tuple[Any, ...] = (bits, "stochastic", "mse", symmetric, 3)
        expected = ops.dequantize_rows(ops.quantize_rows(x, *options), dtype)
        assert torch.equal(ops.fake_quantize_rows(x, *options), expected)


@pytest.mark.parametrize("symmetric", SYMMETRIC)
def test_the_gradient_is_straight_through_where_nothing_is_clipped(backend: torch.device, symmetric: bool) -> None:
    x = numbers(12, 30, torch.float64).to(backend).requires_grad_()
    sensitivity = torch.linspace(-1, 2, x.numel(), dtype=torch.float64, device=backend).view_as(x)
    (grad,) = torch.autograd.grad(ops.fake_quantize_rows(x, 4, symmetric=symmetric), x, sensitivity)
    assert torch.equal(grad, sensitivity)
    rows = ops.quantize_rows(x, 2, clip="mse", symmetric=symmetric).to("cpu")
    (grad,) = torch.autograd.grad(ops.fake_quantize_rows(x, 2, clip="mse", symmetric=symmetric), x, sensitivity)
    # Clipped is what is further than half a scale from all that the codes stand for.
    clipped = (x.cpu() - ops.dequantize_rows(rows, torch.float64)).abs() > rows.scale.double().unsqueeze(1) / 2
    assert clipped.any()
    assert torch.equal(grad.cpu(), sensitivity.cpu().where(~clipped, 0))


def test_derivatives_of_derivatives_and_forward_mode() -> None:
    x, tangent = numbers(5, 9, torch.float64), numbers(5, 9, torch.float64).flip(0)

    def loss(x: torch.Tensor) -> torch.Tensor:
        return ops.fake_quantize_rows(x, 2, clip="mse").pow(3).sum()

    leaf = x.clone().requires_grad_()
    (first,) = torch.autograd.grad(loss(leaf), leaf, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), leaf)
    passes = torch.autograd.grad(ops.fake_quantize_rows(leaf, 2, clip="mse").sum(), leaf)[0]
    out = ops.fake_quantize_rows(x, 2, clip="mse")
    torch.testing.assert_close(first, 3 * out.square() * passes)
    torch.testing.assert_close(second, 6 * out * passes)
    torch.testing.assert_close(torch.func.grad(loss)(x), first.detach())
    torch.testing.assert_close(torch.func.jvp(loss, (x,), (tangent,))[1], (first.detach() * tangent).sum())


def test_compiles_in_one_graph() -> None:
    def step(x: torch.Tensor) -> torch.Tensor:
        stored = ops.dequantize_rows(ops.quantize_rows(x, 4, "stochastic", symmetric=False, seed=2))
        return stored.sin() + ops.fake_quantize_rows(x.tanh(), 2, clip="mse")

    torch.compiler.reset()
    compiled = torch.compile(step, fullgraph=True, dynamic=True, backend="aot_eager")
    for width in (3, 21):
        x = numbers(11, width).requires_grad_()
        torch.testing.assert_close(compiled(x), step(x))
        (ours,), (theirs,) = (torch.autograd.grad(f(x).sum(), x) for f in (compiled, step))
        torch.testing.assert_close(ours, theirs)
