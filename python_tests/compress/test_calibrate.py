"""Codes that are found on the log: against brute force, GPTQ's own formulas and the nearest codes."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext.compress import quantize_model
from gnas_ext.compress.calibrate import calibrate, code_rows, turning
from gnas_ext.compress.rounding import carry, descend, factor, fit, solve
from gnas_ext.data.interactions import Interactions
from gnas_ext.errors import InputError
from gnas_ext.models import CodedModel, FactorModel, Table
from gnas_ext.models.coded import PackedTable
from gnas_ext.ops.quantize_rows import dequantize_rows, quantize_rows
from gnas_ext.ops.quantized_rows import QuantizedRows, packed
from python_tests.compress.conftest import ITEMS, USERS, WIDTH, cosines

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

LIMITS = {8: (-127, 127), 4: (-7, 7), 2: (-2, 1)}
BITS = [8, 4, 2]


def correlated(rows: int, width: int, seed: int) -> Tensor:
    """Rows of float64 whose columns say much the same, and of different sizes."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(width, width, generator=generator) + 2 * torch.randn(width, 1, generator=generator)
    return (torch.randn(rows, width, generator=generator) @ mix).double()


def moment(width: int, seed: int) -> Tensor:
    """A second moment of such rows."""
    rows = correlated(50 * width, width, seed)
    return rows.T @ rows / len(rows) + 0.01 * torch.eye(width)


def ranges(x: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Scales and zeros of rows, as `quantize_model` finds them."""
    rows = quantize_rows(x.float(), bits, clip="minmax" if bits == 8 else "mse", symmetric=bits != 2)
    zero = torch.zeros_like(rows.scale) if rows.zero is None else rows.zero
    return rows.scale.double(), zero.double()


def nearest(x: Tensor, scale: Tensor, zero: Tensor, bits: int) -> Tensor:
    return ((x - zero[:, None]) / scale[:, None]).round().clamp(*LIMITS[bits])


def example(bits: int, width: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Rows, what an error costs, scales, zeros and the nearest codes."""
    x, h = correlated(60, width, seed), moment(width, seed + 1)
    scale, zero = ranges(x, bits)
    return x, h, scale, zero, nearest(x, scale, zero, bits)


def cost(x: Tensor, codes: Tensor, scale: Tensor, zero: Tensor, h: Tensor) -> Tensor:
    """e' H e of each row."""
    error = codes * scale[:, None] + zero[:, None] - x
    return torch.einsum("nf,fg,ng->n", error, h, error)


def carried(x: Tensor, scale: Tensor, zero: Tensor, h: Tensor, bits: int) -> Tensor:
    return carry(x.T.contiguous(), scale, zero, factor(h)[0], LIMITS[bits]).T


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.sampled_from([8, 4]), st.integers(2, 24), st.integers(0, 2**31))
def test_carried_errors_cost_a_table_less_than_nearest_codes(bits: int, width: int, seed: int) -> None:
    x, h = correlated(200, width, seed), moment(width, seed + 1)
    scale, zero = ranges(x, bits)
    # Room at the ends of the range, for what is clipped cannot be made up for; 2 bits have none to give.
    scale = scale * 1.5
    ours = cost(x, carried(x, scale, zero, h, bits), scale, zero, h).sum()
    assert ours <= cost(x, nearest(x, scale, zero, bits), scale, zero, h).sum() * (1 + 1e-9)


@pytest.mark.parametrize("bits", BITS)
def test_a_hessian_of_a_diagonal_gives_nearest_codes(bits: int) -> None:
    x, h = correlated(100, 9, 0), torch.linspace(0.1, 3, 9).double().diag()
    scale, zero = ranges(x, bits)
    want = nearest(x, scale, zero, bits)
    assert torch.equal(carried(x, scale, zero, h, bits), want)
    moved = descend(x.T.contiguous(), want.T.contiguous(), scale, zero, h, LIMITS[bits])
    assert torch.equal(moved.T, want)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(BITS), st.integers(1, 24), st.integers(0, 2**31))
def test_descending_never_costs_a_row_more(bits: int, width: int, seed: int) -> None:
    x, h, scale, zero, first = example(bits, width, seed)
    codes = descend(x.T.contiguous(), first.T.contiguous(), scale, zero, h, LIMITS[bits]).T
    before = cost(x, first, scale, zero, h)
    assert bool((cost(x, codes, scale, zero, h) <= before * (1 + 1e-9) + 1e-12).all())


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(BITS), st.integers(2, 24), st.integers(0, 2**31))
def test_fitted_scales_never_cost_a_row_more(bits: int, width: int, seed: int) -> None:
    x, h, scale, zero, codes = example(bits, width, seed)
    better = fit(x.T.contiguous(), codes.T.contiguous(), scale, zero, h, bits == 2)
    before = cost(x, codes, scale, zero, h)
    assert bool((cost(x, codes, *better, h) <= before * (1 + 1e-9) + 1e-12).all())


