from __future__ import annotations

import numpy as np
import pytest

from gnas_ext.data.interactions import Interactions
from gnas_ext.models import fit_item_knn, itemknn


@pytest.fixture
def train() -> Interactions:
    rng = np.random.default_rng(0)
    return Interactions(rng.integers(0, 30, 240).astype(np.int32), rng.integers(0, 20, 240).astype(np.int32))


def dense_similarity(train: Interactions, shrinkage: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    touched = np.zeros((30, 20))
    touched[train.user, train.item] = 1
    norm = np.sqrt(touched.sum(axis=0))
    similarity = touched.T @ touched / (np.outer(norm, norm) + shrinkage)
    np.fill_diagonal(similarity, 0)
    return similarity


@pytest.mark.parametrize("shrinkage", [0.0, 5.0])
def test_similarity_is_the_shrunk_cosine(train: Interactions, shrinkage: float) -> None:
    model = fit_item_knn(train, 30, 20, neighbours=20, shrinkage=shrinkage)
    np.testing.assert_allclose(model.similarity.toarray(), dense_similarity(train, shrinkage), rtol=1e-5)


def test_keeps_the_nearest_neighbours_only(train: Interactions) -> None:
    expected = dense_similarity(train, 10.0)
    for row in expected:
        row[np.lexsort((np.arange(20), -row.astype(np.float32)))[3:]] = 0
    np.testing.assert_allclose(fit_item_knn(train, 30, 20, neighbours=3).similarity.toarray(), expected, rtol=1e-5)


def test_scores_sum_the_similarities_of_the_history(train: Interactions) -> None:
    model = fit_item_knn(train, 30, 20, neighbours=5)
    users = np.array([3, 0, 3], dtype=np.int32)
    for user, scores in zip(users, model.score(users), strict=True):
        history = np.unique(train.item[train.user == user])
        np.testing.assert_allclose(scores, model.similarity.toarray()[history].sum(axis=0), rtol=1e-5, atol=1e-7)


def test_blocks_do_not_change_the_model(train: Interactions, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fit_item_knn(train, 30, 20, neighbours=4)
    monkeypatch.setattr(itemknn, "_BLOCK_BYTES", 3 * 4 * 20)
    blocked = fit_item_knn(train, 30, 20, neighbours=4)
    assert np.array_equal(whole.similarity.toarray(), blocked.similarity.toarray())


@pytest.mark.parametrize(("neighbours", "shrinkage"), [(0, 1.0), (5, -1.0), (5, float("nan"))])
def test_settings_outside_are_refused(train: Interactions, neighbours: int, shrinkage: float) -> None:
    with pytest.raises(ValueError, match="neighbours >= 1 and shrinkage >= 0"):
        fit_item_knn(train, 30, 20, neighbours=neighbours, shrinkage=shrinkage)
