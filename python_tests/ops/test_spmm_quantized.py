"""spmm_quantized: values, the bound that the scales give, gradients, and rows quantised again."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import grad, jvp

import gnas_ext
from gnas_ext import CSR, ops
from gnas_ext.ops import reference
from gnas_ext.ops.quantized_rows import BITS, QuantizedRows, packed
from python_tests import graphs
from python_tests.emulated import EMULATED, refused
from python_tests.ops.oracle import INDEX_TYPES, with_index

if TYPE_CHECKING:
    from gnas_ext.ops.spmm_quantized import QuantizedReduce

REDUCES: tuple[QuantizedReduce, ...] = ("sum", "mean")
WIDTHS = (0, 1, 3, 15, 16, 33, 64, 100, 128, 256, 300)


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def check(csr: CSR, rows: QuantizedRows, reduce: QuantizedReduce, got: torch.Tensor, case: object) -> None:
    """Fails unless it is the sum of the dequantised rows, to within the rounding of float32."""
    values = reference.dequantize_rows(rows, torch.float64)
    exact = reference.spmm(csr, values, reduce)
    positive = csr.with_weight(None if csr.weight is None else csr.weight.abs())
    zero = torch.zeros(rows.rows) if rows.zero is None else rows.zero
    largest = values.abs() + 2 * zero.double().abs().unsqueeze(1)
    size = reference.spmm(positive, largest, reduce)
    allowed = torch.finfo(torch.float32).eps * (csr.degree().unsqueeze(1) + 4) * size
    assert got.dtype == torch.float32, case
    assert got.shape == exact.shape, case
    assert ((got.cpu().double() - exact).abs() <= allowed + 1e-37).all(), case


@pytest.mark.parametrize("bits", BITS)
def test_is_the_sum_of_the_dequantised_rows(backend: torch.device, graph: CSR, bits: int) -> None:
    for width, affine in product(WIDTHS, (False, True)):
        rows = reference.quantize_rows(numbers(graph.cols, width), bits, not affine)
        for weight, index in product((None, numbers(graph.nnz, seed=1)), INDEX_TYPES):
            csr = with_index(graph, index).with_weight(weight)
            for reduce in REDUCES:
                got = ops.spmm_quantized(csr.to(backend), rows.to(backend), reduce)
                check(csr, rows, reduce, got, (width, affine, weight is None, index, reduce))


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("graph", graphs.LARGE, indirect=True)
def test_where_cuts_divide_rows(backend: torch.device, graph: CSR) -> None:
    csr = graph.with_weight(numbers(graph.nnz, seed=1))
    for bits, width in product(BITS, (17, 64)):
        rows = reference.quantize_rows(numbers(graph.cols, width), bits, symmetric=False)
        got = ops.spmm_quantized(csr.to(backend), rows.to(backend), "mean")
        check(csr, rows, "mean", got, (bits, width))
        torch.set_num_threads(1)
        assert torch.equal(ops.spmm_quantized(csr.to(backend), rows.to(backend), "mean"), got)
        torch.set_num_threads(2)


def test_hubs_among_small_rows(backend: torch.device) -> None:
    plain = graphs.make("hubs_among_many")
    csr = with_index(plain, torch.int32).with_weight(numbers(plain.nnz, seed=1)).to(backend)
    cases: tuple[tuple[int, int, bool, QuantizedReduce], ...] = (
        (8, 64, False, "sum"),
        (4, 17, True, "mean"),
        (2, 300, True, "sum"),
    )
    for bits, width, affine, reduce in cases:
        rows = reference.quantize_rows(numbers(plain.cols, width), bits, not affine)
        check(csr.to("cpu"), rows, reduce, ops.spmm_quantized(csr, rows.to(backend), reduce), (bits, width))
    for width in (40, 264):
        check_requantized(csr, reference.quantize_rows(numbers(plain.cols, width), 8).to(backend), "mean")


def test_dot_products_of_hubs_and_of_wide_rows(backend: torch.device) -> None:
    csr, width = graphs.make("hubs_among_many"), 300
    left = numbers(csr.rows, width, seed=1)
    for bits, affine, number in ((8, False, 24), (8, True, 1), (8, True, width), (4, True, 17), (2, False, 40)):
        rows = reference.quantize_rows(numbers(csr.cols, number), bits, not affine)
        values, a = reference.dequantize_rows(rows, torch.float64), left[:, :number].contiguous()
        got = dots(csr.to(backend), a.to(backend), rows.to(backend))
        exact = reference.sddmm(csr, a.double(), values)
        zero = torch.zeros(rows.rows, 1) if rows.zero is None else rows.zero.unsqueeze(1)
        size = reference.sddmm(csr, a.double().abs(), values.abs() + 2 * zero.double().abs())
        allowed = torch.finfo(torch.float32).eps * (number + 4) * size
        assert ((got.cpu().double() - exact).abs() <= allowed).all(), (bits, affine, number)


def dots(csr: CSR, a: torch.Tensor, rows: QuantizedRows) -> torch.Tensor:
    """The gradient of the weights, as the backward asks for it."""
    edge = torch.arange(csr.nnz, device=a.device).flip(0)
    call = torch.ops.gnas_ext.sddmm_quantized
    numbers = (rows.codes, rows.scale, rows.zero, None, rows.bits, rows.shape[1], None, None, None)
    forward: torch.Tensor = call(csr.indptr, csr.indices, edge, a, *numbers)
    assert torch.equal(forward.flip(0), call(csr.indptr, csr.indices, None, a, *numbers))
    return forward.flip(0)


def test_weights_are_looked_up_where_they_are_stored(backend: torch.device) -> None:
    csr = graphs.make("random")
    csr = csr.with_weight(numbers(csr.nnz, seed=1))
    rows = reference.quantize_rows(numbers(csr.rows, 40), 4, symmetric=False)
    assert csr.t().edge is not None
    check(csr.t(), rows, "sum", ops.spmm_quantized(csr.t().to(backend), rows.to(backend)), "transposed")


@pytest.mark.skipif(EMULATED, reason="panels are for the CPU's caches")
@pytest.mark.usefixtures("two_threads")
def test_a_large_table_is_copied_a_panel_at_a_time(backend: torch.device) -> None:
    """More than 32 MiB of codes, each row read eight times: the panels of the copy are put side by side."""
    cols, width = 70_000, 500
    random = torch.Generator().manual_seed(0)
    indices = torch.randint(cols, (8 * cols,), generator=random, dtype=torch.int32)
    csr = CSR(torch.tensor([0, len(indices) - 40, len(indices)], dtype=torch.int32), indices, None, (2, cols))
    last = CSR(torch.tensor([0, 40], dtype=torch.int32), indices[-40:], None, (1, cols))
    codes = torch.randint(-128, 128, (cols, width), generator=random, dtype=torch.int8)
    rows = QuantizedRows(codes, torch.rand(cols, generator=random), None, 8, width)
    got = ops.spmm_quantized(csr.to(backend), rows.to(backend))
    check(last, rows, "sum", got[1:], "the last row")


@pytest.mark.usefixtures("two_threads")
def test_a_large_result_goes_past_the_caches(backend: torch.device) -> None:
    """More than 32 MiB of it; rows that are whole, rows that a cut divides, and rows without edges."""
    rows, width = 70_000, 128
    random = torch.Generator().manual_seed(0)
    row = torch.cat([torch.randint(rows // 2, (30_000,), generator=random), torch.full((20_000,), 5)])
    csr = CSR.from_coo(row, torch.randint(40, (50_000,), generator=random), None, (rows, 40))
    table = reference.quantize_rows(numbers(40, width), 8)
    got = ops.spmm_quantized(csr.to(backend), table.to(backend)).cpu()
    exact = reference.spmm(csr, reference.dequantize_rows(table, torch.float64), "sum").float()
    # A row of twenty thousand sums.
    torch.testing.assert_close(got, exact, rtol=1e-4, atol=2e-2)


Case = tuple[list[list[float]], list[list[tuple[int, float]]]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    cols, width = draw(st.integers(1, 6)), draw(st.integers(1, 70))
    number = st.floats(-1e4, 1e4, width=32, allow_subnormal=False)
    row = st.lists(number, min_size=width, max_size=width)
    edge = st.tuples(st.integers(0, cols - 1), number)
    edges = st.lists(st.lists(edge, max_size=20), min_size=1, max_size=4)
    return draw(st.lists(row, min_size=cols, max_size=cols)), draw(edges)


@settings(deadline=None, max_examples=150)
@given(case=cases(), bits=st.sampled_from(BITS), affine=st.booleans(), reduce=st.sampled_from(REDUCES))
def test_is_within_the_bound_that_the_scales_give(case: Case, bits: int, affine: bool, reduce: QuantizedReduce) -> None:
    """Against the float rows: at most half a step of each neighbour, times its weight, and float32's rounding."""
    x, edges = torch.tensor(case[0]), [edge for row in case[1] for edge in row]
    degree = torch.tensor([len(row) for row in case[1]])
    indices = torch.tensor([column for column, _ in edges], dtype=torch.int64)
    weight = torch.tensor([w for _, w in edges])
    indptr = torch.cat([torch.zeros(1, dtype=torch.int64), degree.cumsum(0)])
    csr = CSR(indptr, indices, weight, (len(degree), len(x)))
    rows = reference.quantize_rows(x, bits, not affine)
    exact = reference.spmm(csr, x.double(), reduce)
    positive = csr.with_weight(weight.abs().double())
    steps = reference.spmm(positive, rows.scale.double().unsqueeze(1), reduce) / 2
    largest = x.abs().amax(1).double() + (2 ** (bits - 1) + 1) * rows.scale.double()
    size = reference.spmm(positive, largest.unsqueeze(1), reduce)
    rounding = 3 * torch.finfo(torch.float32).eps * (degree.unsqueeze(1) + 4) * size
    before = gnas_ext.simd_level()
    try:
        for level in [before] if EMULATED else gnas_ext.simd_levels():
            gnas_ext.set_simd_level(level)
            error = (ops.spmm_quantized(csr, rows, reduce).double() - exact).abs()
            assert (error <= steps + rounding + 1e-30).all(), level
    finally:
        gnas_ext.set_simd_level(before)