@pytest.mark.parametrize("bits", [4, 2])
def test_narrow_rows_get_nearly_the_best_of_all_codes(bits: int) -> None:
    """Against all of them: 3 columns have 3375 or 64. Half of what nearest codes cost beyond the best is won."""
    h = torch.tensor([[1.0, 0.9, 0.5], [0.9, 1.0, 0.7], [0.5, 0.7, 1.0]], dtype=torch.float64)
    x = torch.randn(500, 3, generator=torch.Generator().manual_seed(5)).double()
    # Of all rows alike: what fits a row of three numbers leaves nothing to choose.
    scale, zero = torch.full((500,), 0.9, dtype=torch.float64), torch.full((500,), 0.4, dtype=torch.float64)
    low, high = LIMITS[bits]
    every = torch.tensor(list(itertools.product(range(low, high + 1), repeat=3))).double()
    error = every[None] * scale[:, None, None] + zero[:, None, None] - x[:, None]
    best = torch.einsum("ncf,fg,ncg->nc", error, h, error).amin(1)
    first = carried(x, scale, zero, h, bits)
    codes = descend(x.T.contiguous(), first.T.contiguous(), scale, zero, h, LIMITS[bits]).T
    ours, simple = cost(x, codes, scale, zero, h), cost(x, nearest(x, scale, zero, bits), scale, zero, h)
    assert bool((ours >= best * (1 - 1e-9)).all())
    assert (ours - best).sum() < 0.5 * (simple - best).sum()


def test_carrying_is_the_rounding_of_gptq() -> None:
    """Against its own words: the inverse of H, a column eliminated after the other."""
    x, h = correlated(50, 7, 1), moment(7, 2)
    scale, zero = ranges(x, 4)
    left, inverse = x.clone(), torch.linalg.inv(h)
    want = torch.empty_like(x)
    for column in range(7):
        want[:, column] = (left[:, column] / scale).round().clamp(-7, 7)
        error = (left[:, column] - want[:, column] * scale) / inverse[column, column]
        left -= error[:, None] * inverse[column]
        inverse = inverse - inverse[:, column, None] * inverse[column] / inverse[column, column]
    assert torch.equal(carried(x, scale, zero, h, 4), want)


def test_factors_multiply_to_the_matrix_and_solve_it() -> None:
    h, right = moment(12, 3), correlated(12, 5, 4)
    unit, pivots = factor(h)
    assert torch.equal(unit, unit.triu())
    torch.testing.assert_close(unit @ pivots.diag() @ unit.T, h)
    torch.testing.assert_close(solve(unit, pivots, right), torch.linalg.solve(h, right))


@pytest.mark.parametrize("width", [1, 5, 64])
def test_turning_keeps_products(width: int) -> None:
    turn = turning(width)
    torch.testing.assert_close(turn @ turn.T, torch.eye(width, dtype=torch.float64))


@pytest.mark.parametrize("bits", [4, 2])
@pytest.mark.parametrize("width", [0, 1, 6, 8, 17])
def test_packed_codes_are_read_back(bits: int, width: int) -> None:
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1)
    codes = torch.randint(low, high, (23, width)).to(torch.int8)
    rows = QuantizedRows(packed(codes.long(), bits), torch.ones(23), None, bits, width)
    assert torch.equal(dequantize_rows(rows), codes.float())


def test_rows_make_up_for_the_errors_of_the_other_side() -> None:
    """Scores of a table coded for the other one as it is stored are nearer than of one coded for it as it was."""
    items, users = correlated(300, 16, 1), correlated(400, 16, 2)
    share = torch.full((300,), 1 / 300, dtype=torch.float64)
    stored = code_rows(items, users, users, torch.full((400,), 1 / 400, dtype=torch.float64), False, 2).rows()
    scores = users @ items.T

    def off(coded: Tensor) -> float:
        found = coded @ stored.T
        return float(torch.corrcoef(torch.stack([scores.flatten(), found.flatten()]))[0, 1])

    assert off(code_rows(users, items, stored, share, False, 2).rows()) > off(
        code_rows(users, items, items, share, False, 2).rows()
    )


@pytest.mark.parametrize("bits", BITS)
def test_tables_are_those_of_quantize_model(bits: int, model: FactorModel, train: Interactions) -> None:
    ours, plain = calibrate(model, bits, train), quantize_model(model, bits)
    assert type(ours) is type(plain)
    assert ours.size_bytes() == plain.size_bytes()
    if bits == 8:
        assert isinstance(ours, FactorModel)
        assert ours.prior is model.prior
        for table, rows in ((ours.user, USERS), (ours.item, ITEMS)):
            assert table.rows.dtype == torch.int8
            assert table.rows.shape == (rows, WIDTH)
            assert int(table.rows.min()) >= -127
        return
    assert isinstance(ours, CodedModel)
    assert ours.prior is not None
    assert model.prior is not None
    assert torch.equal(ours.prior.float()[:, 0], model.prior)
    for coded, rows in ((ours.user, USERS), (ours.item, ITEMS)):
        assert isinstance(coded, PackedTable)
        assert coded.rows.shape == (rows, WIDTH)
        assert coded.rows.bits == bits
        assert (coded.rows.zero is None) == (bits == 4)


