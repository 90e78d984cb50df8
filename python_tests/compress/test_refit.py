from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from gnas_ext.compress import product_quantize, rotate, teach
from gnas_ext.compress.refit import best_codes, refit
from gnas_ext.compress.squares import squares
from gnas_ext.data.interactions import Interactions
from python_tests.compress.conftest import USERS, cosines

if TYPE_CHECKING:
    from gnas_ext.models import CodedModel, FactorModel


def test_the_normal_equations_are_those_of_weighted_errors() -> None:
    generator = torch.Generator().manual_seed(0)
    other = torch.randn(30, 3, generator=generator, dtype=torch.float64)
    index = torch.randint(30, (2, 7), generator=generator)
    weight, target = (torch.rand(2, 7, generator=generator, dtype=torch.float64) for _ in range(2))
    for centre in (False, True):
        h, b = squares(other, index, weight, target, centre)
        x = torch.randn(2, 3, generator=generator, dtype=torch.float64).requires_grad_()
        error = (other[index] @ x[:, :, None])[:, :, 0] - target
        if centre:
            error = error - (weight * error).sum(1, keepdim=True) / weight.sum(1, keepdim=True)
        (gradient,) = torch.autograd.grad((weight * error.square()).sum() / 2, x)
        torch.testing.assert_close((h @ x[:, :, None])[:, :, 0] - b, gradient)


def test_codes_are_the_best_of_all_where_that_can_be_seen() -> None:
    generator = torch.Generator().manual_seed(1)
    x, root = torch.randn(5, 4, generator=generator), torch.randn(5, 4, 4, generator=generator)
    # Of the parts' vectors all but 6 are far away, so that all pairs can be tried.
    books = torch.full((256, 4), 1e3)
    books[:6] = torch.randn(6, 4, generator=generator)
    # Without a bridge between the parts one sweep is exact.
    h = root @ root.transpose(1, 2)
    h[:, :2, 2:] = h[:, 2:, :2] = 0
    codes = best_codes(x, h, books, (2, 2), torch.zeros(5, 2, dtype=torch.uint8))
    for row in range(5):
        every = torch.tensor(
            [[*books[one, :2].tolist(), *books[two, 2:].tolist()] for one in range(6) for two in range(6)]
        )
        off = every - x[row]
        best = int((off @ h[row] * off).sum(1).argmin())
        assert codes[row].tolist() == [best // 6, best % 6]


def test_refitted_codes_score_nearer_and_nearer_to_the_teacher() -> None:
    # More rows than a codebook has vectors.
    model, train = cosines(400, 500), Interactions(np.arange(400, dtype=np.int32), np.arange(400, dtype=np.int32))
    coded, lists = product_quantize(model, 2, 2), teach(model, train, 40, 0)
    some, more = (refit(rotate(model), coded, lists, rounds, top=1.0) for rounds in (0, 2))
    assert some.size_bytes() == more.size_bytes() == coded.size_bytes()

    def error(one: CodedModel) -> float:
        off = one.score(lists.users.int().numpy()).gather(1, lists.items) - lists.scores
        return float(off.var(1).mean())

    assert error(some) < 0.95 * error(coded)
    assert error(more) < 0.9 * error(some)


def test_it_repeats(model: FactorModel, train: Interactions) -> None:
    coded, lists = product_quantize(model, 3, 3), teach(model, train, 10, 10)
    one, other = (refit(rotate(model), coded, lists) for _ in range(2))
    users = np.arange(USERS, dtype=np.int32)
    assert torch.equal(one.score(users), other.score(users))


def test_what_does_not_fit_is_refused(model: FactorModel, train: Interactions) -> None:
    coded, lists = product_quantize(model, 3, 3), teach(model, train, 5, 0)
    with pytest.raises(ValueError, match="expected ridge above 0"):
        refit(model, coded, lists, ridge=0.0)
    with pytest.raises(ValueError, match="expected product codes"):
        refit(model, type(coded)(model.user, coded.item), lists)
