from __future__ import annotations

import numpy as np
import pytest
import torch

from gnas_ext.models import FactorModel, Mixture, Popularity, Table


def factors(users: int = 6, items: int = 9, seed: int = 0) -> FactorModel:
    generator = torch.Generator().manual_seed(seed)
    return FactorModel(
        Table(torch.randn(users, 4, generator=generator)), Table(torch.randn(items, 4, generator=generator))
    )


ALL = np.arange(6, dtype=np.int32)


def test_scores_are_added_in_deviations_from_a_users_mean() -> None:
    one, two = factors(seed=1), factors(seed=2)
    got = Mixture((one, two), (1.0, 0.25)).score(ALL).numpy()
    for user in ALL:
        parts = []
        for model in (one, two):
            row = model.score(ALL[user : user + 1])[0].double().numpy()
            parts.append((row - row.mean()) / row.std())
        np.testing.assert_allclose(got[user], parts[0] + 0.25 * parts[1], rtol=1e-4, atol=1e-5)


def test_the_unit_of_a_model_does_not_matter() -> None:
    one, two = factors(seed=1), factors(seed=2)
    larger = FactorModel(Table(one.user.rows * 50), one.item, torch.full((9,), 3.0))
    got, wanted = (Mixture((first, two), (1.0, 1.0)).score(ALL) for first in (larger, one))
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


def test_who_gets_equal_scores_gets_those_of_the_others() -> None:
    flat = Popularity(torch.ones(9), 6)
    alone, both = Mixture((factors(),), (1.0,)), Mixture((flat, factors()), (7.0, 1.0))
    assert torch.equal(both.score(ALL), alone.score(ALL))


def test_the_parts_are_left_as_they_are() -> None:
    model = factors()
    before = model.user.rows.clone(), model.item.rows.clone()
    Mixture((model, model), (1.0, 2.0)).score(ALL)
    assert torch.equal(model.user.rows, before[0])
    assert torch.equal(model.item.rows, before[1])


def test_its_bytes_are_those_of_all() -> None:
    assert Mixture((factors(), factors()), (1.0, 1.0)).size_bytes() == 2 * factors().size_bytes()


@pytest.mark.parametrize(
    ("models", "weights", "message"),
    [
        ((), (), "one or more, got 0 models"),
        ((factors(),), (1.0, 2.0), "a weight a model"),
        ((factors(),), (0.0,), "weights above 0"),
        ((factors(), factors(items=8)), (1.0, 1.0), "the same users and items"),
    ],
)
def test_what_does_not_fit_is_refused(
    models: tuple[FactorModel, ...], weights: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Mixture(models, weights)
