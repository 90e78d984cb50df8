from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gnas_ext.compress import (
    degree_groups,
    prior_table,
    product_quantize,
    quantize_groups,
    quantize_model,
    quantize_table,
)
from gnas_ext.errors import InputError
from gnas_ext.models import CodedModel, FactorModel, Table
from gnas_ext.ops.quantize_rows import dequantize_rows, quantize_rows

TABLES = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=12),
    elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
)


@settings(deadline=None)
@given(TABLES)
def test_an_entry_is_off_by_half_a_scale_at_most(rows: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
    x = torch.from_numpy(rows)
    table = quantize_table(x, 8)
    assert isinstance(table, Table)
    assert table.scale is not None
    error = (table.rows.double() * table.scale.double()[:, None] - x.double()).abs()
    # Beside the rounding: one of float32's in the division, and rows below the normal numbers count as zero.
    assert bool((error <= table.scale.double()[:, None] * 0.50001).logical_or(error < 2e-36).all())


@settings(deadline=None)
@given(TABLES)
def test_codes_are_symmetric_and_scales_positive(rows: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
    table = quantize_table(torch.from_numpy(rows), 8)
    assert table.rows.dtype == torch.int8
    assert not (table.rows == -128).any()
    assert table.scale is not None
    assert bool((table.scale > 0).all())


def test_the_largest_entry_of_a_row_takes_the_last_code() -> None:
    table = quantize_table(torch.tensor([[0.1, -3.0], [5.0, 0.0]]), 8)
    assert table.rows.tolist() == [[4, -127], [127, 0]]


def test_codes_round_to_nearest() -> None:
    assert quantize_table(torch.tensor([[127.0, 1.4, 1.6, -1.6]]), 8).rows.tolist() == [[127, 1, 2, -2]]


def test_a_row_of_zeros_stays_zero() -> None:
    table = quantize_table(torch.tensor([[0.0, 0.0], [1.0, 2.0]]), 8)
    assert table.float()[0].tolist() == [0.0, 0.0]


def test_a_row_below_the_normal_numbers_becomes_zero() -> None:
    table = quantize_table(torch.tensor([[1e-40, 0.0], [1e-30, -1e-30]]), 8)
    assert table.rows.tolist() == [[0, 0], [127, -127]]


def test_thirty_two_bits_change_nothing() -> None:
    x = torch.randn(4, 3)
    table = quantize_table(x, 32)
    assert table.scale is None
    assert torch.equal(table.rows, x)


@pytest.mark.parametrize("bits", [8, 32])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_is_refused_with_its_row(bits: int, value: float) -> None:
    x = torch.zeros(5, 3)
    x[3, 1] = x[4, 0] = value
    with pytest.raises(InputError, match="row 3 holds NaN or Inf"):
        quantize_table(x, bits)


@pytest.mark.parametrize("bits", [0, 3, 16, 64])
def test_other_widths_are_refused(bits: int) -> None:
    with pytest.raises(ValueError, match=f"expected 2, 4, 8 or 32 bits, got {bits}"):
        quantize_table(torch.zeros(1, 1), bits)


@pytest.mark.parametrize(("bits", "bytes_a_row"), [(4, 8 + 4), (2, 4 + 4 + 4)])
def test_few_bits_are_packed(bits: int, bytes_a_row: int) -> None:
    table = quantize_table(torch.randn(10, 16), bits)
    assert table.size_bytes() == 10 * bytes_a_row + 8


def test_few_bits_are_clipped_where_that_is_nearer() -> None:
    x = torch.randn(50, 64)
    for bits, symmetric in ((4, True), (2, False)):
        widest = dequantize_rows(quantize_rows(x, bits, symmetric=symmetric))
        assert (quantize_table(x, bits).float() - x).square().sum() < (widest - x).square().sum()


def test_groups_take_the_bits_that_they_are_given() -> None:
    x, group = torch.randn(9, 16), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2])
    table = quantize_groups(x, group, [32, 8, 4])
    assert torch.equal(table.float()[group == 0], x[group == 0])
    assert torch.equal(table.float()[group == 1], quantize_table(x[group == 1], 8).float())
    assert torch.equal(table.float()[group == 2], quantize_table(x[group == 2], 4).float())


