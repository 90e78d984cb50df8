"""embedding_update_int8: a step to the bit, its mean over seeds, and that a refused one writes nothing."""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

import pytest
import torch

import gnas_ext
from gnas_ext import ops
from gnas_ext.ops import reference
from python_tests.ops.oracle import DTYPES, INDEX_TYPES
from python_tests.philox import Draws

SYMMETRIC = (True, False)
FAMILY = 2**31 + 1


class Batch(NamedTuple):
    table: ops.QuantizedRows
    rows: torch.Tensor
    grad: torch.Tensor
    state: torch.Tensor


def batch(rows: int, width: int, count: int, symmetric: bool = True) -> Batch:
    """Gradients of small and large rows, several for some of them."""
    random = torch.Generator().manual_seed(width)
    table = ops.quantize_rows(torch.randn(rows, width, generator=random), symmetric=symmetric)
    index = torch.randint(rows, (count,), generator=random)
    grad = torch.randn(count, width, generator=random) * torch.rand(count, 1, generator=random)
    return Batch(table, index, grad, torch.rand(rows, generator=random))


def copied(table: ops.QuantizedRows) -> ops.QuantizedRows:
    return ops.QuantizedRows.from_state_dict(
        {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in table.state_dict().items()}
    )


def step(b: Batch, device: torch.device | str = "cpu", **options: Any) -> tuple[ops.QuantizedRows, torch.Tensor]:
    """What a call makes of copies."""
    table, state = copied(b.table).to(device), b.state.clone().to(device)
    ops.embedding_update_int8(table, b.rows.to(device), b.grad.to(device), state, **{"lr": 0.1, **options})
    return table.to("cpu"), state.cpu()


def drawn(seed: int, table: ops.QuantizedRows, touched: torch.Tensor) -> torch.Tensor:
    even = torch.zeros(table.shape)
    for row in torch.unique(touched).tolist():
        draws = Draws(seed, row, FAMILY)
        even[row] = torch.tensor([draws.uniform() for _ in range(table.width)])
    return even


def assert_same(got: tuple[ops.QuantizedRows, torch.Tensor], expected: tuple[ops.QuantizedRows, torch.Tensor]) -> None:
    for part in ("codes", "scale", "zero"):
        one, other = getattr(got[0], part), getattr(expected[0], part)
        assert (one is None and other is None) or torch.equal(one, other), part
    assert torch.equal(got[1], expected[1])


