"""Do explanations sum to the score, and is each line what it says it is?"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from gnas_ext.errors import InputError
from gnas_ext.evaluate.seen import SeenItems
from gnas_ext.models import Mixture, fit_ease, fit_graph_filter, fit_item_knn
from gnas_ext.models.response import monomial, plateau
from gnas_ext.recommend import Recommender
from python_tests.recommend.conftest import ITEMS, USERS, make_factors, make_sample

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from gnas_ext.models import GraphFilter, Model
    from gnas_ext.recommend import Explanation

    Matrix = NDArray[np.float64]

HISTORY = ["00021", "00147", "00007"]
METHODS = {
    "popularity": "popularity",
    "item_knn": "linear",
    "item_weights": "linear",
    "graph_filter": "paths",
    "mixture": "leave-one-out",
    "int8": "folded",
    "float32": "folded",
    "coded": "folded",
}


def make_recommender(kind: str, model: Model | None = None, seen: SeenItems | None = None) -> Recommender:
    """As a loaded artefact has it; a mixture, too, which no artefact holds, and any other model or history."""
    sample = make_sample("int8")
    train = sample.train
    if model is None:
        model = make_factors("float32") if kind == "mixture" else make_sample(kind).model
        if kind == "mixture":
            parts = (fit_item_knn(train, USERS, ITEMS, neighbours=9), fit_ease(train, USERS, ITEMS, l2=2.0), model)
            model = Mixture(parts, (1.0, 0.5, 0.25))
    item_ids, titles = sample.arguments["item_ids"], sample.arguments["titles"]
    facts = item_ids.to_frame("item").join(titles, on="item", how="left", maintain_order="left")
    seen = seen or sample.arguments["seen"]
    manifest: Any = None
    return Recommender(model=model, user_ids=sample.arguments["user_ids"], titles=facts, seen=seen, manifest=manifest)


@pytest.fixture(params=[*METHODS])
def kind(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def recommender(kind: str) -> Recommender:
    return make_recommender(kind)


def total(explanation: Explanation) -> float:
    return explanation.base + float(explanation.reasons["contribution"].sum()) + explanation.rest


def scores(recommender: Recommender, user: str) -> dict[str, float]:
    rows = recommender.recommend(user, k=ITEMS, exclude_seen=False)
    return dict(rows.select("item", "score").iter_rows())


def test_an_explanation_sums_to_the_score(recommender: Recommender, kind: str) -> None:
    wanted = scores(recommender, "03")
    for item in recommender.titles["item"]:
        got = recommender.explain("03", item)
        assert got.score == pytest.approx(wanted[item], rel=1e-5, abs=1e-6)
        assert total(got) == pytest.approx(got.score, rel=1e-5, abs=1e-5)
        assert got.method == METHODS[kind]


@pytest.mark.parametrize("kind", ["popularity", "item_knn", "item_weights", "graph_filter"])
def test_what_is_exact_has_no_rest(recommender: Recommender) -> None:
    assert {recommender.explain("03", item).rest for item in recommender.titles["item"]} == {0.0}


@pytest.mark.parametrize("kind", [kind for kind, method in METHODS.items() if method != "folded"])
def test_what_needs_no_map_has_no_share_of_one(recommender: Recommender) -> None:
    got = recommender.explain("03", "00021")
    assert got.explained is None
    assert "variance" not in got.sums


@pytest.mark.parametrize("kind", ["int8", "float32", "coded"])
def test_the_share_that_the_map_explains_is_that_of_the_stored_rows(recommender: Recommender) -> None:
    """By hand: rows folded in from every user's history, beside the rows that are stored."""
    fold: Any = recommender.fold
    indptr, items = recommender.seen.indptr, recommender.seen.items
    users = [user for user in range(USERS) if len(recommender.seen.of(user))]
    stored = fold.model.user.float().double().numpy()[users]
    sums = [fold.items.double().numpy()[items[indptr[user] : indptr[user + 1]]].sum(0) for user in users]
    lengths = np.diff(indptr)[users, None].astype(np.float64)
    folded = fold.base.double().numpy() + np.array(sums) * lengths**-fold.exponent
    wanted = 1 - np.square(stored - folded).sum() / np.square(stored - stored.mean(0)).sum()
    assert 0.05 < wanted < 0.95
    for got in (recommender.explain("03", "00021"), recommender.explain_for_items(HISTORY, "00021")):
        assert got.explained == pytest.approx(wanted, rel=1e-4)
        assert f"explain {wanted:.1%} of the variance" in got.sums