def check_requantized(csr: CSR, rows: QuantizedRows, reduce: QuantizedReduce) -> None:
    out = ops.spmm_quantized(csr, rows, reduce)
    again = ops.spmm_quantized(csr, rows, reduce, out_bits=8)
    expected = reference.quantize_rows(out.cpu(), 8)
    assert (again.bits, again.zero, again.shape) == (8, None, tuple(out.shape))
    assert torch.equal(again.scale.cpu(), expected.scale)
    assert torch.equal(again.codes.cpu(), expected.codes)
    ours = ops.quantize_rows(out)
    assert torch.equal(again.scale, ours.scale)
    assert torch.equal(again.codes, ours.codes)


def test_the_result_quantised_again_is_the_quantised_result(backend: torch.device, graph: CSR) -> None:
    csr = graph.with_weight(numbers(graph.nnz, seed=1)).to(backend)
    for bits, width, reduce in product(BITS, (1, 17, 64, 200), REDUCES):
        check_requantized(
            csr, reference.quantize_rows(numbers(graph.cols, width), bits, symmetric=False).to(backend), reduce
        )


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("graph", graphs.LARGE, indirect=True)
def test_divided_rows_are_quantised_when_they_are_whole(backend: torch.device, graph: CSR) -> None:
    check_requantized(graph.to(backend), reference.quantize_rows(numbers(graph.cols, 37), 8).to(backend), "mean")


