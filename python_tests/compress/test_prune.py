from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from gnas_ext.compress import DistilOptions, Recipe, distil, rotate
from gnas_ext.compress.prune import (
    ColumnMask,
    Masked,
    compact,
    cubic,
    fold_rows,
    prune_columns,
    prune_weights,
    sparse_bytes,
)
from gnas_ext.compress.steps import Mask
from gnas_ext.models import FactorModel, Table
from python_tests.compress.conftest import ITEMS, USERS, WIDTH

if TYPE_CHECKING:
    from gnas_ext.data.interactions import Interactions

ALL = np.arange(USERS, dtype=np.int32)


def test_the_schedule_falls_fast_and_then_slowly_to_its_end() -> None:
    kept = [cubic(done, 8, 64, 16) for done in range(12)]
    assert kept[0] == 64
    assert kept[8:] == [16] * 4
    falls = -np.diff(kept)
    assert (np.diff(falls[:8]) <= 0).all()
    assert cubic(0, 0, 64, 16) == 16


def test_magnitude_keeps_the_columns_that_hold_most(model: FactorModel) -> None:
    user, item = model.user.float().clone(), model.item.float().clone()
    user[:, [3, 7]] *= 10
    small = prune_columns(FactorModel(Table(user), Table(item)), 2)
    assert torch.equal(small.user.float(), user[:, [3, 7]])
    assert torch.equal(small.item.float(), item[:, [3, 7]])


def test_a_compacted_model_scores_as_with_zeros_and_is_smaller(model: FactorModel) -> None:
    mask = torch.arange(WIDTH) % 3 > 0
    small = compact(model, mask)
    zeros = FactorModel(Table(model.user.float() * mask), Table(model.item.float() * mask), model.prior)
    torch.testing.assert_close(small.score(ALL), zeros.score(ALL))
    assert small.size_bytes() == 4 * int(mask.sum()) * (USERS + ITEMS) + 4 * ITEMS


def test_the_mask_is_in_the_state() -> None:
    columns = ColumnMask(8, 4)
    columns.advance(torch.arange(8.0)[None], torch.ones(1, 8))
    other = ColumnMask(8, 4)
    other.load_state_dict(columns.state_dict())
    assert other.mask.tolist() == [False] * 4 + [True] * 4


@pytest.mark.parametrize("scores", ["magnitude", "learned"])
def test_columns_die_while_a_student_learns(scores: str, model: FactorModel, train: Interactions) -> None:
    turned = rotate(model)
    columns = ColumnMask(WIDTH, 6, 3, scores)  # type: ignore[arg-type]
    user = Masked(columns, turned.item.float())
    student = distil(
        turned, turned, train, DistilOptions(best=10, drawn=10, batch=16, epochs=4, refresh=100), user=user
    )
    assert isinstance(student, FactorModel)
    assert int(columns.mask.sum()) == 6
    small = compact(student, columns.mask)
    torch.testing.assert_close(small.score(ALL), student.score(ALL))
    assert (columns.scores.grad is not None) == (scores == "learned")


def test_a_threshold_rises_to_its_share_of_the_largest_score() -> None:
    columns = ColumnMask(8, 2, 4, threshold=0.5)
    side = torch.tensor([[8.0, 7.9, 4.1, 3.9, 2.0, 1.0, 0.5, 0.0]])
    left = []
    for _ in range(5):
        columns.advance(side, torch.ones_like(side))
        left.append(int(columns.mask.sum()))
    # 1 - left^3 of a half: .289, .4375, .492, then .5.
    assert left == [4, 4, 3, 3, 3]
    few = ColumnMask(8, 5, threshold=0.9)
    few.advance(side, torch.ones_like(side))
    assert int(few.mask.sum()) == 5


def test_a_recipe_masks_to_its_number_or_its_threshold(model: FactorModel, train: Interactions) -> None:
    options = DistilOptions(best=10, drawn=10, batch=16, refresh=2)
    for scores in ("magnitude", "learned"):
        for epochs in (0, 1, 3):
            small = Recipe((Mask(5, epochs, scores),)).apply(model, train, options=options)
            assert isinstance(small, FactorModel)
            assert small.user.width == small.item.width == 5
    # Three columns hold nearly everything, so they are those that stay.
    thin = torch.ones(WIDTH).masked_fill(torch.arange(WIDTH) >= 3, 1e-3)
    hollow = FactorModel(Table(model.user.float() * thin), Table(model.item.float() * thin))
    for step in (Mask(1, 0, threshold=0.05), Mask(1, 3, threshold=0.05), Mask(3, 3), Mask(3, 3, "learned")):
        small = Recipe((step,)).apply(hollow, train, options=options)
        assert isinstance(small, FactorModel)
        assert small.user.width == 3
        assert float(torch.corrcoef(torch.stack([small.score(ALL).ravel(), hollow.score(ALL).ravel()]))[0, 1]) > 0.9


def test_both_sides_of_a_mask_are_seen_as_they_learn() -> None:
    columns = ColumnMask(4, 2, 1)
    user = Masked(columns, None)
    item = Masked(columns, user)
    users, items = torch.ones(3, 4), torch.ones(5, 4)
    user.refresh(users)
    item.refresh(items)
    assert columns.done == 0  # nothing was learned yet
    users[:, :2] *= 9
    user.refresh(users)
    item.refresh(items)
    assert columns.mask.tolist() == [True, True, False, False]


def test_learned_scores_have_no_threshold() -> None:
    with pytest.raises(ValueError, match=r"0 with learned scores \(they have no scale\), got 0.5"):
        ColumnMask(8, 2, 3, "learned", 0.5)
    with pytest.raises(ValueError, match="expected scores 'magnitude' or 'learned', got 'movement'"):
        ColumnMask(8, 2, 3, "movement")  # type: ignore[arg-type]


def test_folded_rows_are_one(model: FactorModel) -> None:
    cold = torch.arange(ITEMS) >= 50
    small = fold_rows(model, torch.zeros(USERS, dtype=torch.bool), cold)
    items = small.item.float()
    assert torch.equal(items[~cold], model.item.float()[~cold])
    torch.testing.assert_close(items[cold], model.item.float()[cold].mean(0).expand(30, WIDTH))
    assert small.size_bytes() == 4 * WIDTH * (USERS + 51) + ITEMS // 4 + 4 * ITEMS


def test_the_largest_weights_stay(model: FactorModel) -> None:
    pruned = prune_weights(model, 0.25)
    kept = pruned.user.float() != 0
    assert int(kept.sum()) == USERS * WIDTH // 4
    assert model.user.float().abs()[kept].min() >= model.user.float().abs()[~kept].max()
    weights = (USERS + ITEMS) * WIDTH
    assert sparse_bytes(pruned) == 4 * weights // 4 + weights // 8 + 4 * ITEMS


def test_what_does_not_fit_is_refused(model: FactorModel) -> None:
    with pytest.raises(ValueError, match=r"expected keep in 1 … 8, got 9"):
        ColumnMask(8, 9)
    with pytest.raises(ValueError, match=r"expected mask of shape \[16\] in bool"):
        compact(model, torch.ones(5, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"fold_rows: expected a bool a row, \[60\]"):
        fold_rows(model, torch.zeros(3, dtype=torch.bool), torch.zeros(ITEMS, dtype=torch.bool))