def test_the_same_for_somebody_new(recommender: Recommender) -> None:
    rows = recommender.recommend_for_items(HISTORY, k=ITEMS, exclude_seen=False)
    for item, score in rows.select("item", "score").head(5).iter_rows():
        got = recommender.explain_for_items(HISTORY, item)
        assert got.score == pytest.approx(score, rel=1e-5, abs=1e-5)
        assert total(got) == pytest.approx(got.score, rel=1e-5, abs=1e-5)
        assert sorted(got.reasons["item"]) == sorted(HISTORY)


def test_every_touched_item_has_a_line_with_its_title(recommender: Recommender) -> None:
    got = recommender.explain("03", "00000")
    mine = recommender.titles[recommender.seen.of(3)]
    assert sorted(got.reasons.select("item", "title").rows(), key=str) == sorted(
        mine.select("item", "title").rows(), key=str
    )
    assert got.reasons["contribution"].is_sorted(descending=True)
    assert (got.item, got.title) == ("00000", None)
    assert recommender.explain("03", "00021").title == "Film <3>"


@pytest.mark.parametrize("kind", ["item_knn", "item_weights"])
def test_a_line_is_what_the_model_stores(recommender: Recommender, kind: str) -> None:
    model: Any = recommender.model
    stored = model.similarity.toarray() if kind == "item_knn" else model.weight.numpy()
    place = {item: code for code, item in enumerate(recommender.titles["item"])}
    for item, _, contribution in recommender.explain("03", "00014").reasons.iter_rows():
        assert contribution == pytest.approx(float(stored[place[item], 2]))


def linear_filter(kind: str) -> GraphFilter:
    train = make_sample("int8").train
    exponents: dict[str, Any] = {"user_exponent": 0.3, "item_exponent": 0.4, "exponent": 0.2}
    if kind == "one hop":
        return fit_graph_filter(train, USERS, ITEMS, response=partial(monomial, (0.0, 1.0)), **exponents)
    low: dict[str, Any] = {"rank": 3, "low_weight": 0.2, "low_exponent": 0.4}
    return fit_graph_filter(train, USERS, ITEMS, response=partial(plateau, 4, 1.5), **exponents, **low)


def filtered(kind: str) -> tuple[Recommender, Matrix]:
    """A recommender over a filter, and who touched what as a dense matrix."""
    model = linear_filter(kind)
    return make_recommender("graph_filter", model), model.history.toarray().astype(np.float64)


def test_paths_of_one_hop_are_those_of_the_graph() -> None:
    """user – item – user – item, each weighed by the degrees on the way: by hand, on dense matrices."""
    recommender, touched = filtered("one hop")
    user_degree, item_degree = (np.maximum(touched.sum(axis), 1) for axis in (1, 0))
    step = touched * user_degree[:, None] ** -0.3 * item_degree**-0.4
    ids = recommender.titles["item"].to_list()
    for item in (2, 11):
        got = recommender.explain("03", ids[item]).paths
        assert got is not None
        wanted = {}
        for first in np.flatnonzero(touched[3]):
            for between in range(USERS):
                weight = item_degree[first] ** -0.2 * step[between, first] * step[between, item]
                if weight:
                    wanted[ids[first], f"0{between}"] = weight * item_degree[item] ** 0.2
        by_user = got.drop_nulls("user")
        found = {(item, user): weight for item, _, user, weight in by_user.iter_rows()}
        assert got.filter(pl.col("user").is_null())["contribution"].abs().sum() < 1e-6  # rounding
        assert found.keys() == wanted.keys()
        np.testing.assert_allclose([found[path] for path in wanted], [*wanted.values()], rtol=1e-5)