def test_hops_stay_in_int8(backend: torch.device) -> None:
    csr = graphs.make("square").with_weight(numbers(300, seed=1) / 8).to(backend)
    rows = reference.quantize_rows(numbers(40, 64), 8).to(backend)
    dense = csr.with_weight(csr.weight)
    x, bound = reference.dequantize_rows(rows.to("cpu"), torch.float64), torch.zeros(40, 64, dtype=torch.float64)
    host = dense.to("cpu", torch.float64)
    assert host.weight is not None
    for _ in range(3):
        rows = ops.spmm_quantized(csr, rows, out_bits=8)
        x = reference.spmm(host, x)
        bound = reference.spmm(host.with_weight(host.weight.abs()), bound)
        bound = bound + 0.501 * rows.scale.cpu().double().unsqueeze(1)
    assert ((reference.dequantize_rows(rows.to("cpu"), torch.float64) - x).abs() <= bound + 1e-4).all()


def test_codes_at_both_ends(backend: torch.device) -> None:
    """-128 and 127, degree 100,000."""
    csr = CSR(torch.tensor([0, 100_000, 100_000]), torch.arange(2).repeat(50_000), None, (2, 2)).to(backend)
    codes = torch.tensor([[-128] * 70, [127] * 70], dtype=torch.int8)
    rows = QuantizedRows(codes, torch.ones(2), None, 8, 70).to(backend)
    expected = torch.tensor([[-50_000.0], [0]]).expand(2, 70)
    torch.testing.assert_close(ops.spmm_quantized(csr, rows).cpu(), expected, rtol=1e-5, atol=1.0)


