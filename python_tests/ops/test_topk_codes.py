"""topk_scores of float32 rows where int8 codes rule scores out first: the same bits as without, whatever the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext import _C, CSR, ops
from gnas_ext.ops import reference
from python_tests.emulated import EMULATED

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(EMULATED, reason="CUDA has no codes")

ROWS, ITEMS = 300, 3000


@pytest.fixture(autouse=True)
def vnni() -> Iterator[None]:
    if not _C.vnni():
        pytest.skip("this machine does not offer AVX512-VNNI, without which there are no codes")
    yield
    _C.set_vnni(True)


def normal(seed: int, rows: int, width: int) -> torch.Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


def seen(rows: int, cols: int) -> CSR:
    """A fifth of the items; the last user has seen everything."""
    mask = torch.rand(rows, cols, generator=torch.Generator().manual_seed(1)) < 0.2
    mask[-1] = True
    row, col = mask.nonzero().T.contiguous()
    return CSR.from_coo(row, col, None, (rows, cols))


def outcome(
    users: torch.Tensor,
    items: torch.Tensor,
    k: int,
    exclude: CSR | None,
    allow: torch.Tensor | None,
    chunk: int | None,
    bias: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor] | str:
    """What comes back, or what is said of a score that is NaN."""
    try:
        return ops.topk_scores(users, items, k, exclude, allow, chunk, bias)
    except ValueError as error:
        return str(error)


def check(
    users: torch.Tensor,
    items: torch.Tensor,
    k: int,
    exclude: CSR | None = None,
    allow: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
) -> None:
    """Neither codes nor how the work is cut change a bit."""
    _C.set_vnni(False)
    expected = outcome(users, items, k, exclude, allow, None, bias)
    _C.set_vnni(True)
    for chunk in (None, 17):
        found = outcome(users, items, k, exclude, allow, chunk, bias)
        if isinstance(expected, str) or isinstance(found, str):
            assert found == expected
        else:
            assert torch.equal(found[1], expected[1])
            assert torch.equal(found[0], expected[0])


@pytest.mark.parametrize("width", [15, 16, 17, 33, 64, 100, 300, 2048])
def test_any_width(width: int) -> None:
    check(normal(2, ROWS, width), normal(3, ITEMS, width), 10)


@pytest.mark.parametrize("k", [1, 20, 23, 100])
@pytest.mark.parametrize("items", [2048, 2049, 20_000])
def test_any_k_and_catalogue(k: int, items: int) -> None:
    users, rows = normal(4, ROWS, 32), normal(5, items, 32)
    check(users, rows, k, seen(ROWS, items))
    check(users, rows, k, None, torch.arange(items)[items // 3 :])
    for bias in (5 * normal(12, ROWS, items), normal(13, items, ROWS).T):
        check(users, rows, k, seen(ROWS, items), None, bias)
        check(users, rows, k, None, torch.arange(items)[items // 3 :], bias)


def test_many_equal_scores_beside_all_scores_and_a_stable_sort() -> None:
    numbers = torch.Generator().manual_seed(6)
    users, items = (torch.randint(-2, 3, (n, 16), generator=numbers).float() for n in (ROWS, ITEMS))
    exclude = seen(ROWS, ITEMS)
    expected_values, expected_columns = reference.topk_scores(users, items, 20, exclude, None)
    values, columns = ops.topk_scores(users, items, 20, exclude)
    assert torch.equal(columns, expected_columns)
    assert torch.equal(values, expected_values)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**20),
    power=st.sampled_from([0.0, 1.0, 4.0, 8.0]),
    user_unit=st.sampled_from([1.0, 1e-14, 1e-15, 1e-30, 1e14, 1e15, 1e25]),
    item_unit=st.sampled_from([1.0, 1e-14, 1e-40, 1e14, 1e20]),
    sign=st.sampled_from([0.0, 1.0, -1.0]),
    k=st.integers(1, 16),
    bias_unit=st.sampled_from([0.0, 1e-3, 1.0, 30.0]),
)
def test_rows_of_any_magnitude(
    seed: int, power: float, user_unit: float, item_unit: float, sign: float, k: int, bias_unit: float
) -> None:
    """Few large entries among small ones, rows of zeros, scores that are all above or all below zero, overflow."""
    users, items = normal(seed, 256, 20), normal(seed + 1, 2100, 20)
    users, items = (rows * rows.abs() ** power for rows in (users, items))
    if sign:
        users, items = users.abs(), sign * items.abs()
    users[seed % 256] = 0
    items[:: 1 + seed % 5] *= 0.01
    items[seed % 2100] = 0
    users, items = users * user_unit, items * item_unit
    check(users, items, k)
    bias = normal(seed + 2, 256, 2100) * bias_unit * user_unit * item_unit
    bias[seed % 256, seed % 2100] = -torch.inf
    check(users, items, k, bias=bias)


def test_a_score_that_the_codes_round_down_is_found() -> None:
    """Entries that are all cut by half a code: a sum of products is as far below the score as it can be."""
    width = 256
    users = torch.full((256, width), 10.499 / 127)
    items = torch.full((4096, width), 10.45 / 127)
    items[3000:] = 10.499 / 127
    users[:, 0] = items[:, 0] = 1
    bias = torch.zeros(256, 4096)
    for one in (None, bias, bias - 1, bias + 3):
        check(users, items, 20, bias=one)
        _, columns = ops.topk_scores(users, items, 20, bias=one)
        assert columns.tolist() == [list(range(3000, 3020))] * 256


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_is_treated_as_without_codes(side: int, number: float) -> None:
    rows = [normal(8, ROWS, 16), normal(9, ITEMS, 16).abs()]
    rows[side][7, 3] = number
    check(rows[0], rows[1], 5)


@pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf])
def test_a_bias_that_is_not_finite(number: float) -> None:
    bias = normal(8, ROWS, ITEMS)
    bias[7, 2345] = bias[8, :20] = number
    check(normal(8, ROWS, 16), normal(9, ITEMS, 16), 5, bias=bias)


def test_threads_do_not_change_a_bit() -> None:
    users, items, bias = normal(10, 1000, 48), normal(11, 9000, 48), normal(12, 9000, 1000).T
    before = torch.get_num_threads()
    try:
        found, biased = [], []
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(ops.topk_scores(users, items, 20))
            biased.append(ops.topk_scores(users, items, 20, bias=bias))
    finally:
        torch.set_num_threads(before)
    for first, *others in (found, biased):
        for values, columns in others:
            assert torch.equal(columns, first[1])
            assert torch.equal(values, first[0])
