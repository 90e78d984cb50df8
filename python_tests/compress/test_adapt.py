from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from gnas_ext.compress.adapt import Limits, adapt, ladder
from gnas_ext.compress.recipe import Recipe
from gnas_ext.compress.steps import Bits, Codes, Columns, Distil
from gnas_ext.data.interactions import Interactions
from gnas_ext.models import CodedModel, FactorModel, Table
from python_tests.compress.conftest import WIDTH, cosines
from python_tests.compress.test_recipe import OPTIONS

if TYPE_CHECKING:
    from gnas_ext.models.base import Model

# Five users who touched an item each.
FEW = Interactions(np.arange(5, dtype=np.int32), np.arange(5, dtype=np.int32))


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


def test_recipes_that_are_given_are_tried_and_no_others(
    model: FactorModel, train: Interactions, valid: Interactions
) -> None:
    limits = Limits(bytes=1100)
    found = adapt(model, train, valid, limits, [Recipe((Bits(2),))])
    assert found.chosen is None
    assert found.lines()[0].startswith("out of reach of 1 recipes: the smallest takes")
    assert adapt(model, train, valid, limits, options=OPTIONS).chosen is not None


def test_the_ladder_keeps_to_its_bytes(train: Interactions) -> None:
    model = cosines(500, 600)
    limit = 2 * (512 * WIDTH + 4 * WIDTH + 4) + 600 + 520 + 6 * 1100
    recipes = ladder(model, Limits(limit), epochs=1)
    assert len(recipes) >= 2
    for recipe in recipes[:2]:
        small = recipe.apply(model, train, options=OPTIONS)
        assert isinstance(small, CodedModel)
        assert small.size_bytes() <= limit
    assert ladder(model, Limits(model.size_bytes()))[0] == Recipe(())


