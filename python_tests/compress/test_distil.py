from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from gnas_ext.compress import (
    DistilOptions,
    Floats,
    Product,
    distil,
    importance,
    prior_table,
    product_quantize,
    rotate,
    teach,
)
from gnas_ext.models import CodedModel, FactorModel, Model, Popularity, Table
from gnas_ext.search.recommender import build
from gnas_ext.search.recommender.training_free import GF_CF
from python_tests.compress.conftest import ITEMS, USERS, WIDTH

if TYPE_CHECKING:
    from gnas_ext.data.interactions import Interactions

OPTIONS = DistilOptions(best=20, drawn=20, batch=16, epochs=10, lr=0.3)


def drawn(width: int, prior: bool = False) -> FactorModel:
    generator = torch.Generator().manual_seed(9)
    user, item = (Table(torch.randn(rows, width, generator=generator) * 0.3) for rows in (USERS, ITEMS))
    return FactorModel(user, item, torch.zeros(ITEMS) if prior else None)


def overlap(one: Model, other: Model, train: Interactions, k: int = 10) -> float:
    """Share of the best unseen items that two models have in common."""
    lists = [teach(model, train, k, 0).items.tolist() for model in (one, other)]
    return float(np.mean([len(set(mine) & set(theirs)) / k for mine, theirs in zip(*lists, strict=True)]))


@pytest.mark.parametrize(
    "options",
    [
        DistilOptions(best=20, drawn=20, batch=16, epochs=10, lr=0.3, temperature=0.5),
        DistilOptions(best=20, drawn=20, batch=16, epochs=10, lr=0.3, ranking=0.0, regression=1.0),
    ],
)
def test_a_student_comes_to_rank_as_its_teacher(
    options: DistilOptions, model: FactorModel, train: Interactions
) -> None:
    start = drawn(WIDTH, prior=True)
    student = distil(model, start, train, options)
    assert isinstance(student, FactorModel)
    assert overlap(student, model, train) > overlap(start, model, train) + 0.2


def test_a_width_is_all_that_a_student_needs(model: FactorModel, train: Interactions) -> None:
    ready = distil(model, WIDTH, train, DistilOptions(best=20, drawn=20, epochs=0))
    taught = distil(model, WIDTH, train, OPTIONS)
    assert taught.user.width == WIDTH
    assert overlap(ready, model, train) > overlap(drawn(WIDTH), model, train) + 0.1
    assert overlap(taught, model, train) > overlap(ready, model, train)
    # Scores spread as the teacher's do, in their unit.
    scores = [teach(one, train, 20, 20).scores for one in (ready, model)]
    mine, theirs = (float(some[some.isfinite()].std()) for some in scores)
    assert 0.3 < mine / theirs < 3
    with pytest.raises(ValueError, match="width of 1 or more, got 0"):
        distil(model, 0, train, OPTIONS)


def test_a_student_of_a_width_has_the_prior_of_its_teacher(model: FactorModel, train: Interactions) -> None:
    assert model.prior is not None
    coded = product_quantize(model, WIDTH, WIDTH)
    for teacher in (model, coded):
        student = distil(teacher, np.int64(4), train, DistilOptions(best=20, drawn=20, epochs=0))  # type: ignore[arg-type]
        assert student.prior is not None
        torch.testing.assert_close(student.prior, model.prior, rtol=0.05, atol=0.05)
    bare = FactorModel(model.user, model.item)
    assert distil(bare, 4, train, DistilOptions(best=20, drawn=20, epochs=0)).prior is None


def test_a_filter_without_rows_teaches_a_width(train: Interactions) -> None:
    teacher = build({**GF_CF, "rank": 64}, train).model
    student = distil(teacher, 8, train, OPTIONS)
    assert overlap(student, teacher, train) > 0.4


