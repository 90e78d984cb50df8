from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from gnas_ext.compress import Recipe, prune_columns, rotate, solve_rows, teach
from gnas_ext.compress.lists import rescaled
from gnas_ext.data.interactions import Interactions
from python_tests.compress.conftest import ITEMS, USERS, cosines

if TYPE_CHECKING:
    from gnas_ext.models import FactorModel

# Users 0 … 29 are asked, the others are in no list.
ASKED = Interactions(np.arange(30, dtype=np.int32), np.arange(30, dtype=np.int32) % ITEMS)


def test_a_model_that_is_its_own_teacher_stays_as_it_is(model: FactorModel) -> None:
    lists = teach(model, ASKED, 10, 10)
    for rounds in (0, 1, 3):
        student = solve_rows(model, lists, rounds)
        torch.testing.assert_close(student.user.rows, model.user.rows, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(student.item.rows, model.item.rows, atol=1e-3, rtol=1e-3)


def test_rows_in_no_list_and_the_prior_stay_as_they_were(model: FactorModel) -> None:
    lists = teach(cosines(USERS, ITEMS), ASKED, 5, 0)
    student = solve_rows(prune_columns(rotate(model), 8), lists)
    first = prune_columns(rotate(model), 8)
    assert torch.equal(student.user.rows[30:], first.user.rows[30:])
    unnamed = torch.ones(ITEMS, dtype=torch.bool)
    unnamed[lists.items] = False
    assert torch.equal(student.item.rows[unnamed], first.item.rows[unnamed])
    assert student.prior is first.prior


def test_solving_one_side_is_least_squares_with_a_ridge() -> None:
    """Against the same problem written down row by row in float64."""
    model = cosines(USERS, ITEMS)
    narrow = prune_columns(rotate(model), 4)
    lists = teach(narrow, ASKED, 6, 0)
    ridge = 0.2
    student = solve_rows(narrow, lists, rounds=0, ridge=ridge, top=1.0)
    assert narrow.prior is not None
    for place, user in enumerate(lists.users.tolist()):
        met = narrow.item.float()[lists.items[place]].double()
        wanted = (lists.scores[place] - narrow.prior[lists.items[place]]).double()
        met, wanted = met - met.mean(0), wanted - wanted.mean()
        h = met.T @ met / len(met)
        own = ridge * h.diagonal().mean()
        row = narrow.user.float()[user].double()
        best = torch.linalg.solve(h + own * torch.eye(4), met.T @ wanted / len(met) + own * row)
        torch.testing.assert_close(student.user.float()[user].double(), best, atol=1e-3, rtol=1e-3)


def test_each_round_brings_a_narrow_student_nearer_to_a_wide_teacher(train: Interactions) -> None:
    teacher = cosines(USERS, ITEMS)
    narrow = prune_columns(rotate(teacher), 4)
    lists = teach(teacher, train, 20, 0)
    wanted = rescaled(lists, narrow).scores

    def error(student: FactorModel) -> float:
        """Variance of a list's errors, of the mean user."""
        off = student.score(lists.users.int().numpy()).gather(1, lists.items) - wanted
        return float(off.var(1, correction=0).mean())

    found = [error(narrow), *(error(solve_rows(narrow, lists, rounds, 1e-4, 1.0)) for rounds in (0, 1, 4))]
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.5 * found[0]


@pytest.mark.parametrize(("options", "error"), [({"ridge": 0.0}, "ridge above 0"), ({"top": 1.5}, "top in 0")])
def test_what_is_out_of_range_is_refused(model: FactorModel, options: dict[str, float], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        solve_rows(model, teach(model, ASKED, 3, 0), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["solve", "codes user_bytes=4 item_bytes=4 solves=1", "distil epochs=1"])
def test_who_has_touched_everything_harms_nobody(text: str) -> None:
    model = cosines(USERS, ITEMS)
    user, item = np.full(ITEMS, 2, dtype=np.int32), np.arange(ITEMS, dtype=np.int32)
    log = Interactions(np.append(ASKED.user, user), np.append(ASKED.item, item))
    student = Recipe.parse(text).apply(model, log)
    assert student.score(np.arange(USERS, dtype=np.int32)).isfinite().all()
