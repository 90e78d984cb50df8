from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch

from gnas_ext import CSR
from gnas_ext.train import multinomial, multinomial_loss

if TYPE_CHECKING:
    from torch import Tensor

pytestmark = pytest.mark.usefixtures("threads")


def case(users: int, items: int, width: int, each: int = 4) -> tuple[Tensor, Tensor, Tensor, CSR]:
    """Rows with gradients, a bias, and what users touched: user 0 nothing, user 1 an item twice."""
    generator = torch.Generator().manual_seed(users)
    touching, others = (torch.randn(rows, width, generator=generator) for rows in (users, items))
    bias = torch.randn(items, generator=generator)
    row = torch.arange(1, users).repeat_interleave(each)
    col = torch.randint(items, row.shape, generator=generator)
    col[1] = col[0]
    touched = CSR.from_coo(row, col, None, (users, items))
    return touching.requires_grad_(), others.requires_grad_(), bias.requires_grad_(), touched


def plain(touching: Tensor, items: Tensor, touched: CSR, bias: Tensor | None) -> Tensor:
    scores = touching @ items.T + (0 if bias is None else bias)
    chances = torch.log_softmax(scores, 1)
    return -chances[touched.row_index(), touched.indices].mean()


# Fewer users and items than are scored at once, some more, and numbers that fill no register.
@pytest.mark.parametrize("shape", [(5, 7, 3), (300, 40, 16), (700, 1001, 8), (1100, 2050, 8)])
@pytest.mark.parametrize("biased", [False, True])
def test_it_is_the_softmax_over_all_items(shape: tuple[int, int, int], biased: bool) -> None:
    touching, items, bias, touched = case(*shape)
    given = [touching, items, *([bias] if biased else [])]
    got = multinomial_loss(touching, items, touched, bias if biased else None)
    wanted = plain(touching, items, touched, bias if biased else None)
    torch.testing.assert_close(got, wanted)
    for one, two in zip(torch.autograd.grad(got * 3, given), torch.autograd.grad(wanted * 3, given), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)


def test_scores_are_made_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    touching, items, bias, touched = case(100, 30, 4)
    whole = multinomial_loss(touching, items, touched, bias)
    monkeypatch.setattr(multinomial, "_USERS", 7)
    monkeypatch.setattr(multinomial, "_ITEMS", 5)
    torch.testing.assert_close(multinomial_loss(touching, items, touched, bias), whole)


def test_it_repeats_for_any_number_of_threads() -> None:
    found = []
    for number in (1, 2, 3):
        torch.set_num_threads(number)
        touching, items, bias, touched = case(600, 3001, 32)
        loss = multinomial_loss(touching, items, touched, bias)
        found.append([loss.detach(), *torch.autograd.grad(loss, [touching, items, bias])])
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))


def test_who_touched_nothing_costs_nothing() -> None:
    touching, items, _, _ = case(3, 4, 2)
    none = CSR.from_coo(torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long), None, (3, 4))
    loss = multinomial_loss(touching, items, none)
    torch.autograd.backward(loss)
    assert float(loss.detach()) == 0
    assert touching.grad is not None
    assert not touching.grad.any()


def test_it_stays_finite_far_out() -> None:
    touching = torch.tensor([[1e4], [-1e4]], requires_grad=True)
    items = torch.tensor([[1.0], [-1.0]], requires_grad=True)
    touched = CSR.from_coo(torch.tensor([0, 1]), torch.tensor([1, 1]), None, (2, 2))
    loss = multinomial_loss(touching, items, touched)
    torch.autograd.backward(loss)
    assert float(loss.detach()) == pytest.approx(1e4)
    assert touching.grad is not None
    assert touching.grad.isfinite().all()
    assert not math.isnan(float(loss.detach()))
