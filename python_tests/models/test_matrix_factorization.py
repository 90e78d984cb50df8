from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from gnas_ext.data.interactions import Interactions
from gnas_ext.models import fit_matrix_factorization, matrix_factorization

if TYPE_CHECKING:
    from torch import Tensor

fit = partial(fit_matrix_factorization, n_users=30, n_items=20, dim=5, unseen_weight=0.2, regularization=0.5)


@pytest.fixture
def train() -> Interactions:
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(30), np.arange(30) // 2)
    return Interactions(users.astype(np.int32), rng.integers(0, 20, len(users)).astype(np.int32))


def objective(train: Interactions, users: Tensor, items: Tensor) -> Tensor:
    """What the module says it minimises, at the weights of `fit`, for both sides at once and densely."""
    seen = torch.zeros(30, 20, dtype=torch.float64)
    seen[train.user, train.item] = 1
    scores = users @ items.T
    fit_to_log = (seen * (1 - scores) ** 2 + 0.2 * scores**2).sum()
    return fit_to_log + 0.5 * (users.square().sum() + items.square().sum())


def test_items_are_the_exact_optimum_for_the_users(train: Interactions) -> None:
    model = fit(train, iterations=2)
    items = model.item.rows.double().requires_grad_()
    (gradient,) = torch.autograd.grad(objective(train, model.user.rows.double(), items), items)
    assert float(gradient.abs().max()) < 1e-4 * float(items.detach().abs().max())


def test_each_iteration_lowers_the_objective(train: Interactions) -> None:
    models = [fit(train, iterations=iterations) for iterations in (1, 2, 4, 8)]
    values = [float(objective(train, model.user.rows.double(), model.item.rows.double())) for model in models]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.99 * values[0]


def test_another_seed_is_another_model(train: Interactions) -> None:
    assert not torch.equal(fit(train, seed=1).user.rows, fit(train, seed=2).user.rows)


def test_blocks_do_not_change_the_model(train: Interactions, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fit(train, iterations=1)
    monkeypatch.setattr(matrix_factorization, "_BLOCK_FLOATS", 5 * 16)
    torch.testing.assert_close(fit(train, iterations=1).item.rows, whole.item.rows)


@pytest.mark.parametrize("wrong", [{"dim": 0}, {"iterations": 0}, {"unseen_weight": -1.0}, {"regularization": 0.0}])
def test_settings_outside_are_refused(train: Interactions, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="fit_matrix_factorization: expected dim >= 1"):
        fit(train, **wrong)