def small() -> tuple[CSR, QuantizedRows, torch.Tensor, torch.Tensor]:
    csr = CSR.from_coo(torch.tensor([3, 0, 0, 3, 2]), torch.tensor([1, 1, 1, 0, 4]), None, (4, 5))
    x = numbers(5, 9)
    return csr, reference.quantize_rows(x, 4, symmetric=False), x.requires_grad_(), numbers(5, seed=1).requires_grad_()


@pytest.mark.parametrize("reduce", REDUCES)
def test_gradients_are_those_of_spmm_over_the_dequantised_rows(backend: torch.device, reduce: QuantizedReduce) -> None:
    csr, rows, master, weight = small()
    gradient = numbers(4, 9, seed=2)
    there = csr.to(backend).with_weight(weight.to(backend))
    out = ops.spmm_quantized(there, rows.to(backend), reduce, master=master.to(backend))
    got = torch.autograd.grad(out, (weight, master), gradient.to(backend))
    values = reference.dequantize_rows(rows, torch.float64).float().requires_grad_()
    theirs = ops.spmm(csr.with_weight(weight), values, reduce)
    torch.testing.assert_close(out.cpu(), theirs)
    for one, other in zip(got, torch.autograd.grad(theirs, (weight, values), gradient), strict=True):
        torch.testing.assert_close(one.cpu(), other)


def test_the_values_of_the_master_are_not_read(backend: torch.device) -> None:
    csr, rows, master, weight = small()
    nowhere = torch.full_like(master, torch.nan).requires_grad_()
    csr, rows = csr.with_weight(weight.detach()).to(backend), rows.to(backend)
    ours = torch.autograd.grad(ops.spmm_quantized(csr, rows, master=nowhere.to(backend)).sum(), nowhere)[0]
    theirs = torch.autograd.grad(ops.spmm_quantized(csr, rows, master=master.to(backend)).sum(), master)[0]
    assert torch.equal(ours, theirs)


def loss(csr: CSR, rows: QuantizedRows, weight: torch.Tensor, master: torch.Tensor) -> torch.Tensor:
    return ops.spmm_quantized(csr.with_weight(weight), rows, master=master).square().sum()


def twin(csr: CSR, rows: QuantizedRows, weight: torch.Tensor, master: torch.Tensor) -> torch.Tensor:
    """The same over float rows whose gradient goes straight through."""
    values = reference.dequantize_rows(rows, torch.float64).float() + (master - master.detach())
    return ops.spmm(csr.with_weight(weight), values).square().sum()


def test_second_derivatives(backend: torch.device) -> None:
    csr, rows, master, weight = small()
    second: list[tuple[torch.Tensor, ...]] = []
    for function, place in ((loss, backend), (twin, torch.device("cpu"))):
        leaves = tuple(leaf.detach().to(place).requires_grad_() for leaf in (weight, master))
        first = torch.autograd.grad(function(csr.to(place), rows.to(place), *leaves), leaves, create_graph=True)
        mixed = torch.stack([(part / 50).sin().sum() for part in first]).sum()
        second.append(tuple(part.cpu() for part in torch.autograd.grad(mixed, leaves)))
    torch.testing.assert_close(*second)


def test_under_torch_func() -> None:
    csr, rows, *leaves = small()
    master, weight = (leaf.detach() for leaf in leaves)
    torch.testing.assert_close(
        grad(partial(loss, csr, rows), argnums=(0, 1))(weight, master),
        grad(partial(twin, csr, rows), argnums=(0, 1))(weight, master),
    )
    tangents = (torch.ones_like(weight), torch.ones_like(master))
    torch.testing.assert_close(
        jvp(partial(loss, csr, rows), (weight, master), tangents),
        jvp(partial(twin, csr, rows), (weight, master), tangents),
    )


