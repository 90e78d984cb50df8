from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gnas_ext.compress.adapt import Limits, adapt, ladder
from gnas_ext.compress.recipe import Recipe
from gnas_ext.compress.steps import Bits, Codes, Columns, Distil
from gnas_ext.models import CodedModel, FactorModel
from python_tests.compress.conftest import WIDTH, cosines
from python_tests.compress.test_recipe import OPTIONS

if TYPE_CHECKING:
    from gnas_ext.data.interactions import Interactions


@pytest.mark.parametrize(
    ("limits", "told", "excess"),
    [
        (Limits(), "no limits", 0.0),
        (Limits(bytes=2_000_000), "at most 2.00 MB", 0.5),
        (Limits(latency_ms=0.2), "at most 0.2 ms a user", 1.5),
        (Limits(4_000_000, 0.4), "at most 4.00 MB and 0.4 ms a user", 0.75),
    ],
)
def test_limits_say_what_they_are_and_how_far_something_is_from_them(limits: Limits, told: str, excess: float) -> None:
    assert str(limits) == told
    assert limits.given == (told != "no limits")
    assert limits.excess(1_000_000, 0.3) == pytest.approx(excess)
    assert limits.scaled(0.5) == Limits(limits.bytes / 2, limits.latency_ms)


def test_the_best_recipe_within_the_limits_is_taken(
    model: FactorModel, train: Interactions, valid: Interactions
) -> None:
    recipes = [Recipe(()), Recipe((Bits(8),)), Recipe((Bits(4),)), Recipe((Bits(2),))]
    sizes = [recipe.apply(model, train).size_bytes() for recipe in recipes]
    found = adapt(model, train, valid, Limits(bytes=sizes[1]), recipes)
    assert [one.fits for one in found.tried] == [False, True, True, True]
    assert found.chosen is not None
    assert found.chosen.ndcg == max(one.ndcg for one in found.tried[1:])
    assert "on validation" in found.lines()[0]


def test_out_of_reach_is_said(model: FactorModel, train: Interactions, valid: Interactions) -> None:
    found = adapt(model, train, valid, Limits(bytes=100), [Recipe((Bits(2),))])
    assert found.chosen is None
    assert found.lines()[0].startswith("out of reach of 1 recipes: the smallest takes")


def test_the_ladder_keeps_to_its_bytes(train: Interactions) -> None:
    model = cosines(500, 600)
    limit = 2 * (512 * WIDTH + 4 * WIDTH + 4) + 600 + 520 + 6 * 1100
    recipes = ladder(model, Limits(limit), epochs=1)
    assert len(recipes) >= 2
    for recipe in recipes[:2]:
        small = recipe.apply(model, train, options=OPTIONS)
        assert isinstance(small, CodedModel)
        assert small.size_bytes() <= limit
    assert ladder(model, Limits(10), epochs=1) == [
        Recipe((Columns(WIDTH // 8), Distil(1), Bits(2, epochs=1)))  # the smallest there is
    ]
    assert ladder(model, Limits(model.size_bytes()))[0] == Recipe(())


def test_few_rows_have_no_codes_but_fewer_bits_and_columns() -> None:
    model = cosines(40, 30)
    sizes = {4: 70 * (WIDTH // 2 + 8) + 550, 2: 70 * (WIDTH // 4 + 8) + 550}
    for bits, size in sizes.items():
        (recipe,) = ladder(model, Limits(size), epochs=2)
        assert recipe == Recipe((Bits(bits, epochs=2),))
    (recipe,) = ladder(model, Limits(70 * (WIDTH // 8 + 8) + 550), epochs=2)
    assert recipe == Recipe((Columns(WIDTH // 2), Distil(2), Bits(2, epochs=2)))


def test_where_time_is_short_rows_get_narrower() -> None:
    model = cosines(500, 600)
    found = ladder(model, Limits(latency_ms=0.1), epochs=2)
    assert found[:2] == [Recipe(()), Recipe((Codes(WIDTH, WIDTH),))]
    widths = [recipe.steps[0].keep for recipe in found if recipe.steps and isinstance(recipe.steps[0], Columns)]
    assert widths == [WIDTH // 2, WIDTH // 4, WIDTH // 8]
