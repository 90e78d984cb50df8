"""prune: scores, masks of exact size, and a gradient through them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext.ops import prune

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_scores_of_weights() -> None:
    weight, grad = torch.tensor([2.0, -3.0]), torch.tensor([-1.0, -4.0])
    assert prune.magnitude(weight).tolist() == [2, 3]
    assert prune.gradient_times_weight(weight, grad).tolist() == [2, 12]
    first = prune.movement(weight, grad)
    assert first.tolist() == [2, -12]  # a step against grad moves 2 away from zero, -3 towards it
    assert prune.movement(weight, grad, first).tolist() == [4, -24]


def test_taylor_scores_say_what_a_linear_loss_loses() -> None:
    weight, slope = torch.randn(7, requires_grad=True), torch.randn(7)
    loss = (weight * slope).sum()
    (grad,) = torch.autograd.grad(loss, weight)
    without = torch.stack([loss - weight[i] * slope[i] for i in range(7)])
    torch.testing.assert_close(prune.gradient_times_weight(weight, grad), (loss - without).abs().detach())


def test_structures_are_means_over_what_is_there() -> None:
    scores = torch.arange(3 * 5, dtype=torch.float64).view(3, 5)
    assert prune.rows(scores).tolist() == [10, 35, 60]
    expected = [scores[:, :2].mean(), scores[:, 2:4].mean(), scores[:, 4:].mean()]
    torch.testing.assert_close(prune.column_blocks(scores, 2), torch.stack(expected))
    grouped = prune.column_blocks(scores, 2, torch.tensor([2, 0, 2]), 4)
    torch.testing.assert_close(grouped[2, 0], scores[[0, 2], :2].mean())
    torch.testing.assert_close(grouped[0, 2], scores[1, 4])
    assert not grouped[[1, 3]].any()
    blocks = prune.blocks(scores, 2)
    torch.testing.assert_close(blocks[0, 1], scores[:2, 2:4].mean())
    torch.testing.assert_close(blocks[1, 2], scores[2, 4])


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.data())
@settings(max_examples=60, deadline=None)
def test_keeps_exactly_so_many_and_the_first_of_equal_ones(values: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, len(values)))
    mask = prune.keep_largest(torch.tensor(values, dtype=torch.float32), count=count)
    best = sorted(range(len(values)), key=lambda i: (-values[i], i))[:count]
    assert mask.nonzero().flatten().tolist() == sorted(best)


def test_a_fraction_is_rounded() -> None:
    scores = torch.randn(3, 5)
    assert int(prune.keep_largest(scores, 0.5).sum()) == 8
    assert prune.keep_largest(scores, 1.0).all()
    assert not prune.keep_largest(scores, 0.0).any()
    assert torch.equal(prune.threshold(scores, 0.25), scores > 0.25)


@given(st.integers(1, 6), st.data())
@settings(max_examples=40, deadline=None)
def test_n_of_each_m(m: int, data: st.DataObject) -> None:
    n = data.draw(st.integers(0, m))
    scores = torch.randint(3, (4, 5 * m)).float()
    mask = prune.nm_mask(scores, n, m).view(-1, m)
    assert (mask.sum(1) == n).all()
    for row, kept in zip(scores.view(-1, m).tolist(), mask.tolist(), strict=True):
        assert {i for i in range(m) if kept[i]} == set(sorted(range(m), key=lambda i: (-row[i], i))[:n])


def test_the_straight_through_gradient_is_that_of_the_soft_form() -> None:
    scores = torch.randn(6, dtype=torch.float64, requires_grad=True)
    value = torch.randn(6, dtype=torch.float64)
    mask = prune.keep_largest(scores, 0.5)
    soft = mask.double().requires_grad_()

    def loss(numbers: torch.Tensor) -> torch.Tensor:
        return torch.tanh(numbers * value).sum()

    assert torch.autograd.gradcheck(loss, (soft,))
    hard = prune.straight_through(scores, mask)
    assert torch.equal(hard.detach(), mask.double())
    ours, theirs = torch.autograd.grad(loss(hard), scores), torch.autograd.grad(loss(soft), soft)
    torch.testing.assert_close(ours, theirs)


def test_gradients_reach_weights_through_scores_of_structures() -> None:
    weight = torch.randn(5, 18, dtype=torch.float64, requires_grad=True)
    group = torch.tensor([0, 1, 0, 1, 1])
    assert torch.autograd.gradcheck(lambda w: prune.column_blocks(prune.magnitude(w), 16, group, 2), (weight,))
    assert torch.autograd.gradcheck(lambda w: prune.blocks(prune.magnitude(w), 4), (weight,))


def test_masks_serialise(tmp_path: Path) -> None:
    mask = prune.keep_largest(torch.randn(4, 6), 0.5)
    torch.save({"mask": mask}, tmp_path / "mask.pt")
    assert torch.equal(torch.load(tmp_path / "mask.pt", weights_only=True)["mask"], mask)
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file({"mask": mask}, tmp_path / "mask.safetensors")
    assert torch.equal(safetensors.load_file(tmp_path / "mask.safetensors")["mask"], mask)


def test_says_what_was_expected_and_what_came() -> None:
    scores = torch.randn(3, 5)
    cases: list[tuple[Callable[[], torch.Tensor], str]] = [
        (lambda: prune.keep_largest(scores), "keep_largest: expected fraction or count, one of them"),
        (lambda: prune.keep_largest(scores, count=16), "expected count from 0 to 15, got 16"),
        (lambda: prune.keep_largest(scores, 1.5), "expected fraction from 0 to 1, got 1.5"),
        (lambda: prune.keep_largest(scores.log(), 0.5), "keep_largest: a score is NaN"),
        (lambda: prune.nm_mask(scores), r"expected scores of shape \[..., a multiple of 4\], got \[3, 5\]"),
        (lambda: prune.nm_mask(scores, 5, 4), "expected n from 0 to m, got 5 of 4"),
        (lambda: prune.movement(scores, scores[0]), r"got \[3, 5\] and \[5\]"),
        (lambda: prune.straight_through(scores, scores[0] > 0), r"got \[3, 5\] and \[5\]"),
        (lambda: prune.column_blocks(scores[0]), r"column_blocks: expected scores of shape \[rows, width\], got \[5\]"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match=r"expected mask in bool, got torch\.float32"):
        prune.straight_through(scores, scores)