def test_few_rows_have_no_codes_but_fewer_bits_and_columns() -> None:
    model = cosines(40, 30)
    sizes = {4: 70 * (WIDTH // 2 + 8) + 550, 2: 70 * (WIDTH // 4 + 8) + 566}
    for bits, size in sizes.items():
        (recipe,) = ladder(model, Limits(size), epochs=2)
        assert recipe == Recipe((Bits(bits, epochs=2),))
    (recipe,) = ladder(model, Limits(70 * (WIDTH // 8 + 8) + 566), epochs=2)
    assert recipe == Recipe((Columns(WIDTH // 2), Distil(2), Bits(2, epochs=2)))


def test_where_time_is_short_rows_get_narrower() -> None:
    model = cosines(500, 600)
    found = ladder(model, Limits(latency_ms=0.1), epochs=2)
    assert found[:2] == [Recipe(()), Recipe((Codes(WIDTH, WIDTH),))]
    widths = [recipe.steps[0].keep for recipe in found if recipe.steps and isinstance(recipe.steps[0], Columns)]
    assert widths == [WIDTH // 2, WIDTH // 4, WIDTH // 8]


def test_where_time_and_bytes_are_short_narrower_rows_are_in_codes() -> None:
    limits = Limits(400_000, 0.1)
    told = [str(recipe) for recipe in ladder(gowalla(), limits)]
    assert told[:2] == [str(recipe) for recipe in ladder(gowalla(), Limits(400_000))]
    assert told[2:] == [
        "columns keep=32 > codes user_bytes=4 item_bytes=4 solves=1",
        "columns keep=16 > codes user_bytes=4 item_bytes=4 solves=1",
        "columns keep=8 > codes user_bytes=5 item_bytes=5 solves=1 book_bits=8",
    ]


def gowalla(width: int = 64) -> FactorModel:
    """As many rows as there are in Gowalla, all alike."""
    user, item = (Table(torch.zeros(1, width).expand(rows, width)) for rows in (29_858, 40_981))
    return FactorModel(user, item, torch.zeros(1).expand(40_981))


@pytest.mark.parametrize(
    ("size", "told"),
    [
        (400_000, "codes user_bytes=4 item_bytes=4"),
        (360_000, "codes user_bytes=4 item_bytes=4 book_bits=8"),
        (300_000, "columns keep=48 > codes user_bytes=3 item_bytes=3 book_bits=8"),
        (220_000, "columns keep=32 > codes user_bytes=2 item_bytes=2"),
        (200_000, "columns keep=32 > codes user_bytes=2 item_bytes=2 book_bits=8"),
        (150_000, "columns keep=16 > codes user_bytes=1 item_bytes=1"),
        (115_000, "columns keep=4 > codes user_bytes=1 item_bytes=1 book_bits=8"),
        (100_000, "columns keep=1 > codes user_bytes=1 item_bytes=1 book_bits=8"),  # the smallest there is: 113 kB
    ],
)
def test_small_limits_are_met_by_fewer_columns_in_codes(size: int, told: str) -> None:
    assert str(ladder(gowalla(), Limits(size))[0]) == told


@pytest.mark.parametrize("prior", [False, True])
@pytest.mark.parametrize("rows", [(6, 5), (60, 70), (500, 600)])
def test_whatever_fits_is_found_down_to_the_smallest_there_is(rows: tuple[int, int], prior: bool) -> None:
    model = cosines(*rows)
    model = FactorModel(model.user, model.item, model.prior if prior else None)

    def size(recipe: Recipe) -> int:
        return recipe.apply(model, FEW, options=OPTIONS).size_bytes()

    # Few rows do not pay for codebooks.
    least = min(
        size(Recipe((Columns(1), step))) for step in (Bits(8), Bits(4, 1), Bits(2, 1), Codes(1, 1, book_bits=8))
    )
    (smallest,) = ladder(model, Limits(1), epochs=1)
    assert size(smallest) == least
    limit = least
    while limit < model.size_bytes():
        assert size(ladder(model, Limits(limit), epochs=1)[0]) <= limit
        limit = int(limit * 1.2)


@pytest.fixture
def ten_us_a_column(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time that is 10 us, and as much for each column."""

    def latency_ms(model: Model, *_: object) -> float:
        assert isinstance(model, FactorModel), "rows in codes are decoded before they are served"
        return 0.01 + 0.01 * model.user.width

    monkeypatch.setattr(importlib.import_module("gnas_ext.compress.adapt"), "latency_ms", latency_ms)


def wide(users: int, items: int) -> FactorModel:
    """Of 64 columns, with a prior."""
    generator = torch.Generator().manual_seed(6)
    user, item = (Table(torch.randn(rows, 64, generator=generator)) for rows in (users, items))
    return FactorModel(user, item, torch.randn(items, generator=generator))


@pytest.mark.usefixtures("ten_us_a_column")
def test_rows_get_narrower_until_they_are_fast_enough(train: Interactions, valid: Interactions) -> None:
    model = wide(60, 80)
    found = adapt(model, train, valid, Limits(latency_ms=0.04), options=OPTIONS)
    assert found.chosen is not None
    # 8 columns take 0.09 ms, so that 4 would take more than 0.04 even if milliseconds went with the columns alone.
    assert len(found.tried) == len(ladder(model, found.limits)) + 1
    assert str(found.tried[-2].recipe).startswith("columns keep=8 > ")
    assert str(found.chosen.recipe) == "columns keep=2 > distil epochs=6 > bits bits=8"


@pytest.mark.usefixtures("ten_us_a_column")
def test_both_limits_are_met_by_narrower_rows_in_codes(train: Interactions, valid: Interactions) -> None:
    found = adapt(cosines(500, 600), train, valid, Limits(8000, 0.06), options=OPTIONS)
    assert [str(one.recipe) for one in found.tried] == [
        "columns keep=8 > codes user_bytes=2 item_bytes=2 book_bits=8",
        "columns keep=8 > codes user_bytes=2 item_bytes=2 solves=1 book_bits=8",
        "columns keep=4 > codes user_bytes=4 item_bytes=4 solves=1 book_bits=8",
    ]
    assert found.chosen is found.tried[-1]


@pytest.mark.usefixtures("ten_us_a_column")
@pytest.mark.parametrize(
    ("limits", "told"),
    [
        (Limits(latency_ms=0.015), "the smallest takes 1.02 kB, the fastest 0.020 ms a user"),
        (Limits(bytes=1000), "the smallest takes 1.02 kB, the fastest 0.020 ms a user"),
        (Limits(1010, 0.015), "the smallest takes 1.02 kB, the fastest 0.020 ms a user"),
    ],
)
def test_out_of_reach_is_what_a_single_column_is_too_large_or_slow_for(
    train: Interactions, valid: Interactions, limits: Limits, told: str
) -> None:
    found = adapt(wide(60, 80), train, valid, limits, options=OPTIONS)
    assert found.chosen is None
    assert found.tried[-1].model.user.width == 1
    assert found.lines() == [f"out of reach of {len(found.tried)} recipes: {told}"]


def test_models_that_come_out_larger_than_was_reckoned_are_followed_by_smaller_ones(
    train: Interactions, valid: Interactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = CodedModel.size_bytes
    monkeypatch.setattr(CodedModel, "size_bytes", lambda model: true(model) * 11 // 10)
    found = adapt(cosines(500, 600), train, valid, Limits(8000), options=OPTIONS)
    assert found.chosen is found.tried[-1]
    assert len(found.tried) > len(ladder(cosines(500, 600), Limits(8000)))
    assert all(one.bytes > 8000 for one in found.tried[:-1])
