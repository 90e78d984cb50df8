from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext.data.interactions import Interactions
from gnas_ext.evaluate import Hits, SeenItems, find_hits, metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from gnas_ext.evaluate.metrics import PerUser

    Lists = tuple[NDArray[np.int32], list[list[int]]]

ACCURACY: dict[str, Callable[[Hits, int], PerUser]] = {
    "recall": metrics.recall_at_k,
    "ndcg": metrics.ndcg_at_k,
    "precision": metrics.precision_at_k,
    "f1": metrics.f1_at_k,
    "mrr": metrics.mrr_at_k,
    "map": metrics.map_at_k,
    "hit_rate": metrics.hit_rate_at_k,
}


def held_out(items: list[list[int]]) -> SeenItems:
    users = np.repeat(np.arange(len(items)), [len(mine) for mine in items]).astype(np.int32)
    return SeenItems.from_interactions(
        Interactions(users, np.array([item for mine in items for item in mine], dtype=np.int32)), len(items)
    )


def lists_of(ranked: list[list[int]], relevant: list[list[int]]) -> Hits:
    return find_hits(np.array(ranked, dtype=np.int32), held_out(relevant))


@pytest.fixture(scope="module")
def ranx() -> Any:
    # Compiling ranx takes minutes; these cases are small. The switch must be set before ranx is imported.
    importlib.import_module("numba").config.DISABLE_JIT = True
    return importlib.import_module("ranx")


def random_lists(seed: int) -> Lists:
    """Lists of 12 of 40 items, some short, and 1 … 30 held-out items of 50: some cannot be listed."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 15))
    ranked = np.array([rng.permutation(40)[:12] for _ in range(n)], dtype=np.int32)
    for line in ranked:
        line[rng.integers(1, 30) :] = -1
    return ranked, [rng.permutation(50)[: rng.integers(1, 31)].tolist() for _ in range(n)]


@pytest.mark.parametrize("name", ACCURACY)
@pytest.mark.parametrize("k", [1, 2, 5, 12])
def test_accuracy_agrees_with_ranx(ranx: Any, name: str, k: int) -> None:
    for seed in range(25):
        ranked, relevant = random_lists(seed)
        qrels = ranx.Qrels({f"user{u:02}": {str(item): 1 for item in items} for u, items in enumerate(relevant)})
        run = ranx.Run(
            {
                f"user{u:02}": {str(item): -float(place) for place, item in enumerate(line) if item >= 0}
                for u, line in enumerate(ranked)
            }
        )
        expected = ranx.evaluate(qrels, run, f"{name}@{k}", return_mean=False)
        np.testing.assert_allclose(
            ACCURACY[name](find_hits(ranked, held_out(relevant)), k), expected, err_msg=str(seed)
        )


@settings(deadline=None)
@given(st.integers(0, 2**31))
def test_hits_are_the_held_out_items_of_the_same_row(seed: int) -> None:
    ranked, relevant = random_lists(seed)
    hits = find_hits(ranked, held_out(relevant))
    assert hits.at.tolist() == [[item in items for item in line] for line, items in zip(ranked, relevant, strict=True)]
    assert hits.relevant.tolist() == [len(items) for items in relevant]


@pytest.mark.parametrize("name", ACCURACY)
def test_a_perfect_list_scores_one(name: str) -> None:
    assert ACCURACY[name](lists_of([[4, 2]], [[2, 4]]), 2).tolist() == [1.0]


@pytest.mark.parametrize("name", ACCURACY)
@pytest.mark.parametrize(("ranked", "relevant"), [([3, 5], []), ([-1, -1], [4]), ([3, 5], [4])])
def test_nothing_found_scores_zero(name: str, ranked: list[int], relevant: list[int]) -> None:
    assert ACCURACY[name](lists_of([ranked], [relevant]), 2).tolist() == [0.0]


def test_f1_is_the_harmonic_mean_of_each_users_precision_and_recall() -> None:
    hits = lists_of([[1, 2, 3], [4, 5, 6]], [[1], [4, 5, 7, 8]])
    precision, recall = metrics.precision_at_k(hits, 3), metrics.recall_at_k(hits, 3)
    np.testing.assert_allclose(metrics.f1_at_k(hits, 3), 2 * precision * recall / (precision + recall))


def test_ideal_of_ndcg_stops_at_the_length_of_the_list() -> None:
    assert metrics.ndcg_at_k(lists_of([[1, 2, 9]], [[1, 2, 3, 4, 5]]), 2).tolist() == [1.0]


def test_all_held_out_items_count_for_map_beyond_the_list() -> None:
    assert metrics.map_at_k(lists_of([[1, 2]], [[1, 2, 3, 4]]), 2).tolist() == [0.5]


@pytest.mark.parametrize("k", [0, 3])
def test_a_length_beyond_the_lists_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"expected k in 1 … 2, the length of the lists, got {k}"):
        metrics.recall_at_k(lists_of([[1, 2]], [[1]]), k)


def test_lists_and_held_out_items_of_different_people_are_refused() -> None:
    with pytest.raises(ValueError, match="expected held-out items for 1 lists, got 2"):
        lists_of([[1, 2]], [[1], [2]])


def table(*rows: list[int]) -> NDArray[np.int32]:
    return np.array(rows, dtype=np.int32)


def test_coverage_is_the_share_of_items_that_are_listed() -> None:
    assert metrics.coverage_at_k(table([0, 1, 2], [1, 0, -1]), 2, 8) == 0.25


def test_novelty_is_the_mean_surprise_in_bits() -> None:
    # Of 8 users, 4 touched item 0 (1 bit), 1 touched item 1 (3 bits), nobody item 2 (as if one had).
    assert metrics.novelty_at_k(table([0, 1], [2, -1]), 2, np.array([4, 1, 0]), 8) == pytest.approx((1 + 3 + 3) / 3)


def test_gini_is_zero_for_equal_treatment_and_one_for_a_single_item() -> None:
    assert metrics.gini_at_k(table([0, 1], [2, 3]), 2, 4) == 0.0
    assert metrics.gini_at_k(table([2], [2]), 1, 4) == 1.0


@settings(deadline=None)
@given(st.integers(0, 2**31))
def test_gini_is_the_mean_difference_of_all_pairs(seed: int) -> None:
    ranked, _ = random_lists(seed)
    listed = np.bincount(ranked[ranked >= 0], minlength=45)
    pairwise = np.abs(listed[:, None] - listed).sum() / (2 * 45 * 44 * listed.mean())
    assert metrics.gini_at_k(ranked, 12, 45) == pytest.approx(pairwise)


def test_catalogue_metrics_of_empty_lists_are_zero() -> None:
    empty = table([-1, -1])
    assert metrics.coverage_at_k(empty, 2, 5) == 0.0
    assert metrics.novelty_at_k(empty, 2, np.array([1, 2]), 3) == 0.0
    assert metrics.gini_at_k(empty, 2, 5) == 0.0
