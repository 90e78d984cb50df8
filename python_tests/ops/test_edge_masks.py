"""Masks of edges: packed and back, by score, by rank, and at random from a counter."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gnas_ext
from gnas_ext import CSR, ops
from gnas_ext.ops import edge_masks
from python_tests import graphs
from python_tests.ops.oracle import INDEX_TYPES, with_index
from python_tests.philox import WORD, Draws, philox4x32

FAMILY = 0xED6ED809


@given(st.lists(st.booleans(), max_size=40))
def test_a_packed_mask_comes_back(bits: list[bool]) -> None:
    mask = torch.tensor(bits, dtype=torch.bool)
    packed = ops.pack_mask(mask)
    assert packed.tolist() == [
        sum(bit << n for n, bit in enumerate(bits[at : at + 8])) for at in range(0, len(bits), 8)
    ]
    assert torch.equal(ops.unpack_mask(packed, len(bits)), mask)


def test_a_part_of_a_mask_is_packed() -> None:
    mask = torch.rand(99) < 0.5
    assert torch.equal(ops.unpack_mask(ops.pack_mask(mask[3:96:2]), 47), mask[3:96:2])


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 1.0])
def test_the_largest_scores_stay(keep: float) -> None:
    scores = torch.randint(0, 5, (203,)).float()
    mask = ops.edge_mask(scores, keep)
    first = torch.argsort(scores, descending=True, stable=True)[: round(keep * 203)]
    assert torch.equal(mask.nonzero().squeeze(1), first.sort().values)


def test_a_threshold() -> None:
    assert ops.edge_mask(torch.tensor([1.0, 2.0, 3.0]), threshold=2.0).tolist() == [False, True, True]


@pytest.mark.parametrize("graph", [*graphs.SMALL, *graphs.LARGE], indirect=True)
def test_top_k_of_each_row(graph: CSR) -> None:
    scores = torch.randint(0, 6, (graph.nnz,)).float()
    for k in (0, 1, 3):
        mask = ops.topk_per_row(graph, scores, k)
        for row in range(min(graph.rows, 100)):
            own = slice(int(graph.indptr[row]), int(graph.indptr[row + 1]))
            best = torch.argsort(scores[own], descending=True, stable=True)[:k]
            assert torch.equal(mask[own].nonzero().squeeze(1), best.sort().values)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int64])
def test_top_k_of_any_scores(backend: torch.device, dtype: torch.dtype) -> None:
    """As two stable sorts have it, which is what CUDA runs; both zeros are alike, and NaN is above all."""
    csr = with_index(graphs.make("one_hub"), torch.int32)
    scores = torch.randint(-3, 4, (csr.nnz,)).to(dtype)
    if dtype.is_floating_point:
        scores[::7] = torch.nan
        scores[1::9] = -0.0
    expected = edge_masks._topk_cuda(csr.indptr, scores.double(), 5)
    assert torch.equal(ops.topk_per_row(csr.to(backend), scores.to(backend), 5).cpu(), expected)


def test_top_k_of_a_transpose_is_in_the_order_of_its_weights() -> None:
    csr = graphs.make("random").with_weight(None)
    t, scores = csr.t(), torch.randperm(csr.nnz).float()
    assert t.edge is not None
    kept = ops.topk_per_row(t, scores, 2)
    # The same entries in an order of their own.
    own = t.with_weight(None)
    expected = own.masked(ops.topk_per_row(own, scores[t.edge.long()], 2))
    x = torch.randn(t.cols, 3)
    for got in (ops.spmm_masked(t, x, kept), ops.spmm(t.masked(kept), x)):
        torch.testing.assert_close(got, ops.spmm(expected, x))


@pytest.mark.parametrize(("seed", "stream"), [(0, 0), (2**64 - 3, 2**63 + 5), (-7, 12)])
def test_dropout_draws_from_the_counter(backend: torch.device, seed: int, stream: int) -> None:
    nnz, p = 403, 0.3
    draws = Draws(seed % 2**64, stream, FAMILY)
    expected = [draws.next() >= int(p * 2**32) for _ in range(nnz)]
    mask = ops.edge_dropout_mask(nnz, p, seed, stream, device=backend)
    assert ops.unpack_mask(mask, nnz).tolist() == expected
    assert int(mask[-1]) >> (nnz % 8) == 0


@pytest.mark.parametrize("index", INDEX_TYPES)
def test_both_directions_of_an_edge_share_a_fate(backend: torch.device, index: torch.dtype) -> None:
    seed, stream, p = 5, 2**40 + 1, 0.5
    half = with_index(graphs.make("square"), index)
    row, col = half.row_index(), half.indices
    csr = CSR.from_coo(torch.cat([row, col]), torch.cat([col, row]), None, half.shape).to(backend)
    mask = ops.unpack_mask(ops.edge_dropout_mask(csr, p, seed, stream, undirected=True), csr.nnz).cpu()
    key = philox4x32((0, FAMILY + 1, stream & WORD, stream >> 32), (seed, 0))[:2]
    ends = zip(csr.row_index().tolist(), csr.indices.tolist(), strict=True)
    expected = [philox4x32((min(pair), max(pair), FAMILY, 0), key)[0] >= int(p * 2**32) for pair in ends]
    assert mask.tolist() == expected
    back = ops.edge_dropout_mask(csr.t(), p, seed, stream, undirected=True)
    assert torch.equal(back, ops.pack_mask(mask).to(backend))


@pytest.mark.usefixtures("two_threads")
def test_dropout_is_the_same_at_every_level_and_number_of_threads(backend: torch.device) -> None:
    csr = graphs.make("desert").to(backend)
    before = gnas_ext.simd_level()
    for undirected in (False, True):
        square = CSR(csr.indptr, csr.indices, None, (csr.rows, csr.rows))
        got = ops.edge_dropout_mask(square, 0.7, 3, undirected=undirected).cpu()
        gnas_ext.set_simd_level("baseline")
        torch.set_num_threads(1)
        assert torch.equal(got, ops.edge_dropout_mask(square.to("cpu"), 0.7, 3, undirected=undirected))
        gnas_ext.set_simd_level(before)
        torch.set_num_threads(2)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.9, 1.0])
def test_the_share_that_is_dropped(p: float) -> None:
    """100,000 edges: six standard deviations."""
    dropped = 1 - ops.unpack_mask(ops.edge_dropout_mask(100_000, p, 1), 100_000).double().mean()
    assert abs(float(dropped) - p) <= 6 * (p * (1 - p) / 100_000) ** 0.5
    if p in (0.0, 1.0):
        assert float(dropped) == p


def test_what_is_refused() -> None:
    csr = graphs.make("random")
    with pytest.raises(TypeError, match=r"pack_mask: expected mask in bool, got torch.uint8"):
        ops.pack_mask(torch.zeros(3, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"pack_mask: expected mask of shape \[nnz\], got \[2, 2\]"):
        ops.pack_mask(torch.zeros(2, 2, dtype=torch.bool))
    with pytest.raises(TypeError, match=r"unpack_mask: expected mask in uint8, got torch.bool"):
        ops.unpack_mask(torch.zeros(3, dtype=torch.bool), 3)
    with pytest.raises(ValueError, match=r"unpack_mask: expected mask of shape \[2\] for 9 bits, got \[3\]"):
        ops.unpack_mask(torch.zeros(3, dtype=torch.uint8), 9)
    with pytest.raises(ValueError, match="edge_mask: expected one of keep and threshold"):
        ops.edge_mask(torch.ones(3))
    with pytest.raises(ValueError, match=r"edge_mask: expected keep from 0 to 1, got 1.5"):
        ops.edge_mask(torch.ones(3), 1.5)
    with pytest.raises(ValueError, match=r"edge_mask: expected scores of shape \[nnz\], got \[3, 2\]"):
        ops.edge_mask(torch.ones(3, 2), 0.5)
    with pytest.raises(ValueError, match=r"topk_per_row: expected scores of shape \[600\], got \[3\]"):
        ops.topk_per_row(csr, torch.ones(3), 2)
    with pytest.raises(ValueError, match="topk_per_row: expected k of 0 or more, got -1"):
        ops.topk_per_row(csr, torch.ones(600), -1)
    with pytest.raises(ValueError, match=r"edge_dropout_mask: expected p from 0 to 1, got -0.1"):
        ops.edge_dropout_mask(9, -0.1, 0)
    with pytest.raises(ValueError, match=r"edge_dropout_mask: expected 0 to 2\^34 - 1 edges, got -9"):
        ops.edge_dropout_mask(-9, 0.1, 0)
    for edges, got in ((9, "a number"), (csr, r"shape \[90, 70\]")):
        with pytest.raises(ValueError, match=rf"undirected needs a graph of shape \[n, n\], got {got}"):
            ops.edge_dropout_mask(edges, 0.1, 0, undirected=True)