@pytest.mark.parametrize(("bits", "most"), [(8, 0.02), (4, 0.25), (2, 0.8)])
def test_scores_are_nearly_the_same(bits: int, most: float, model: FactorModel, train: Interactions) -> None:
    users = np.arange(USERS, dtype=np.int32)
    want = model.score(users)
    assert (calibrate(model, bits, train).score(users) - want).norm() < most * want.norm()


@pytest.mark.parametrize("bits", [4, 2])
def test_scores_of_who_touches_what_are_nearer_than_with_nearest_codes(bits: int, train: Interactions) -> None:
    """Their differences, which rank: a user's scores of what is touched, each item as often as it is."""
    model = cosines(USERS, ITEMS)
    users = np.arange(USERS, dtype=np.int32)
    share = torch.from_numpy(np.bincount(train.item, minlength=ITEMS) / len(train)).float()

    def off(small: FactorModel | CodedModel) -> float:
        error = small.score(users) - model.score(users)
        error = error - (error * share).sum(1, keepdim=True)
        return float((error.square() * share).sum(1).mean())

    assert off(calibrate(model, bits, train)) < off(quantize_model(model, bits))


@pytest.mark.parametrize("bits", BITS)
def test_rows_keep_their_length(bits: int, model: FactorModel, train: Interactions) -> None:
    small = calibrate(model, bits, train)
    torch.testing.assert_close(small.user.float().norm(dim=1), torch.full((USERS,), 5.0))
    torch.testing.assert_close(small.item.float().norm(dim=1), torch.ones(ITEMS))


@pytest.mark.parametrize("bits", BITS)
def test_a_row_of_zeros_stays_zero(bits: int, model: FactorModel, train: Interactions) -> None:
    user, item = model.user.rows.clone(), model.item.rows.clone()
    user[3], item[5] = 0, 0
    small = calibrate(FactorModel(Table(user), Table(item)), bits, train)
    assert not small.user.float()[3].any()
    assert not small.item.float()[5].any()
    assert small.user.float()[4].any()


@pytest.mark.parametrize("bits", BITS)
def test_tables_of_zeros_stay_zero(bits: int, train: Interactions) -> None:
    small = calibrate(FactorModel(Table(torch.zeros(USERS, 4)), Table(torch.zeros(ITEMS, 4))), bits, train)
    assert not small.user.float().any()
    assert not small.item.float().any()


def test_a_log_of_nothing_calibrates_as_one_where_all_touch_alike(model: FactorModel) -> None:
    empty = Interactions(np.zeros(0, np.int32), np.zeros(0, np.int32))
    user, item = np.divmod(np.arange(USERS * ITEMS, dtype=np.int32), ITEMS)
    first, second = calibrate(model, 4, empty), calibrate(model, 4, Interactions(user, item))
    torch.testing.assert_close(first.user.float(), second.user.float())


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_is_refused_with_its_row(value: float, model: FactorModel, train: Interactions) -> None:
    rows = model.item.rows.clone()
    rows[7, 2] = value
    with pytest.raises(InputError, match="row 7 holds NaN or Inf"):
        calibrate(FactorModel(model.user, Table(rows)), 4, train)


@pytest.mark.parametrize("bits", [0, 3, 32])
def test_other_widths_are_refused(bits: int, model: FactorModel, train: Interactions) -> None:
    with pytest.raises(ValueError, match=f"expected 2, 4 or 8 bits, got {bits}"):
        calibrate(model, bits, train)


@pytest.mark.parametrize("bits", BITS)
def test_codes_are_the_same_at_any_number_of_threads(bits: int, threads: Callable[[int], None]) -> None:
    """Rows enough for a second block and for sums that threads would share."""
    generator = torch.Generator().manual_seed(0)
    model = FactorModel(
        Table(torch.randn(3001, 33, generator=generator)), Table(torch.randn(2500, 33, generator=generator))
    )
    rng = np.random.default_rng(0)
    train = Interactions(rng.integers(0, 3001, 9000).astype(np.int32), rng.integers(0, 2500, 9000).astype(np.int32))
    found = []
    for count in (1, 2, 3):
        threads(count)
        found.append(calibrate(model, bits, train))
    for other in found[1:]:
        assert torch.equal(other.user.float(), found[0].user.float())
        assert torch.equal(other.item.float(), found[0].item.float())


def test_items_that_are_all_alike_keep_their_scores() -> None:
    user = torch.randn(USERS, 5, generator=torch.Generator().manual_seed(0))
    model = FactorModel(Table(user), Table(torch.ones(ITEMS, 5)))
    train = Interactions(np.arange(USERS, dtype=np.int32), np.arange(USERS, dtype=np.int32) % ITEMS)
    everyone = np.arange(USERS, dtype=np.int32)
    wanted, got = (some.score(everyone) for some in (model, calibrate(model, 8, train)))
    torch.testing.assert_close(got, wanted, rtol=0.03, atol=0.03 * float(wanted.abs().max()))
