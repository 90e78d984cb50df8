from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from gnas_ext.errors import InputError
from gnas_ext.models import CodedModel, FactorModel, GraphFilter, ItemKNN, ItemWeights, Popularity
from python_tests.recommend.conftest import ITEMS, USERS, Sample, make_sample

if TYPE_CHECKING:
    from pathlib import Path

    from gnas_ext.models import Model
    from gnas_ext.recommend import Recommender


@pytest.fixture
def recommender(tmp_path: Path, kind: str) -> Recommender:
    return make_sample(kind).reload(tmp_path / "a")


def dense_scores(model: Model) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Scores of all items for all users in float64, from what the model is made of."""
    if isinstance(model, Popularity):
        return np.tile(model.weight.double().numpy(), (USERS, 1))
    if isinstance(model, ItemKNN):
        return model.history.toarray().astype(np.float64) @ model.similarity.toarray().astype(np.float64)
    if isinstance(model, GraphFilter | ItemWeights | CodedModel):
        return model.score(np.arange(USERS, dtype=np.int32)).double().numpy()
    assert isinstance(model, FactorModel)
    assert model.prior is not None
    return (model.user.float().double() @ model.item.float().double().T + model.prior.double()).numpy()


def brute_force(sample: Sample, user: int, exclude_seen: bool) -> list[int]:
    """All items by falling score, one by one."""
    scores = dense_scores(sample.model)[user].astype(np.float32)
    seen = set(sample.train.item[sample.train.user == user].tolist()) if exclude_seen else set()
    return [int(item) for item in np.argsort(-scores, kind="stable") if item not in seen]


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_the_best_items_come_first(recommender: Recommender, kind: str, exclude_seen: bool) -> None:
    sample = make_sample(kind)
    got = recommender.recommend(recommender.user_ids, k=ITEMS, exclude_seen=exclude_seen)
    for code, user in enumerate(recommender.user_ids):
        wanted = sample.arguments["item_ids"].gather(brute_force(sample, code, exclude_seen)).to_list()
        assert got.filter(user=user).get_column("item").to_list() == wanted


def test_the_table_has_one_form(recommender: Recommender) -> None:
    got = recommender.recommend("03", k=4)
    schema = {"user": pl.String, "rank": pl.Int32, "item": pl.String, "score": pl.Float32, "title": pl.String}
    assert dict(got.schema) == schema
    assert got.get_column("rank").to_list() == [1, 2, 3, 4]


def test_nobody_gets_an_empty_table_of_that_form(recommender: Recommender) -> None:
    nobody = recommender.recommend([])
    assert nobody.height == 0
    assert nobody.schema == recommender.recommend("03").schema


def test_scores_are_those_of_the_model(recommender: Recommender, kind: str) -> None:
    got = recommender.recommend(["03", "00"], k=6)
    scores = dense_scores(make_sample(kind).model)[[3, 0]]
    code = {id_: place for place, id_ in enumerate(recommender.titles.get_column("item"))}
    wanted = [scores[0 if user == "03" else 1, code[item]] for user, item in got.select("user", "item").iter_rows()]
    np.testing.assert_allclose(got.get_column("score").to_numpy(), wanted, rtol=1e-5)


def test_titles_stand_beside_items_where_they_are_known(recommender: Recommender) -> None:
    got = recommender.recommend("03", k=ITEMS, exclude_seen=False)
    titles = dict(got.select("item", "title").iter_rows())
    assert (titles["00021"], titles["00007"], titles["00000"]) == ("Film <3>", "Film | 1", None)


def test_users_come_in_the_order_asked_for(recommender: Recommender) -> None:
    got = recommender.recommend(["05", "01", "05"], k=2)
    assert got.get_column("user").to_list() == ["05", "05", "01", "01", "05", "05"]


def test_numbers_stay_numbers(tmp_path: Path, sample: Sample) -> None:
    ids = pl.Series(range(100, 100 + USERS), dtype=pl.Int32)
    got = sample.reload(tmp_path / "a", user_ids=ids).recommend("103", k=1)
    assert got.get_column("user").to_list() == [103]
    assert got.schema["user"] == pl.Int32


def test_a_k_beyond_the_catalogue_gives_what_there_is(recommender: Recommender) -> None:
    seen = len(recommender.seen.of(3))
    assert recommender.recommend("03", k=10**9).height == ITEMS - seen
    assert recommender.recommend("03", k=10**9, exclude_seen=False).height == ITEMS


@pytest.mark.parametrize("k", [0, -1])
def test_a_k_below_one_is_refused(recommender: Recommender, k: int) -> None:
    with pytest.raises(InputError, match=f"expected k of 1 or more, got {k}"):
        recommender.recommend("03", k=k)


def test_an_unknown_user_is_refused(recommender: Recommender) -> None:
    with pytest.raises(InputError, match=r"unknown user 'nobody': 12 users are known; ids look like '00', '01', '02'"):
        recommender.recommend(["03", "nobody"])


def test_it_knows_its_sizes(recommender: Recommender) -> None:
    assert (recommender.n_users, recommender.n_items) == (USERS, ITEMS)