def test_compiles_in_one_graph() -> None:
    csr, rows, master, weight = small()
    csr.transposed_structure()
    torch.compiler.reset()
    step = torch.compile(partial(loss, csr, rows), fullgraph=True, backend="aot_eager")
    ours = torch.autograd.grad(step(weight, master), (weight, master))
    torch.testing.assert_close(ours, torch.autograd.grad(loss(csr, rows, weight, master), (weight, master)))


def test_says_what_was_expected_and_what_came() -> None:
    csr, rows, master, weight = small()
    call, weighted = ops.spmm_quantized, csr.with_weight(weight)
    cases: list[tuple[type[Exception], str, partial[object]]] = [
        (
            ValueError,
            "5 quantised rows for a graph of shape [4, 5], got 4",
            partial(call, csr, reference.quantize_rows(numbers(4, 9), 8)),
        ),
        (ValueError, "reduce in sum, mean, got 'max'", partial(call, csr, rows, "max")),
        (ValueError, "out_bits of 8 or None, got 4", partial(call, csr, rows, out_bits=4)),
        (ValueError, "out_bits has no gradient", partial(call, weighted, rows, out_bits=8)),
        (ValueError, "master of shape [5, 9], got [5, 8]", partial(call, csr, rows, master=master[:, 1:])),
        (TypeError, "master in float32, got torch.float64", partial(call, csr, rows, master=master.double())),
        (TypeError, "weight in float32, got torch.float64", partial(call, weighted.to(dtype=torch.float64), rows)),
        (
            ValueError,
            "weight of shape [5], one an edge, got [5, 2]",
            partial(call, csr.with_weight(torch.ones(5, 2)), rows),
        ),
        (ValueError, "rows are on meta, the graph on cpu", partial(call, csr, rows.to("meta"))),
    ]
    for kind, message, wrong in cases:
        with pytest.raises(kind) as error:
            wrong()
        assert str(error.value).startswith("spmm_quantized: ")
        assert message in str(error.value)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_result_that_is_not_finite_has_no_codes(backend: torch.device, bad: float) -> None:
    csr, rows, _, weight = small()
    weight = weight.detach().clone()
    weight[2] = bad
    with pytest.raises(RuntimeError, match="spmm_requantized: row 2 of the result is not finite"):
        ops.spmm_quantized(csr.with_weight(weight).to(backend), rows.to(backend), out_bits=8)


def test_raw_calls_are_checked(backend: torch.device) -> None:
    if backend.type != "cpu":
        pytest.skip("on CUDA the kernel traps, which ends the process's context")
    native = torch.ops.gnas_ext
    graph, codes, scale = (
        (torch.tensor([0, 2]), torch.tensor([0, 9])),
        torch.ones(3, 8, dtype=torch.int8),
        torch.ones(3),
    )
    nothing = (None, None, None)
    good = torch.tensor([0, 2])
    x = torch.ones(1, 8)
    calls = [
        (
            partial(native.spmm_quantized, *graph, None, None, codes, scale, None, None, 8, 8, "sum", *nothing),
            "entry 1 of",
        ),
        (partial(native.spmm_requantized, *graph, None, None, codes, scale, None, 8, 8, "sum"), "entry 1 of"),
        (partial(native.sddmm_quantized, *graph, None, x, codes, scale, None, None, 8, 8, *nothing), "entry 1 of"),
        (
            partial(native.spmm_quantized, good, good, None, None, codes, scale, None, None, 8, 9, "sum", *nothing),
            r"codes of shape \[rows, 9\]",
        ),
        (
            partial(native.sddmm_quantized, good, good, None, x[:, 1:], codes, scale, None, None, 8, 8, *nothing),
            r"a of shape \[1, 8\], got \[1, 7\]",
        ),
    ]
    for call, message in calls:
        with pytest.raises(RuntimeError, match=refused(message)):
            call()


def test_the_reference_agrees(graph: CSR) -> None:
    csr = graph.with_weight(numbers(graph.nnz, seed=1))
    for bits, reduce in product(BITS, REDUCES):
        rows = reference.quantize_rows(numbers(graph.cols, 37), bits, symmetric=False)
        check(csr, rows, reduce, reference.spmm_quantized(csr, rows, reduce), (bits, reduce))


def test_packs_as_is_documented() -> None:
    assert packed(torch.tensor([[-8, 7, 0]]), 4).tolist() == [[0xF0, 0x08]]
    assert packed(torch.tensor([[-2, -1, 0, 1, 1]]), 2).tolist() == [[0b11100100, 0b11]]