@pytest.mark.parametrize("kind", ["one hop", "many hops"])
def test_paths_sum_to_the_score(kind: str) -> None:
    recommender, _ = filtered(kind)
    wanted = scores(recommender, "05")
    for item in recommender.titles["item"]:
        got = recommender.explain("05", item)
        assert got.paths is not None
        assert float(got.paths["contribution"].sum()) == pytest.approx(wanted[item], rel=1e-4, abs=1e-6)


def test_what_comes_by_no_user_names_none() -> None:
    got = filtered("many hops")[0].explain("05", "00007").paths
    assert got is not None
    assert got.filter(pl.col("user").is_null()).height > 0


def test_the_lines_of_a_user_who_is_what_was_touched_are_all_there_is(tmp_path: Path, dtype: str) -> None:
    """Folded in, the row is the map's own: nothing is left over but the rounding of int8."""
    recommender = make_sample(dtype).reload(tmp_path / "a")
    spread = recommender.recommend_for_items(HISTORY, k=ITEMS)["score"].std()
    assert isinstance(spread, float)
    rest = [abs(recommender.explain_for_items(HISTORY, item).rest) for item in recommender.titles["item"]]
    assert max(rest) <= (0.05 if dtype == "int8" else 1e-5) * spread


def test_a_base_of_two_tables_is_the_prior_and_what_everybody_gets(tmp_path: Path) -> None:
    recommender = make_sample("float32").reload(tmp_path / "a")
    model: Any = recommender.model
    fold: Any = recommender.fold
    wanted = float(model.prior[2] + fold.base @ model.item.rows[2])
    assert recommender.explain("03", "00014").base == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("kind", ["mixture"])
def test_a_line_is_what_the_score_loses_without_the_touch(recommender: Recommender) -> None:
    whole = recommender.explain_for_items(HISTORY, "00140")
    for item, _, contribution in whole.reasons.iter_rows():
        without = recommender.explain_for_items([other for other in HISTORY if other != item], "00140")
        assert contribution == pytest.approx(whole.score - without.score, rel=1e-4, abs=1e-6)


def test_somebody_who_touched_nothing_has_a_score_without_lines(recommender: Recommender, kind: str) -> None:
    seen = SeenItems(np.zeros(USERS + 1, np.int64), np.zeros(0, np.int32))
    model: Any = recommender.model
    if hasattr(model, "history"):
        model.history.data, model.history.indices = model.history.data[:0], model.history.indices[:0]
        model.history.indptr[:] = 0
    recommender = make_recommender(kind, model, seen)
    got = recommender.explain("03", "00014")
    assert got.reasons.height == 0
    assert total(got) == pytest.approx(got.score, abs=1e-5)


def test_a_stranger_is_told_how_popular_an_item_is(recommender: Recommender) -> None:
    got = recommender.explain("nobody", "00021", unknown="popular")
    assert (got.method, got.score) == ("popularity", float(np.sum(recommender.seen.items == 3)))
    assert got.reasons.height == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: r.explain("nobody", "00021"), "unknown user 'nobody'"),
        (lambda r: r.explain("03", "x"), "unknown item 'x'"),
        (lambda r: r.explain_for_items(["x"], "00021"), "unknown item 'x'"),
        (lambda r: r.explain_for_items([], "00021"), "explain_for_items: expected the ids of one item or more"),
    ],
)
def test_what_is_not_known_is_named(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(make_recommender("item_knn"))


def test_a_model_that_takes_no_history_says_so() -> None:
    class Fixed:
        n_users, n_items = USERS, ITEMS

        def score(self, users: object) -> None:
            raise AssertionError

        def size_bytes(self) -> int:
            return 0

    recommender = make_recommender("none", Fixed())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="a Fixed scores stored users only"):
        recommender.recommend_for_items(HISTORY)
