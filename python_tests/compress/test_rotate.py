from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from gnas_ext.compress import importance, rotate, row_length
from python_tests.compress.conftest import USERS

if TYPE_CHECKING:
    from gnas_ext.models import FactorModel


def test_a_turned_model_scores_alike(model: FactorModel) -> None:
    users = np.arange(USERS, dtype=np.int32)
    torch.testing.assert_close(rotate(model).score(users), model.score(users), rtol=1e-4, atol=1e-4)


def test_turned_columns_hold_less_and_less_and_do_not_repeat_each_other(model: FactorModel) -> None:
    turned = rotate(model)
    moments = [rows.float().T @ rows.float() for rows in (turned.user, turned.item)]
    shared = sum((moment / moment.trace() for moment in moments), torch.zeros(()))
    assert (shared.diag().diff() <= 1e-6).all()
    assert (shared - shared.diag().diag()).abs().max() < 1e-5


def test_importance_is_what_errors_add_to_scores() -> None:
    generator = torch.Generator().manual_seed(0)
    users, items = torch.randn(50, 3, generator=generator), torch.randn(400, 3, generator=generator) + 2
    error = torch.zeros(50, 3)
    error[:, 1] = 1
    moved = error @ items.T
    assert float(importance(users, items, centred=False)[1]) == pytest.approx(float(moved.square().mean()), rel=1e-5)
    apart = moved - moved.mean(1, keepdim=True)
    assert float(importance(users, items, centred=True)[1]) == pytest.approx(float(apart.square().mean()), rel=1e-4)


def test_a_length_is_found_where_there_is_one() -> None:
    rows = torch.nn.functional.normalize(torch.randn(9, 4)) * 3
    rows[2] = 0
    assert row_length(rows) == pytest.approx(3.0)
    rows[4] *= 1.01
    assert row_length(rows) == 0.0
