"""spmm_blocks and spmm_ragged: values against the reference, gradients, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext import CSR, ops
from gnas_ext.ops import prune, reference
from gnas_ext.ops.column_blocks import column_mask
from python_tests import graphs
from python_tests.emulated import EMULATED, refused
from python_tests.ops.oracle import DTYPES, INDEX_TYPES, expected_spmm, with_index

WIDTHS = (1, 37, 64, 200)


def case(rows: int, width: int, groups: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    random = torch.Generator().manual_seed(width + groups)
    blocks = torch.rand(groups, (width + 15) // 16, generator=random) < 0.5
    return blocks, torch.randint(groups, (rows,), generator=random) if groups > 1 else None


def features(csr: CSR, width: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(csr.cols, width, generator=torch.Generator().manual_seed(width)).to(dtype)


def masked(x: torch.Tensor, blocks: torch.Tensor, group: torch.Tensor | None) -> torch.Tensor:
    return torch.where(column_mask(blocks, group, x.shape[1]), x, 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("groups", [1, 3])
def test_matches_the_reference(backend: torch.device, graph: CSR, dtype: torch.dtype, groups: int) -> None:
    for width in WIDTHS:
        x = features(graph, width, dtype)
        blocks, group = case(graph.cols, width, groups)
        of_rows = None if group is None else group.to(backend)
        reduce: Literal["sum", "mean"] = "sum" if width < 64 else "mean"
        expected = expected_spmm(graph, masked(x, blocks, group), reduce)
        rows = ops.compact_blocks(x, blocks, group).to(backend)
        for index in INDEX_TYPES:
            csr = with_index(graph, index).to(backend)
            got = ops.spmm_blocks(csr, x.to(backend), blocks.to(backend), of_rows, reduce)
            expected.check(got, (width, index))
            expected.check(ops.spmm_ragged(csr, rows, reduce), (width, index))


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("graph", graphs.LARGE, indirect=True)
def test_matches_the_reference_where_cuts_divide_rows(backend: torch.device, graph: CSR, groups: int) -> None:
    for width in (17, 272):
        x = features(graph, width, torch.float32)
        blocks, group = case(graph.cols, width, groups)
        of_rows = None if group is None else group.to(backend)
        expected = expected_spmm(graph, masked(x, blocks, group), "sum")
        expected.check(ops.spmm_blocks(graph.to(backend), x.to(backend), blocks.to(backend), of_rows))
        expected.check(ops.spmm_ragged(graph.to(backend), ops.compact_blocks(x, blocks, group).to(backend)))


@pytest.mark.parametrize("groups", [1, 3])
def test_hubs_among_small_rows(backend: torch.device, groups: int) -> None:
    plain = graphs.make("hubs_among_many")
    csr = plain.with_weight(torch.randn(plain.nnz, generator=torch.Generator().manual_seed(0)))
    for width, dtype in ((40, torch.bfloat16), (37, torch.float32), (200, torch.float64)):
        typed = csr.to(dtype=dtype)
        x = features(csr, width, dtype)
        blocks, group = case(csr.cols, width, groups)
        of_rows = None if group is None else group.to(backend)
        expected = expected_spmm(typed, masked(x, blocks, group), "mean")
        expected.check(ops.spmm_blocks(typed.to(backend), x.to(backend), blocks.to(backend), of_rows, "mean"), width)
        expected.check(ops.spmm_ragged(typed.to(backend), ops.compact_blocks(x, blocks, group).to(backend), "mean"))


def test_groups_of_rows_that_are_written(backend: torch.device) -> None:
    """As the backward has them: each row of the result has its own blocks."""
    plain = graphs.make("hubs_among_many")
    call = torch.ops.gnas_ext.spmm_blocks
    for width in (37, 96, 272):
        x = features(plain, width, torch.float32)
        blocks, group = case(plain.rows, width, 3)
        assert group is not None
        expected = expected_spmm(plain, x, "sum")
        csr, mask, of_rows = plain.to(backend), blocks.to(backend), group.to(torch.uint8).to(backend)
        graph_and_x = (csr.indptr, csr.indices, None, None, x.to(backend))
        got = call(*graph_and_x, mask, None, of_rows, True, False, None, None, None)
        live = column_mask(blocks, group, width)
        zeros = torch.zeros(())
        expected._replace(exact=torch.where(live, expected.exact, zeros.double())).check(got, width)
        assert (got.cpu()[~live] == 0).all()


def check_regular(backend: torch.device, cols: int, groups: int) -> None:
    """A graph of eight edges a row, 256 columns."""
    random = torch.Generator().manual_seed(0)
    indices = torch.randint(cols, (8 * cols,), generator=random, dtype=torch.int32)
    csr = CSR(torch.arange(0, 8 * cols + 1, 8, dtype=torch.int32), indices, None, (cols, cols)).to(backend)
    x = torch.randn(cols, 256, generator=random).to(backend)
    blocks, group = case(cols, 256, groups)
    blocks[:, 0] = True
    blocks, group = blocks.to(backend), None if group is None else group.to(backend)
    torch.testing.assert_close(ops.spmm_blocks(csr, x, blocks, group), ops.spmm(csr, masked(x, blocks, group)))


@pytest.mark.parametrize("groups", [1, 4])
def test_live_blocks_are_copied_and_results_streamed(backend: torch.device, groups: int) -> None:
    check_regular(backend, 9_000, groups)


@pytest.mark.skipif(EMULATED, reason="panels are for the CPU's caches")
def test_large_features_are_copied_in_panels() -> None:
    check_regular(torch.device("cpu"), 70_000, 1)


@pytest.mark.usefixtures("two_threads")
def test_repeats_exactly_at_any_number_of_threads() -> None:
    csr = graphs.make("one_hub")
    x = features(csr, 64, torch.float32)
    blocks, group = case(csr.cols, 64, 3)
    both = ops.spmm_blocks(csr, x, blocks, group)
    torch.set_num_threads(1)
    assert torch.equal(ops.spmm_blocks(csr, x, blocks, group), both)


def test_dead_blocks_are_not_read(backend: torch.device) -> None:
    csr = graphs.make("random").to(backend)
    x = features(csr, 64, torch.float32).to(backend)
    blocks, group = (t.to(backend) for t in case(csr.cols, 64, 3) if t is not None)
    expected = ops.spmm_blocks(csr, x, blocks, group)
    poisoned = torch.where(column_mask(blocks, group, 64), x, torch.nan)
    assert torch.equal(ops.spmm_blocks(csr, poisoned, blocks, group), expected)


@pytest.mark.parametrize("groups", [1, 3])
def test_derivatives(backend: torch.device, groups: int) -> None:
    plain = CSR.from_coo(torch.tensor([3, 0, 0, 3, 2]), torch.tensor([1, 1, 1, 0, 4]), None, (4, 5)).to(backend)
    x = torch.randn(5, 18, dtype=torch.float64, device=backend, requires_grad=True)
    weight = torch.randn(5, dtype=torch.float64, device=backend, requires_grad=True)
    blocks = torch.tensor([[True, False], [False, True], [False, False]])[:groups].to(backend)
    group = torch.tensor([0, 1, 2, 1, 0], device=backend) if groups > 1 else None

    def by_mask(w: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        return ops.spmm_blocks(plain.with_weight(w), features, blocks, group, "mean")

    def by_rows(w: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        return ops.spmm_ragged(plain.with_weight(w), ops.compact_blocks(features, blocks, group), "mean")

    for function in (by_mask, by_rows):
        assert torch.autograd.gradcheck(function, (weight, x), check_forward_ad=function is by_mask)
        assert torch.autograd.gradgradcheck(function, (weight, x))


@pytest.mark.parametrize("groups", [1, 3])
def test_the_straight_through_gradient_is_that_of_the_soft_form(groups: int) -> None:
    csr = graphs.make("random")
    x = torch.randn(csr.cols, 37, dtype=torch.float64, requires_grad=True)
    mask, group = case(csr.cols, 37, groups)
    scores = torch.randn(mask.shape, dtype=torch.float64, requires_grad=True)
    out = ops.spmm_blocks(csr, x, prune.straight_through(scores, mask), group)
    soft = mask.double().requires_grad_()
    sensitivity = torch.randn_like(out)

    def product(features: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        return ops.spmm(csr, features * column_mask(numbers, group, 37))

    assert torch.autograd.gradcheck(product, (x, soft), fast_mode=True)
    ours = torch.autograd.grad(out, (x, scores), sensitivity)
    theirs = torch.autograd.grad(product(x, soft), (x, soft), sensitivity)
    torch.testing.assert_close(ours, theirs)


def test_a_live_block_counts_as_one_whatever_its_number() -> None:
    csr, x = graphs.make("random"), torch.randn(70, 37, dtype=torch.float64, requires_grad=True)
    hard = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64, requires_grad=True)
    soft = torch.tensor([0.5, 0.0, -3.0], dtype=torch.float64, requires_grad=True)
    one, other = ops.spmm_blocks(csr, x, hard), ops.spmm_blocks(csr, x, soft)
    sensitivity = torch.randn_like(one)
    assert torch.equal(one, other)
    expected = torch.autograd.grad(one, (x, hard), sensitivity)
    for ours, theirs in zip(torch.autograd.grad(other, (x, soft), sensitivity), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@given(st.integers(1, 70), st.integers(1, 5), st.integers(0, 2**31 - 1))
@settings(max_examples=30, deadline=None)
def test_compact_holds_the_live_blocks_and_nothing_else(width: int, groups: int, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(20, width, generator=random)
    blocks = torch.rand(groups, (width + 15) // 16, generator=random) < 0.5
    group = torch.randint(groups, (20,), generator=random)
    rows = ops.compact_blocks(x, blocks, group)
    live = int(blocks[group].sum())
    assert rows.values.nbytes == 64 * max(live, 1)
    assert rows.nbytes == rows.values.nbytes + 20 * 4 + blocks.nbytes + 20
    assert torch.equal(rows.expand(), masked(x, blocks, group))


def test_one_mask_for_all_rows_is_a_narrower_matrix() -> None:
    csr = graphs.make("random")
    x = features(csr, 64, torch.float32)
    blocks = torch.tensor([False, True, True, False])
    narrow = ops.compact_blocks(x, blocks).values.view(csr.cols, -1)
    assert torch.equal(narrow, x[:, 16:48])
    wide = ops.spmm_blocks(csr, x, blocks)
    torch.testing.assert_close(wide[:, 16:48], ops.spmm(csr, narrow))
    torch.testing.assert_close(wide, reference.spmm_blocks(csr, x, blocks))


def test_compiles_in_one_graph() -> None:
    csr = graphs.make("random").to()
    csr.transposed_structure()
    blocks, group = case(csr.cols, 37, 3)
    assert group is not None
    step = partial(ops.spmm_blocks, csr, blocks=blocks, group=group.to(torch.uint8))
    x = features(csr, 37, torch.float64).requires_grad_()
    torch.compiler.reset()
    got = torch.compile(lambda v: step(torch.tanh(v)).sum(), fullgraph=True, backend="aot_eager")(x)
    (ours,) = torch.autograd.grad(got, x)
    (theirs,) = torch.autograd.grad(step(torch.tanh(x)).sum(), x)
    torch.testing.assert_close(ours, theirs)


def test_says_what_was_expected_and_what_came() -> None:
    csr = graphs.make("random")
    x = features(csr, 64, torch.float32)
    with pytest.raises(ValueError, match=r"expected blocks of shape \[groups, 4\] for a width of 64, got \[3\]"):
        ops.spmm_blocks(csr, x, torch.ones(3, dtype=torch.bool))
    with pytest.raises(TypeError, match=r"expected blocks in bool, got torch\.int64"):
        ops.spmm_blocks(csr, x, torch.ones(4, dtype=torch.int64))
    with pytest.raises(ValueError, match="expected group from 0 to 1, got values from 0 to 300"):
        ops.spmm_blocks(csr, x, torch.ones(2, 4, dtype=torch.bool), torch.arange(csr.cols).clamp(max=1) * 300)
    with pytest.raises(ValueError, match="expected reduce in sum, mean, got 'max'"):
        ops.spmm_blocks(csr, x, torch.ones(4, dtype=torch.bool), reduce="max")  # type: ignore[arg-type]
    rows = ops.compact_blocks(x, torch.ones(4, dtype=torch.bool))
    with pytest.raises(RuntimeError, match=refused("row 69 begins at block 280, which leaves less than its 4")):
        ops.spmm_ragged(csr, replace(rows, begin=rows.begin + 4))
    group = torch.full((csr.cols,), 5, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="group has a value of 5, but there are masks of 2 groups"):
        ops.spmm_blocks(csr, x, torch.ones(2, 4, dtype=torch.bool), group)
