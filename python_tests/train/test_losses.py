from __future__ import annotations

import math

import pytest
import torch

from gnas_ext.train import bpr, sampled_softmax


def drawn(*shape: int, scale: float = 3.0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape))) * scale


def test_bpr_is_the_mean_negative_log_sigmoid_of_the_difference() -> None:
    positive, negative = drawn(7), drawn(7, 1)[:, 0]
    pairs = zip(positive.tolist(), negative.tolist(), strict=True)
    wanted = sum(math.log1p(math.exp(-(p - n))) for p, n in pairs) / 7
    assert float(bpr(positive, negative)) == pytest.approx(wanted, rel=1e-6)


def test_bpr_of_equal_scores_is_log_two() -> None:
    assert float(bpr(torch.ones(3), torch.ones(3))) == pytest.approx(math.log(2))


@pytest.mark.parametrize(("difference", "wanted"), [(1e4, 0.0), (-1e4, 1e4)])
def test_bpr_stays_finite_far_out(difference: float, wanted: float) -> None:
    assert float(bpr(torch.tensor([difference]), torch.zeros(1))) == pytest.approx(wanted)


def test_sampled_softmax_over_all_items_is_the_softmax() -> None:
    scores, touched = drawn(6, 9), torch.tensor([0, 3, 8, 8, 1, 5])
    positive = scores.gather(1, touched[:, None])[:, 0]
    same = torch.arange(9)[None] == touched[:, None]
    got = sampled_softmax(positive, scores, same, 9)
    torch.testing.assert_close(got, torch.nn.functional.cross_entropy(scores, touched))


def test_drawn_items_stand_for_as_many_as_there_are() -> None:
    positive, negative = drawn(4), drawn(4, 5)
    same = torch.zeros(4, 5, dtype=torch.bool)
    same[2, 1] = True
    wanted = 0.0
    for row in range(4):
        others = sum(math.exp(float(negative[row, j])) for j in range(5) if not same[row, j])
        touched = math.exp(float(positive[row]))
        wanted -= math.log(touched / (touched + others * 100 / 5)) / 4
    assert float(sampled_softmax(positive, negative, same, 100)) == pytest.approx(wanted, rel=1e-5)


def test_sampled_softmax_is_right_on_average() -> None:
    """The sum over drawn items estimates the sum over all others without bias."""
    scores = drawn(1, 40, scale=0.5)
    others = scores[0, 1:].exp().sum()
    estimates = []
    generator = torch.Generator().manual_seed(0)
    for _ in range(400):
        items = torch.randint(40, (8,), generator=generator)
        loss = sampled_softmax(scores[:, 0], scores[:, items], (items == 0)[None], 40)
        estimates.append(math.exp(float(loss) + float(scores[0, 0])) - math.exp(float(scores[0, 0])))
    assert sum(estimates) / 400 == pytest.approx(float(others), rel=0.05)


def test_a_row_whose_drawn_items_are_all_its_own_costs_nothing() -> None:
    positive = torch.tensor([2.0, 1.0], requires_grad=True)
    loss = sampled_softmax(positive, torch.full((2, 3), 9.0), torch.ones(2, 3, dtype=torch.bool), 50)
    torch.autograd.backward(loss)
    assert float(loss.detach()) == 0
    assert positive.grad is not None
    assert not positive.grad.any()


def test_sampled_softmax_stays_finite_far_out() -> None:
    positive = torch.tensor([-1e4, 1e4], requires_grad=True)
    negative = torch.tensor([[1e4, 0.0], [-1e4, 0.0]], requires_grad=True)
    same = torch.tensor([[False, True], [False, False]])
    loss = sampled_softmax(positive, negative, same, 2)
    torch.autograd.backward(loss)
    assert float(loss.detach()) == pytest.approx(1e4)
    assert positive.grad is not None
    assert negative.grad is not None
    assert positive.grad.isfinite().all()
    assert negative.grad.isfinite().all()
    assert negative.grad[0, 1] == 0