def test_groups_follow_popularity() -> None:
    degree = torch.tensor([5, 9, 0, 9, 1, 3, 2, 4, 7, 8])
    assert degree_groups(degree, [0.2, 0.3]).tolist() == [1, 0, 2, 0, 2, 2, 2, 2, 1, 1]


@pytest.mark.parametrize("shares", [[0.7, 0.4], [-0.1]])
def test_shares_that_do_not_add_up_are_refused(shares: list[float]) -> None:
    with pytest.raises(ValueError, match="add up to 1 at most"):
        degree_groups(torch.zeros(3), shares)


def test_a_model_of_few_bits_keeps_its_prior() -> None:
    model = FactorModel(Table(torch.randn(6, 16)), Table(torch.randn(9, 16)), torch.randn(9))
    small = quantize_model(model, 4)
    assert isinstance(small, CodedModel)
    assert small.prior is not None
    assert model.prior is not None
    assert torch.equal(small.prior.float()[:, 0], model.prior)
    assert small.size_bytes() == (6 + 9) * (8 + 4) + 2 * 8 + 9 * 4


def test_a_prior_keeps_its_most_popular_items() -> None:
    """A few large values among very many small ones."""
    degree = torch.cat([torch.randint(1, 40, (20_000,)), torch.arange(100, 1500, 3)])
    prior = degree.float().log()
    found = prior_table(prior).float()[:, 0]
    assert float((found - prior).abs().max()) < 0.02
    few = torch.arange(1, 41).float().log().repeat(100)
    torch.testing.assert_close(prior_table(few).float()[:, 0], few, rtol=0, atol=2e-3)  # but for float16


def test_product_codes_keep_the_length_of_rows_and_nearly_the_scores() -> None:
    generator = torch.Generator().manual_seed(0)
    user, item = (torch.nn.functional.normalize(torch.randn(400, 8, generator=generator)) for _ in range(2))
    model = FactorModel(Table(user * 3), Table(item), torch.randn(400, generator=generator))
    small = product_quantize(model, 8, 8)
    users = np.arange(400, dtype=np.int32)
    torch.testing.assert_close(small.user.float().norm(dim=1), torch.full((400,), 3.0))
    assert (small.score(users) - model.score(users)).abs().max() < 0.1
    assert small.size_bytes() == 2 * (400 * 8 + 256 * 8 * 2 + 8 * 4 + 4) + 400 + 256 * 2 + 8


def test_other_shapes_and_dtypes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \[n, width\], got \[3\]"):
        quantize_table(torch.zeros(3), 8)
    with pytest.raises(TypeError, match="expected float32, got"):
        quantize_table(torch.zeros(3, 1, dtype=torch.float64), 8)


def test_a_model_shrinks_to_codes_and_scales_and_keeps_its_prior() -> None:
    model = FactorModel(Table(torch.randn(6, 16)), Table(torch.randn(9, 16)), torch.randn(9))
    small = quantize_model(model, 8)
    assert small.size_bytes() == (6 + 9) * (16 + 4) + 9 * 4
    assert small.prior is model.prior


def test_a_quantised_model_can_be_quantised_again_without_loss() -> None:
    model = quantize_model(FactorModel(Table(torch.randn(6, 16)), Table(torch.randn(9, 16))), 8)
    again = quantize_model(model, 8)
    assert torch.equal(again.user.rows, model.user.rows)
    assert torch.equal(again.item.rows, model.item.rows)


def test_thirty_two_bits_unpack_a_quantised_model() -> None:
    model = quantize_model(FactorModel(Table(torch.randn(6, 16)), Table(torch.randn(9, 16))), 8)
    users = np.arange(6, dtype=np.int32)
    assert torch.equal(quantize_model(model, 32).score(users), model.score(users))
