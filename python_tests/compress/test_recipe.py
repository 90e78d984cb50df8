from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from gnas_ext.compress import DistilOptions
from gnas_ext.compress.recipe import Recipe
from gnas_ext.compress.report import recall_by_popularity, report
from gnas_ext.compress.steps import Bits, Codes, Columns, Distil, Fold, Groups, Mask, NarrowRare, Solve
from gnas_ext.data.interactions import Interactions
from gnas_ext.errors import InputError
from gnas_ext.models import FactorModel, Popularity
from python_tests.compress.conftest import ITEMS, USERS, WIDTH
from python_tests.compress.test_distil import overlap

OPTIONS = DistilOptions(best=10, drawn=10, batch=16)
RECIPES = {
    "nothing": Recipe(()),
    "bits": Recipe((Bits(8),)),
    "four_bits_learned": Recipe((Bits(4, epochs=1, stochastic=True),)),
    "four_bits_calibrated": Recipe((Bits(4, calibrated=True),)),
    "groups": Recipe((Groups(0.2, 8, 2),)),
    "codes": Recipe((Codes(4, 4),)),
    "codes_solved": Recipe((Codes(4, 4, solves=0),)),
    "codes_solved_in_groups": Recipe((Codes(4, 4, solves=1, rare_share=0.5, rare_bytes=2),)),
    "codes_of_small_books": Recipe((Codes(4, 4, rare_share=0.5, rare_bytes=2, solves=0, book_bits=8),)),
    "codes_learned": Recipe((Codes(4, 4, epochs=1, rare_share=0.5, rare_bytes=2),)),
    "prune_distil_quantise": Recipe((Columns(8), Distil(1), Codes(3, 3))),
    "distil_prune_quantise": Recipe((Distil(1), Columns(12), Bits(4))),
    "masked": Recipe((Mask(6, 2, "learned"), Bits(8))),
    "masked_by_a_threshold": Recipe((Mask(2, 2, threshold=0.5),)),
    "solved": Recipe((Solve(1, top=0.25), Bits(8))),
    "narrow": Recipe((NarrowRare(0.3, 5, 1),)),
    "folded": Recipe((Columns(10), Fold(0.4))),
    "folded_and_quantised": Recipe((Fold(0.4), Bits(4))),
    "narrow_and_quantised": Recipe((NarrowRare(0.3, 5, 1), Bits(8))),
    "groups_learned": Recipe((Groups(0.2, 8, 2, epochs=1),)),
    "distilled_with_options": Recipe((Distil(1, temperature=0.5, regression=0.1, alignment=0.2, touches=0.3),)),
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_gives_a_model_of_all_users_and_items(name: str, model: FactorModel, train: Interactions) -> None:
    small = RECIPES[name].apply(model, train, options=OPTIONS)
    assert (small.n_users, small.n_items) == (USERS, ITEMS)
    assert small.score(np.arange(3, dtype=np.int32)).isfinite().all()


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_plain_values_and_back(name: str) -> None:
    recipe = RECIPES[name]
    assert Recipe.from_genes(json.loads(json.dumps(recipe.genes()))) == recipe


def test_columns_that_went_are_gone(model: FactorModel, train: Interactions) -> None:
    small = Recipe((Columns(8), Bits(4))).apply(model, train)
    assert small.size_bytes() == (USERS + ITEMS) * (4 + 4) + 2 * 8 + 4 * ITEMS


def test_books_of_8_bits_are_half_of_those_of_16_and_rank_alike(model: FactorModel, train: Interactions) -> None:
    large, small = (Recipe((Codes(4, 4, book_bits=bits),)).apply(model, train) for bits in (16, 8))
    assert large.size_bytes() - small.size_bytes() == 2 * (256 * WIDTH - 2 * WIDTH)
    users = np.arange(USERS, dtype=np.int32)
    torch.testing.assert_close(small.score(users), large.score(users), rtol=0.05, atol=0.05)


def test_rows_in_groups_are_quantised_as_they_are(model: FactorModel, train: Interactions) -> None:
    folded = Recipe((Fold(0.5),)).apply(model, train)
    small = Recipe((Fold(0.5), Bits(8))).apply(model, train)
    assert small.size_bytes() < 0.5 * folded.size_bytes()
    users = np.arange(USERS, dtype=np.int32)
    torch.testing.assert_close(small.score(users), folded.score(users), rtol=0.05, atol=0.05)
    for wrong in (
        (Fold(0.5), Bits(4, epochs=1)),
        (Fold(0.5), Codes(4, 4, solves=1)),
        (Fold(0.5), Groups(0.5, 8, 2, 1)),
    ):
        with pytest.raises(InputError, match="cannot follow: rows are in groups by then, which are stored without"):
            Recipe(wrong).apply(model, train, options=OPTIONS)


def test_groups_that_learn_rank_more_like_the_teacher(model: FactorModel, train: Interactions) -> None:
    plain, taught = (
        Recipe((Groups(0.3, 4, 2, epochs=epochs, lr=0.1),)).apply(model, train, options=OPTIONS) for epochs in (0, 30)
    )
    assert overlap(taught, model, train) > overlap(plain, model, train) + 0.01
    assert taught.size_bytes() == plain.size_bytes()


def test_a_step_has_options_of_its_own_or_those_of_the_recipe(model: FactorModel, train: Interactions) -> None:
    cool = Recipe((Distil(2, temperature=0.5),)).apply(model, train, options=OPTIONS)
    told = Recipe((Distil(2),)).apply(model, train, options=replace(OPTIONS, temperature=0.5))
    plain = Recipe((Distil(2),)).apply(model, train, options=OPTIONS)
    assert torch.equal(cool.user.float(), told.user.float())
    assert not torch.equal(cool.user.float(), plain.user.float())


def test_a_larger_teacher_can_be_named(model: FactorModel, train: Interactions) -> None:
    teacher = Popularity(torch.arange(float(ITEMS)) / 10, USERS)
    taught, own = (Recipe((Distil(6, lr=0.3),)).apply(model, train, some, OPTIONS) for some in (teacher, None))
    assert overlap(taught, teacher, train) > overlap(own, teacher, train) + 0.1


def test_wrong_recipes_are_refused(model: FactorModel, train: Interactions) -> None:
    with pytest.raises(InputError, match=r"Fold.* cannot follow Fold.*: rare rows are shared once"):
        Recipe((Fold(0.5), Columns(3), Fold(0.2))).apply(model, train)
    with pytest.raises(InputError, match=r"expected a step of columns, .*, got 'prune'"):
        Recipe.from_genes([{"step": "prune"}])
    with pytest.raises(InputError, match=r"recipe: bits: .*'bit'"):
        Recipe.from_genes([{"step": "bits", "bit": 4}])


def test_the_report_adds_up(model: FactorModel, train: Interactions) -> None:
    small = Recipe((Groups(0.25, 8, 2),)).apply(model, train)
    found = report(model, small, {"ndcg@20": 0.2}, {"ndcg@20": 0.19})
    assert sum(found.tensors.values()) == found.bytes_after == small.size_bytes()
    assert found.bits["item"] == pytest.approx((8 + 32 / WIDTH, 2 + 64 / WIDTH))
    assert found.lost()["ndcg@20"] == pytest.approx(-0.05)
    assert "item: 10.00, 6.00 bits a number, popular rows first" in found.lines()
    assert "ndcg@20: 0.2000 before, 0.1900 after (-5.00%)" in found.lines()


def test_the_report_says_what_is_pruned(model: FactorModel, train: Interactions) -> None:
    found = report(model, Recipe((NarrowRare(0.3, 4, 0),)).apply(model, train, options=OPTIONS))
    assert found.pruned["user"] == pytest.approx((0, 0.75))
    assert "user: 0%, 75% of the columns are gone" in found.lines()


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_folded_rows_are_one_and_the_others_as_before(share: float, model: FactorModel, train: Interactions) -> None:
    small = Recipe((Fold(share),)).apply(model, train)
    users, items = (np.bincount(side, minlength=n) for side, n in ((train.user, USERS), (train.item, ITEMS)))
    for table, before, degree in ((small.user, model.user, users), (small.item, model.item, items)):
        rows = table.float()
        cold = np.argsort(-degree, kind="stable")[round((1 - share) * len(degree)) :]
        kept = np.setdiff1d(np.arange(len(degree)), cold)
        assert torch.equal(rows[kept], before.float()[kept])
        if len(cold):
            mean = before.float()[cold].mean(0)
            torch.testing.assert_close(rows[cold], mean.expand(len(cold), -1))
    assert (small.size_bytes() < model.size_bytes()) == (share > 0)


def test_rows_in_int8_stay_so_where_others_are_folded(model: FactorModel, train: Interactions) -> None:
    plain, small = (Recipe(steps).apply(model, train) for steps in ((Bits(8),), (Bits(8), Fold(0.5))))
    assert small.size_bytes() < 0.75 * plain.size_bytes()
    assert Recipe((Bits(8), Fold(0.5), Bits(4))).apply(model, train).size_bytes() < small.size_bytes()


@pytest.mark.parametrize("share", [0.4, 1.0])
def test_the_report_counts_a_shared_row_once(share: float, model: FactorModel, train: Interactions) -> None:
    found = report(model, Recipe((Fold(share),)).apply(model, train))
    shared = round(share * USERS)
    assert found.bits["user"][1] == pytest.approx(32 / shared)
    assert found.folded["user"] == pytest.approx(shared / USERS)
    assert f"user: {shared / USERS:.0%} of the rows share one" in found.lines()
    assert report(model, model).folded == {"user": 0.0, "item": 0.0}


def test_the_report_has_deciles_where_they_were_measured(model: FactorModel) -> None:
    plain = report(model, model)
    assert plain.decile_lines() == []
    told = replace(plain, deciles_before=[0.1, 0.25], deciles_after=[0.05, 0.2]).lines()[-3:]
    assert told == ["recall by tenth of the items, rare ones first:", "  before 0.100 0.250", "  after  0.050 0.200"]


def test_the_report_says_where_no_time_is_saved(model: FactorModel) -> None:
    plain = report(model, model)
    slow, quick = (replace(plain, latency_before=0.1, latency_after=after) for after in (0.2, 0.05))
    assert slow.lines()[-1] == "ms a user: 0.100 before, 0.200 after; no time is saved"
    assert quick.lines()[-1] == "ms a user: 0.100 before, 0.050 after"


def test_recall_by_popularity_is_of_pairs_in_tenths_of_the_items() -> None:
    # Item i was touched by i users; user 20 has items 19 and 18 held out, and gets the most popular one.
    users = np.concatenate([np.arange(item) for item in range(20)]).astype(np.int32)
    items = np.repeat(np.arange(20), np.arange(20)).astype(np.int32)
    train = Interactions(np.append(users, 20).astype(np.int32), np.append(items, 3).astype(np.int32))
    held_out = Interactions(np.array([20, 20, 20], np.int32), np.array([19, 18, 0], np.int32))
    found = recall_by_popularity(Popularity(torch.arange(20.0), 21), train, held_out, k=1)
    assert found[9] == 0.5
    assert found[0] == 0.0
    assert np.isnan(found[1:9]).all()


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_recipe_reads_what_it_says(recipe: Recipe) -> None:
    assert Recipe.parse(str(recipe)) == recipe


def test_a_recipe_says_no_more_than_it_must() -> None:
    told = str(Recipe((Columns(48), Distil(), Codes(20, 24, solves=1, rare_share=0.5))))
    assert told == "columns keep=48 > distil > codes user_bytes=20 item_bytes=24 solves=1 rare_share=0.5"
    assert str(Recipe(())) == "float32"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("shrink", "expected a step of columns, mask, distil"),
        ("columns", r"columns: .*missing 1 required"),
        ("columns keep", r"'columns keep': expected options such as keep=48"),
        ("columns keep=much", r"'columns keep=much': expected options"),
        ("columns keep=4 more=1", r"columns: .*unexpected keyword"),
        ("columns keep=4 keep=8", "each once"),
        ("distil temperature=0", r"expected temperature to be above 0, got 0"),
        ("distil alignment=-1", r"expected alignment to be 0 or more, got -1"),
        ("columns keep=-1", r"columns: expected keep to be a whole number from 1, got -1"),
        ("columns keep=4.5", r"keep to be a whole number from 1, got 4.5"),
        ('columns keep="x"', r"keep to be a whole number from 1, got 'x'"),
        ("columns keep=true", r"keep to be a whole number from 1, got True"),
        ("bits bits=3", r"bits: expected bits to be one of 32, 8, 4, 2, got 3"),
        ("solve ridge=0", r"ridge to be above 0, got 0"),
        ("solve rounds=-1", r"rounds to be a whole number from 0"),
        ("distil lr=NaN", r"lr to be above 0, got nan"),
        ("codes user_bytes=4 item_bytes=4 rare_share=2", r"rare_share to be from 0 to 1, got 2"),
        ('mask keep=4 scores="movement"', r"scores to be one of magnitude, learned, got 'movement'"),
        ("", "expected options"),
    ],
)
def test_what_is_no_recipe_is_refused(text: str, error: str) -> None:
    with pytest.raises(InputError, match=error):
        Recipe.parse(text)
