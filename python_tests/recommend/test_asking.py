"""Asking a Recommender for more than the lists of its users: some items only, strangers, similar items."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

from gnas_ext.compress import quantize_model
from gnas_ext.errors import InputError
from gnas_ext.models import FactorModel, ItemKNN, ItemWeights, Table
from python_tests.recommend.conftest import ITEMS, USERS, Sample, make_factors, make_sample

if TYPE_CHECKING:
    from pathlib import Path

    from gnas_ext.recommend import Recommender

STRANGER = ["00021", "00147", "00007"]


@pytest.fixture
def recommender(tmp_path: Path, kind: str) -> Recommender:
    return make_sample(kind).reload(tmp_path / "a")


def codes(recommender: Recommender, items: list[str]) -> list[int]:
    return [recommender.titles["item"].to_list().index(item) for item in items]


def test_only_some_items_are_recommended(recommender: Recommender) -> None:
    some = ["00070", "00007", "00196", "00140"]
    whole = recommender.recommend("03", k=ITEMS, exclude_seen=False)
    got = recommender.recommend("03", k=ITEMS, exclude_seen=False, items=some)
    assert got["item"].to_list() == [item for item in whole["item"] if item in some]
    assert got["score"].to_list() == whole.filter(pl.col("item").is_in(some))["score"].to_list()


def test_items_can_be_left_out(recommender: Recommender) -> None:
    whole = recommender.recommend(["03", "05"], k=ITEMS)
    some = whole["item"].head(2).to_list()
    got = recommender.recommend(["03", "05"], k=ITEMS, filter_items=some)
    wanted = whole.filter(~pl.col("item").is_in(some))
    assert got.select("user", "item", "score").equals(wanted.select("user", "item", "score"))


def test_what_is_asked_for_and_left_out_is_left_out(recommender: Recommender) -> None:
    got = recommender.recommend("03", items=["00007", "00014"], filter_items=["00007"], exclude_seen=False)
    assert got["item"].to_list() == ["00014"]


def test_no_items_to_recommend_is_an_empty_list(recommender: Recommender) -> None:
    assert recommender.recommend("03", items=[]).height == 0


def test_an_unknown_item_is_named(recommender: Recommender) -> None:
    with pytest.raises(InputError, match=r"unknown item 'x': 30 items are known; ids look like '00000'"):
        recommender.recommend("03", items=["00000", "x"])


def test_strangers_get_what_is_popular_and_it_says_so(recommender: Recommender) -> None:
    got = recommender.recommend(["nobody", "03", "nobody else"], k=4, unknown="popular")
    assert got["user"].to_list() == ["nobody"] * 4 + ["03"] * 4 + ["nobody else"] * 4
    assert got["source"].to_list() == ["popular"] * 4 + ["model"] * 4 + ["popular"] * 4
    count = np.bincount(recommender.seen.items, minlength=ITEMS)
    best = np.argsort(-count, kind="stable")[:4]
    for user in ("nobody", "nobody else"):
        rows = got.filter(user=user)
        assert rows["item"].to_list() == recommender.titles["item"].gather(best).to_list()
        assert rows["score"].to_list() == count[best].tolist()
    assert got.filter(user="03").drop("source").equals(recommender.recommend("03", k=4))


def test_what_is_popular_is_filtered_too(recommender: Recommender) -> None:
    some = recommender.recommend("nobody", k=2, unknown="popular")["item"].to_list()
    got = recommender.recommend("nobody", k=ITEMS, unknown="popular", filter_items=some)
    assert got.height == ITEMS - 2
    assert not set(some) & set(got["item"])


def test_a_stranger_keeps_the_type_of_the_log_where_it_can(tmp_path: Path) -> None:
    ids = pl.Series(range(100, 100 + USERS), dtype=pl.Int32)
    recommender = make_sample("int8").reload(tmp_path / "a", user_ids=ids)
    assert recommender.recommend([103, 7], k=1, unknown="popular")["user"].to_list() == [103, 7]
    assert recommender.recommend([103, "x"], k=1, unknown="popular")["user"].to_list() == ["103", "x"]
    assert recommender.recommend(["007"], k=1, unknown="popular")["user"].to_list() == ["007"]
    assert recommender.recommend([2**40], k=1, unknown="popular")["user"].to_list() == [str(2**40)]


def test_a_way_to_treat_strangers_that_is_none(recommender: Recommender) -> None:
    with pytest.raises(InputError, match="expected unknown='error' or 'popular', got 'guess'"):
        recommender.recommend("03", unknown="guess")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["popularity", "item_knn", "graph_filter", "item_weights"])
def test_a_history_gets_what_a_user_of_that_history_gets(recommender: Recommender) -> None:
    """Models of histories score anybody: a stored user's own items give that user's own list."""
    for code, user in enumerate(recommender.user_ids):
        mine = recommender.titles["item"].gather(recommender.seen.of(code)).to_list()
        got = recommender.recommend_for_items(mine[::-1], k=ITEMS)
        wanted = recommender.recommend(user, k=ITEMS)
        np.testing.assert_allclose(got["score"].to_numpy(), wanted["score"].to_numpy(), rtol=2e-5, atol=2e-6)


def test_a_history_is_left_out_unless_it_is_wanted(recommender: Recommender) -> None:
    got = recommender.recommend_for_items(STRANGER, k=ITEMS)
    assert set(got["item"]) == set(recommender.titles["item"]) - set(STRANGER)
    assert recommender.recommend_for_items(STRANGER, k=ITEMS, exclude_seen=False).height == ITEMS
    assert got.columns == ["rank", "item", "score", "title"]


def test_a_history_counts_each_item_once_in_any_order(recommender: Recommender) -> None:
    wanted = recommender.recommend_for_items(STRANGER)
    assert recommender.recommend_for_items([*STRANGER[::-1], STRANGER[0]]).equals(wanted)


def test_a_history_may_be_one_item_and_lists_may_be_of_some(recommender: Recommender) -> None:
    got = recommender.recommend_for_items("00021", items=["00007", "00014", "00021"], filter_items=["00014"])
    assert got["item"].to_list() == ["00007"]


def test_no_history_is_refused(recommender: Recommender) -> None:
    with pytest.raises(InputError, match="recommend_for_items: expected the ids of one item or more, got none"):
        recommender.recommend_for_items([])


def cosine(rows: np.ndarray[tuple[int, ...], np.dtype[np.float64]], item: int) -> list[float]:
    norm = np.linalg.norm(rows, axis=1)
    return list(rows @ rows[item] / (norm * norm[item]))


def test_rows_are_alike_by_cosine(tmp_path: Path, dtype: str) -> None:
    sample = make_sample(dtype)
    assert isinstance(sample.model, FactorModel)
    got = sample.reload(tmp_path / "a").similar("00021", k=ITEMS)
    wanted = cosine(sample.model.item.float().double().numpy(), 3)
    order = [int(item) for item in np.argsort(-np.array(wanted), kind="stable") if item != 3]
    assert got["item"].to_list() == [f"{7 * item:05d}" for item in order]
    np.testing.assert_allclose(got["score"].to_numpy(), np.array(wanted)[order], atol=1e-6)


def test_a_row_of_zeros_is_like_nothing(tmp_path: Path) -> None:
    model = make_factors("int8")
    model.item.rows[4] = 0
    recommender = make_sample("int8", model).reload(tmp_path / "a")
    assert set(recommender.similar("00028", k=ITEMS)["score"]) == {0.0}


def test_similarities_are_those_that_are_stored(tmp_path: Path) -> None:
    sample = make_sample("item_knn")
    assert isinstance(sample.model, ItemKNN)
    stored = sample.model.similarity.toarray()[3]
    got = sample.reload(tmp_path / "a").similar("00021", k=ITEMS)
    assert dict(got.select("item", "score").iter_rows()) == {f"{7 * i:05d}": stored[i] for i in np.flatnonzero(stored)}
    assert got["score"].is_sorted(descending=True)


def test_weights_say_what_an_item_says_about_others(tmp_path: Path) -> None:
    sample = make_sample("item_weights")
    assert isinstance(sample.model, ItemWeights)
    got = sample.reload(tmp_path / "a").similar("00021", k=ITEMS)
    assert got.height == ITEMS - 1
    assert got["score"].to_list() == sorted(np.delete(sample.model.weight[3].numpy(), 3).tolist(), reverse=True)


def test_a_filter_says_what_a_single_touch_would_give(tmp_path: Path) -> None:
    recommender = make_sample("graph_filter").reload(tmp_path / "a")
    # Not bit for bit: a product of one row may be summed in another order than that of several.
    assert_frame_equal(recommender.similar("00021", k=9), recommender.recommend_for_items("00021", k=9), abs_tol=1e-6)


def test_popularity_knows_of_no_pairs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="similar: the artefact holds popularity alone"):
        make_sample("popularity").reload(tmp_path / "a").similar("00021")


@pytest.mark.parametrize("k", [0, -1])
def test_a_k_below_one_is_refused(recommender: Recommender, k: int) -> None:
    with pytest.raises(InputError, match=f"recommend_for_items: expected k of 1 or more, got {k}"):
        recommender.recommend_for_items(STRANGER, k=k)
    with pytest.raises(InputError, match=f"similar: expected k of 1 or more, got {k}"):
        recommender.similar("00021", k=k)


@pytest.mark.parametrize("prior", [True, False])
def test_rows_that_are_a_map_of_items_are_found_again(tmp_path: Path, dtype: str, prior: bool) -> None:
    """Users whose rows are what their items sum to: the map is that, and folding a stored user in gives its scores."""
    sample = make_sample(dtype, linear_users(make_sample("float32", make_factors("float32", prior)), dtype))
    recommender = sample.reload(tmp_path / "a")
    for code in np.flatnonzero(recommender.seen.counts > 0).tolist():
        user = recommender.user_ids[code]
        mine = recommender.titles["item"].gather(recommender.seen.of(code)).to_list()
        got = recommender.recommend_for_items(mine, k=ITEMS, exclude_seen=False).sort("item")
        wanted = recommender.recommend(user, k=ITEMS, exclude_seen=False).sort("item")
        spread = float(np.ptp(wanted["score"].to_numpy()))
        np.testing.assert_allclose(got["score"].to_numpy(), wanted["score"].to_numpy(), atol=0.03 * spread)


def linear_users(sample: Sample, dtype: str) -> FactorModel:
    """The sample's items, and users who are the mean of what they touched, turned by a matrix, and a constant."""
    model = sample.model
    assert isinstance(model, FactorModel)
    seen = sample.arguments["seen"]
    generator = torch.Generator().manual_seed(3)
    turn = torch.randn(5, 5, generator=generator)
    means = torch.stack([model.item.rows[seen.of(user).astype(np.int64)].mean(0) for user in range(USERS)])
    rows = torch.nan_to_num(means) @ turn + 0.3
    return quantize_model(FactorModel(Table(rows), model.item, model.prior), 8 if dtype == "int8" else 32)
