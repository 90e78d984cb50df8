"""Graphs of what a mask, a list of rows or a renaming leaves, with transposes made of the kept one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from gnas_ext import CSR, ops
from gnas_ext.graph import csr as csr_module
from gnas_ext.graph import fold_rows
from gnas_ext.ops import reference
from python_tests import graphs
from python_tests.ops.oracle import with_index

if TYPE_CHECKING:
    from collections.abc import Callable

RANDOM = torch.Generator().manual_seed(0)


def weighted(name: str, heads: int = 0) -> CSR:
    graph = graphs.make(name)
    shape = (graph.nnz, heads) if heads else (graph.nnz,)
    return CSR(graph.indptr, graph.indices, torch.randn(shape, generator=RANDOM, dtype=torch.float64), graph.shape)


def dense(csr: CSR) -> torch.Tensor:
    return reference.transpose(csr).T


def mask_of(csr: CSR) -> torch.Tensor:
    return torch.rand(csr.nnz, generator=RANDOM) < 0.5


def names_of(csr: CSR, lowest: int) -> torch.Tensor:
    return torch.randint(lowest, 5, (csr.cols,), generator=RANDOM)


def renaming(remap: torch.Tensor, size: int) -> torch.Tensor:
    """[cols, size]: the matrix that renames columns."""
    return (remap.unsqueeze(1) == torch.arange(size)).double()


PARTS: dict[str, Callable[[CSR], tuple[CSR, torch.Tensor]]] = {}


def part(function: Callable[[CSR], tuple[CSR, torch.Tensor]]) -> Callable[[CSR], tuple[CSR, torch.Tensor]]:
    PARTS[function.__name__] = function
    return function


@part
def masked(csr: CSR) -> tuple[CSR, torch.Tensor]:
    mask = mask_of(csr)
    assert csr.weight is not None
    by_entry = mask if csr.edge is None else mask[csr.edge]
    return csr.masked(mask), dense(csr.with_weight(csr.weight * by_entry))


@part
def rows(csr: CSR) -> tuple[CSR, torch.Tensor]:
    chosen = torch.randperm(csr.rows, generator=RANDOM)[: csr.rows * 2 // 3]
    return csr.select_rows(chosen), dense(csr)[chosen]


@part
def rows_that_come_twice(csr: CSR) -> tuple[CSR, torch.Tensor]:
    chosen = torch.randint(0, max(csr.rows, 1), (csr.rows,), generator=RANDOM)
    return csr.select_rows(chosen), dense(csr)[chosen]


@part
def folded(csr: CSR) -> tuple[CSR, torch.Tensor]:
    remap = names_of(csr, 0)
    return csr.remapped(remap, 5), dense(csr) @ renaming(remap, 5)


@part
def folded_and_dropped(csr: CSR) -> tuple[CSR, torch.Tensor]:
    remap = names_of(csr, -1)
    return csr.remapped(remap.int(), 6), dense(csr) @ renaming(remap, 6)


@pytest.mark.parametrize("graph", [*graphs.SMALL, "one_hub"])
@pytest.mark.parametrize("name", PARTS)
def test_the_part_and_its_transpose_are_right(name: str, graph: str) -> None:
    for csr in (weighted(graph), weighted(graph).t()):
        got, expected = PARTS[name](csr)
        assert got.shape == expected.shape
        torch.testing.assert_close(dense(got), expected)
        torch.testing.assert_close(dense(got.t()), expected.T)
        assert got.t().t().stored_weight is got.stored_weight
        # A part of a part.
        again, expected = PARTS[name](got)
        torch.testing.assert_close(dense(again.t()), expected.T)


@pytest.mark.parametrize("name", ["masked", "rows", "folded", "folded_and_dropped"])
def test_the_transpose_is_made_of_the_kept_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    csr = weighted("random")
    csr.transposed_structure()

    def sort(*_: object) -> None:
        raise AssertionError("sorted")

    monkeypatch.setattr(csr_module, "transpose", sort)
    got, expected = PARTS[name](csr)
    torch.testing.assert_close(ops.spmm(got.t(), torch.eye(got.rows, dtype=torch.float64)), expected.T)
    moved, expected = PARTS[name](csr)
    torch.testing.assert_close(dense(moved.to("cpu").t()), expected.T)


@pytest.mark.parametrize("heads", [0, 3])
@pytest.mark.parametrize("name", PARTS)
def test_gradients_reach_the_weights(name: str, heads: int) -> None:
    csr = weighted("random", heads)
    weight = csr.weight
    assert weight is not None
    weight.requires_grad_()
    if heads:
        mask, chosen, remap = mask_of(csr), torch.arange(0, 90, 2), names_of(csr, -1)
        for got in (csr.masked(mask), csr.select_rows(chosen), csr.remapped(remap, 5)):
            assert got.weight is not None
            (gradient,) = torch.autograd.grad(got.weight.sum(), weight)
            assert int(gradient.sum()) == got.nnz * heads
        return
    got, _ = PARTS[name](csr)
    x = torch.randn(got.cols, 4, generator=RANDOM, dtype=torch.float64).requires_grad_()
    to_weight, to_x = torch.autograd.grad(ops.spmm(got, x).sum(), (weight, x))
    assert to_weight.any()
    torch.testing.assert_close(to_x, dense(got).sum(0).unsqueeze(1).expand(-1, 4))


def test_every_op_takes_what_is_left() -> None:
    csr = weighted("square").with_weight(None).masked(mask_of(graphs.make("square")))
    x = torch.randn(40, 8)
    torch.testing.assert_close(ops.sddmm(csr, x, x), reference.sddmm(csr, x, x))
    torch.testing.assert_close(ops.attention(csr, x, x, x), reference.attention(csr, x, x, x))
    torch.testing.assert_close(ops.propagate(csr, x, [0.5, 0.5]), (x + ops.spmm(csr, x)) / 2)


def test_cold_rows_share_one_a_group() -> None:
    keep = torch.tensor([True, False, True, False, False, True])
    group = torch.tensor([0, 9, 0, 4, 9, 0])
    fold = fold_rows(keep, group)
    assert fold.remap.tolist() == [0, 4, 1, 3, 4, 2]
    assert (fold.size, fold.kept.tolist()) == (5, [0, 2, 5])
    x = torch.arange(12.0).reshape(6, 2).requires_grad_()
    small = fold.compact(x)
    torch.testing.assert_close(small[3:], torch.stack([x[3], (x[1] + x[4]) / 2]))
    torch.testing.assert_close(fold.expand(small)[[0, 2, 5, 3]], x[[0, 2, 5, 3]])
    given = fold.compact(x, torch.zeros(2, 2))
    torch.testing.assert_close(given, torch.cat([x[fold.kept], torch.zeros(2, 2)]))
    assert torch.autograd.grad(small.sum(), x)[0].tolist() == [[1, 1], [0.5, 0.5], [1, 1], [1, 1], [0.5, 0.5], [1, 1]]
    assert fold_rows(keep).size == 4
    assert fold_rows(torch.ones(3, dtype=torch.bool)).size == 3


def test_a_folded_table_gives_what_the_whole_one_would() -> None:
    csr = weighted("random")
    fold = fold_rows(torch.rand(70, generator=RANDOM) < 0.5, torch.arange(70) % 3)
    small = fold.compact(torch.randn(70, 4, generator=RANDOM, dtype=torch.float64))
    expected = ops.spmm(csr, fold.expand(small))
    torch.testing.assert_close(ops.spmm(csr.remapped(fold.remap, fold.size), small), expected)


def test_what_is_refused() -> None:
    csr, keep = weighted("random"), torch.ones(4, dtype=torch.bool)
    fold = fold_rows(keep)
    cases: list[tuple[type[Exception], str, Callable[[], object]]] = [
        (ValueError, r"CSR.masked: expected mask of shape \[600\]", lambda: csr.masked(keep)),
        (TypeError, "CSR.masked: expected mask in uint8, got torch.int64", lambda: csr.masked(torch.ones(75).long())),
        (ValueError, r"rows of shape \[count\], got \[2, 2\]", lambda: csr.select_rows(torch.zeros(2, 2).long())),
        (RuntimeError, r"rows\[0\] is none of the graph's 90 rows", lambda: csr.select_rows(torch.tensor([-1]))),
        (TypeError, r"rows in int32 or int64, got torch.bool: mask\.nonzero", lambda: csr.select_rows(keep)),
        (TypeError, "rows in int32 or int64, got torch.float32", lambda: csr.select_rows(torch.tensor([1.9]))),
        (ValueError, r"remap of shape \[70\], got \[4\]", lambda: csr.remapped(torch.zeros(4).long(), 1)),
        (ValueError, "cols of 0 or more, got -1", lambda: csr.remapped(torch.zeros(70).long(), -1)),
        (RuntimeError, r"remap\[0\] is 3, expected -1", lambda: csr.remapped(torch.full((70,), 3), 3)),
        (TypeError, "remap in int32 or int64, got torch.bool", lambda: csr.remapped(torch.ones(70).bool(), 2)),
        (TypeError, "keep in bool, got torch.float32", lambda: fold_rows(torch.ones(3))),
        (ValueError, r"keep of shape \[n\], got \[1, 4\]", lambda: fold_rows(keep.unsqueeze(0))),
        (TypeError, "group in integers, got torch.float32", lambda: fold_rows(keep, torch.ones(4))),
        (ValueError, r"group of shape \[4\], got \[3\]", lambda: fold_rows(keep, torch.ones(3).long())),
        (ValueError, "x of 4 rows, got", lambda: fold.compact(torch.ones(3, 2))),
        (ValueError, "shared of 0 rows, got", lambda: fold.compact(torch.ones(4, 2), torch.ones(1, 2))),
    ]
    for kind, message, call in cases:
        with pytest.raises(kind, match=message):
            call()


@pytest.mark.parametrize("beyond", [2**32 + 3, -(2**32) + 3, 2**32 - 1])
def test_numbers_beyond_the_index_type_are_out_of_range(beyond: int) -> None:
    """And not what their lower 32 bits say."""
    csr = with_index(weighted("random"), torch.int32)
    with pytest.raises(RuntimeError, match=r"rows\[0\] is none of the graph's 90 rows"):
        csr.select_rows(torch.tensor([beyond]))
    remap = torch.zeros(70, dtype=torch.int64)
    remap[5] = beyond
    with pytest.raises(RuntimeError, match=r"remap\[5\] is"):
        csr.remapped(remap, 6)