def test_a_narrow_student_learns_from_a_teacher_without_rows(train: Interactions) -> None:
    teacher = Popularity(torch.arange(ITEMS, 0, -1.0) / ITEMS * 8, USERS)
    student = distil(teacher, drawn(2), train, OPTIONS)
    assert student.user.width == 2
    assert overlap(student, teacher, train) > 0.5


def test_touches_alone_teach_what_was_touched(train: Interactions) -> None:
    teacher = Popularity(torch.zeros(ITEMS), USERS)
    options = DistilOptions(best=20, drawn=20, batch=16, epochs=10, lr=0.3, ranking=0.0, touches=1.0)
    student = distil(teacher, drawn(8), train, options)
    users, items = torch.from_numpy(train.user).long(), torch.from_numpy(train.item).long()
    scores, before = (some.user.float() @ some.item.float().T for some in (student, drawn(8)))
    assert scores[users, items].mean() - scores[1:].mean() > before[users, items].mean() - before[1:].mean() + 0.1


def test_alignment_brings_rows_to_the_teachers(model: FactorModel, train: Interactions) -> None:
    options = DistilOptions(best=5, drawn=5, batch=16, epochs=10, lr=0.1, ranking=0.0, alignment=1.0)
    start = drawn(WIDTH)
    student = distil(model, start, train, options)

    def apart(one: FactorModel | CodedModel) -> float:
        rows = one.item.float()
        mapped = rows @ torch.linalg.lstsq(rows, model.item.float()).solution
        return float(1 - torch.nn.functional.cosine_similarity(mapped, model.item.float()).mean())

    assert apart(student) < apart(start) - 0.02


def test_codes_that_learn_rank_nearer_to_the_model_than_codes_that_do_not(
    model: FactorModel, train: Interactions
) -> None:
    turned = rotate(model)
    users, items = turned.user.float(), turned.item.float()
    generator = torch.Generator().manual_seed(0)
    noisy = FactorModel(
        Table(users + torch.randn(users.shape, generator=generator)),
        Table(items + 0.2 * torch.randn(items.shape, generator=generator)),
        turned.prior,
    )
    user = Product(noisy.user.float(), 4, importance(users, items, centred=True), 5.0)
    item = Product(noisy.item.float(), 4, importance(items, users, centred=False), 1.0)
    student = distil(model, noisy, train, OPTIONS, user=user, item=item, prior=prior_table)
    assert isinstance(student, CodedModel)
    assert overlap(student, model, train) > overlap(product_quantize(noisy, 4, 4), model, train) + 0.1


def test_no_passes_leave_what_there_was(model: FactorModel, train: Interactions) -> None:
    student = distil(model, model, train, DistilOptions(epochs=0, best=5, drawn=0))
    users = np.arange(USERS, dtype=np.int32)
    assert torch.equal(student.score(users), model.score(users))


def test_a_student_repeats(model: FactorModel, train: Interactions) -> None:
    options = DistilOptions(best=10, drawn=5, batch=16, epochs=2, touches=0.5)
    one, other = (distil(model, model, train, options, user=Floats(5.0)) for _ in range(2))
    assert torch.equal(one.user.float(), other.user.float())
    assert torch.equal(one.item.float(), other.item.float())


def test_what_does_not_fit_is_refused(model: FactorModel, train: Interactions) -> None:
    with pytest.raises(ValueError, match=r"expected a student of \(60, 80\) users and items"):
        distil(model, FactorModel(Table(torch.zeros(60, 2)), Table(torch.zeros(7, 2))), train)
    with pytest.raises(ValueError, match="teacher without rows, Popularity"):
        distil(Popularity(torch.zeros(ITEMS), USERS), model, train, DistilOptions(alignment=1.0))
    with pytest.raises(ValueError, match="expected temperature above 0, got 0"):
        DistilOptions(temperature=0)
    with pytest.raises(ValueError, match="expected batch of 1 or more, got 0"):
        DistilOptions(batch=0)
    with pytest.raises(ValueError, match="expected touches of 0 or more, got -1"):
        DistilOptions(touches=-1)