@pytest.mark.parametrize("symmetric", SYMMETRIC)
@pytest.mark.parametrize("width", [1, 15, 16, 17, 64, 83])
def test_is_the_reference_to_the_bit(backend: torch.device, width: int, symmetric: bool) -> None:
    b = batch(12, width, 20, symmetric)
    for seed, index in ((0, torch.int32), (-7, torch.int64)):
        even = drawn(seed, b.table, b.rows)
        expected = reference.embedding_update_int8(*b, 0.1, 1e-10, even)
        assert_same(step(b._replace(rows=b.rows.to(index)), backend, seed=seed), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_of_every_type(backend: torch.device, dtype: torch.dtype) -> None:
    b = batch(30, 40, 25)
    rounded = b._replace(grad=b.grad.to(dtype).float())
    assert_same(step(b._replace(grad=b.grad.to(dtype)), backend), step(rounded))


@pytest.mark.parametrize("symmetric", SYMMETRIC)
def test_the_mean_over_seeds_is_the_step_in_float32(symmetric: bool) -> None:
    b, count = batch(8, 32, 6, symmetric), 500
    total = torch.zeros(8, 32, dtype=torch.float64)
    largest = torch.zeros(8, 1, dtype=torch.float64)
    for seed in range(count):
        table, state = step(b, lr=0.003, seed=seed)
        total += ops.dequantize_rows(table)
        largest = torch.maximum(largest, table.scale.double().unsqueeze(1))
    grad = torch.zeros(8, 32, dtype=torch.float64).index_add(0, b.rows, b.grad.double())
    expected_state = b.state.double() + grad.square().mean(1)
    exact = ops.dequantize_rows(b.table, torch.float64) - 0.003 / expected_state.sqrt().unsqueeze(1) * grad
    torch.testing.assert_close(state.double(), expected_state)
    # A rounding has a standard deviation of half a scale at most: five of the mean's.
    assert ((total / count - exact).abs() <= 5 * 0.5 * largest / count**0.5).all()


def test_only_the_rows_of_the_batch_are_touched(backend: torch.device) -> None:
    b = batch(50, 24, 9)
    table, state = step(b, backend)
    others = torch.ones(50, dtype=torch.bool).index_fill(0, b.rows, False)
    for got, before in ((table.codes, b.table.codes), (table.scale, b.table.scale), (state, b.state)):
        assert torch.equal(got[others], before[others])
    assert (state[~others] > b.state[~others]).all()


def test_entries_of_a_row_are_one_gradient(backend: torch.device) -> None:
    b = batch(5, 20, 7)._replace(rows=torch.full((7,), 3))
    total = torch.zeros(20)
    for row in b.grad:
        total = total + row
    assert_same(step(b, backend), step(b._replace(rows=torch.tensor([3]), grad=total.unsqueeze(0))))


@pytest.mark.parametrize("symmetric", SYMMETRIC)
def test_threads_and_instruction_sets_make_no_difference(symmetric: bool) -> None:
    b, before = batch(3000, 67, 4000, symmetric), gnas_ext.simd_level()
    alone = step(b, seed=5)
    try:
        for level, threads in product(gnas_ext.simd_levels(), (1, 2, 3)):
            gnas_ext.set_simd_level(level)
            torch.set_num_threads(threads)
            assert_same(step(b, seed=5), alone)
    finally:
        gnas_ext.set_simd_level(before)


def test_rows_far_apart_are_sorted(backend: torch.device) -> None:
    """A table of more rows than the digits of one pass hold."""
    index = torch.tensor([2**22 + 1, 0, 2**11, 2**22 + 1, 2**11 - 1, 0])
    table = ops.QuantizedRows(torch.zeros(2**22 + 2, 1, dtype=torch.int8), torch.ones(2**22 + 2), None, 8, 1)
    b = Batch(table, index, torch.arange(1.0, 7).unsqueeze(1), torch.zeros(2**22 + 2))
    _, state = step(b, backend)
    assert state.nonzero().flatten().tolist() == sorted(set(index.tolist()))
    assert state[index].tolist() == [25, 64, 9, 25, 25, 64]


@pytest.mark.parametrize("index", INDEX_TYPES)
def test_an_empty_batch_and_no_columns_change_nothing(backend: torch.device, index: torch.dtype) -> None:
    b = batch(6, 9, 4)
    empty = b._replace(rows=b.rows[:0].to(index), grad=b.grad[:0])
    assert_same(step(empty, backend), (b.table, b.state))
    none = b._replace(table=ops.quantize_rows(torch.zeros(6, 0)), grad=b.grad[:, :0])
    assert_same(step(none, backend), (none.table, b.state))


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("symmetric", SYMMETRIC)
@pytest.mark.parametrize("value", [torch.nan, torch.inf, 3e38])
def test_a_refused_step_writes_nothing(backend: torch.device, value: float, symmetric: bool) -> None:
    b = batch(3000, 24, 4000, symmetric)
    last = int(b.rows.argmax())
    b.grad[last, 23] = value
    table, state = copied(b.table).to(backend), b.state.clone().to(backend)
    with pytest.raises(RuntimeError, match=f"embedding_update_int8: the step of row {b.rows[last]} is not finite"):
        ops.embedding_update_int8(table, b.rows.to(backend), b.grad.to(backend), state, 0.1)
    assert_same((table.to("cpu"), state.cpu()), (b.table, b.state))


@pytest.mark.parametrize("index", INDEX_TYPES)
@pytest.mark.parametrize("wrong", [-1, 30, -(2**31), 2**31 - 1])
def test_an_index_out_of_range_writes_nothing(backend: torch.device, index: torch.dtype, wrong: int) -> None:
    b = batch(30, 8, 5)
    b.rows[3] = wrong
    table, state = copied(b.table).to(backend), b.state.clone().to(backend)
    with pytest.raises(RuntimeError, match=f"embedding_update_int8: index.* {wrong}, expected 0 or more"):
        ops.embedding_update_int8(table, b.rows.to(index).to(backend), b.grad.to(backend), state, 0.1)
    assert_same((table.to("cpu"), state.cpu()), (b.table, b.state))


def test_a_negative_state_is_refused() -> None:
    b = batch(6, 8, 4)
    with pytest.raises(RuntimeError, match="is not finite"):
        step(b._replace(state=b.state - 100))


def test_what_does_not_fit_is_refused() -> None:
    b = batch(6, 8, 4)
    cases: list[tuple[type[Exception], str, Any]] = [
        (ValueError, "rows of 8 bits, got 4", lambda: step(b._replace(table=ops.quantize_rows(torch.ones(6, 8), 4)))),
        (ValueError, r"index of shape \[batch\], got \[4, 1\]", lambda: step(b._replace(rows=b.rows.unsqueeze(1)))),
        (TypeError, "index in int32 or int64, got torch.int16", lambda: step(b._replace(rows=b.rows.short()))),
        (ValueError, r"grad of shape \[4, 8\], got \[4, 7\]", lambda: step(b._replace(grad=b.grad[:, 1:]))),
        (TypeError, "grad in float32, .*, got torch.int64", lambda: step(b._replace(grad=b.grad.long()))),
        (ValueError, r"state of shape \[6\], one a row, got \[5\]", lambda: step(b._replace(state=b.state[1:]))),
        (TypeError, "state in float32, got torch.float64", lambda: step(b._replace(state=b.state.double()))),
        (ValueError, "a finite lr, got inf", lambda: step(b, lr=torch.inf)),
        (ValueError, "an eps above 0, in float32, got 0.0", lambda: step(b, eps=0.0)),
    ]
    for kind, message, call in cases:
        with pytest.raises(kind, match=f"embedding_update_int8: expected {message}"):
            call()
    strided = b.table.codes.repeat_interleave(2, 0)[::2]
    table = ops.QuantizedRows(strided, b.table.scale, None, 8, 8)
    with pytest.raises(ValueError, match="a contiguous table, which is written in place"):
        ops.embedding_update_int8(table, b.rows, b.grad, b.state, 0.1)
    with pytest.raises(ValueError, match="a contiguous state, which is written in place"):
        ops.embedding_update_int8(b.table, b.rows, b.grad, torch.zeros(12)[::2], 0.1)
    with pytest.raises(ValueError, match="grad is on meta, the table on cpu"):
        ops.embedding_update_int8(b.table, b.rows, b.grad.to("meta"), b.state, 0.1)


def test_raw_calls_check_for_themselves() -> None:
    b, raw = batch(6, 8, 4), torch.ops.gnas_ext.embedding_update_int8
    good: dict[str, Any] = {"codes": b.table.codes, "scale": b.table.scale, "zero": None, "index": b.rows}
    good |= {"grad": b.grad, "state": b.state, "lr": 0.1, "eps": 1e-10, "seed": 0}
    for name, value, message in (
        ("codes", b.table.codes[0], r"codes of shape \[rows, width\], got \[8\]"),
        ("codes", b.table.codes.byte(), "codes in int8"),
        ("codes", b.table.codes.repeat_interleave(2, 0)[::2], "contiguous codes"),
        ("scale", b.table.scale[1:], r"scale of shape \[6\], one a row, got \[5\]"),
        ("index", b.rows.unsqueeze(0), r"index of shape \[batch\], got \[1, 4\]"),
        ("index", b.rows.float(), "index of int32 or int64"),
        ("grad", b.grad[1:], r"grad of shape \[4, 8\], got \[3, 8\]"),
        ("grad", b.grad.int(), "x of float32, float64, bfloat16 or float16"),
        ("state", b.state[1:], r"state of shape \[6\], got \[5\]"),
        ("state", torch.zeros(12)[::2], "contiguous state in float32"),
        ("lr", torch.nan, "a finite lr, got nan"),
        ("eps", -1.0, "an eps above 0, got -1"),
    ):
        with pytest.raises(RuntimeError, match=f"embedding_update_int8: expected {message}"):
            raw(**{**good, name: value})


def test_compiles_in_one_graph() -> None:
    b = batch(20, 12, 9, symmetric=False)

    def train(state: torch.Tensor, grad: torch.Tensor) -> torch.Tensor:
        ops.embedding_update_int8(table, b.rows, grad.tanh(), state, 0.1, seed=3)
        return ops.dequantize_rows(table) + state.unsqueeze(1)

    torch.compiler.reset()
    found = []
    for run in (train, torch.compile(train, fullgraph=True, backend="aot_eager")):
        table, state = copied(b.table), b.state.clone()
        found.append((run(state, b.grad), state, table.codes))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
