from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from gnas_ext.compress import teach
from gnas_ext.compress.lists import rescaled
from gnas_ext.evaluate.seen import SeenItems
from python_tests.compress.conftest import ITEMS, USERS

if TYPE_CHECKING:
    from gnas_ext.data.interactions import Interactions
    from gnas_ext.models import FactorModel


def test_lists_are_the_teachers_best_without_what_was_touched(model: FactorModel, train: Interactions) -> None:
    lists = teach(model, train, best=7, drawn=0)
    seen = SeenItems.from_interactions(train, USERS)
    assert 0 not in lists.users
    for row, user in enumerate(lists.users.tolist()):
        scores = model.score(np.array([user], dtype=np.int32))[0]
        scores[torch.from_numpy(seen.of(user)).long()] = -torch.inf
        expected = scores.topk(7)
        assert lists.items[row].tolist() == expected.indices.tolist()
        torch.testing.assert_close(lists.scores[row], expected.values)


def test_drawn_items_are_others_and_stand_for_all_of_them(model: FactorModel, train: Interactions) -> None:
    lists = teach(model, train, best=7, drawn=20)
    seen = SeenItems.from_interactions(train, USERS)
    for row, user in enumerate(lists.users.tolist()):
        drawn, there = lists.items[row, 7:], lists.scores[row, 7:].isfinite()
        assert len(set(drawn.tolist())) == 20
        out = {*seen.of(user).tolist(), *lists.items[row, :7].tolist()}
        assert [item not in out for item in drawn.tolist()] == there.tolist()
        stood_for = lists.log_weight[row, 7:][there].exp().sum()
        assert float(stood_for) == pytest.approx(ITEMS - len(out), rel=1e-4)
    assert not lists.log_weight[:, :7].any()


def test_draws_repeat_and_differ_between_seeds(model: FactorModel, train: Interactions) -> None:
    one, again, other = (teach(model, train, 5, 10, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.items, again.items)
    assert not torch.equal(one.items, other.items)


def test_lists_of_nothing_are_refused(model: FactorModel, train: Interactions) -> None:
    with pytest.raises(ValueError, match="expected best of 1 or more"):
        teach(model, train, best=0)


def test_lists_in_another_unit_come_to_that_of_a_model(model: FactorModel, train: Interactions) -> None:
    lists = teach(model, train, best=7, drawn=20)
    other = replace(lists, scores=(lists.scores * 3).exp().where(lists.scores.isfinite(), -torch.inf))
    for given in (lists, other):
        torch.testing.assert_close(rescaled(given, model).scores, lists.scores, rtol=1e-4, atol=1e-4)


def test_lists_of_another_order_keep_it_with_the_scores_of_the_model(model: FactorModel, train: Interactions) -> None:
    lists = teach(model, train, best=7, drawn=20)
    turned = rescaled(replace(lists, scores=-lists.scores.where(lists.scores.isfinite(), torch.inf)), model)
    there = lists.scores.isfinite()
    assert torch.equal(turned.scores.isfinite(), there)
    for old, new, some in zip(lists.scores, turned.scores, there, strict=True):
        torch.testing.assert_close(new[some].sort().values, old[some].sort().values, rtol=1e-4, atol=1e-4)
        assert torch.equal(new[some].argsort(), old[some].argsort().flip(0))
