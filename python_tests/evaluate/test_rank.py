from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gnas_ext.data.interactions import Interactions
from gnas_ext.errors import InputError
from gnas_ext.evaluate import SeenItems, rank, top_k, top_k_scores
from gnas_ext.models import FactorModel, Ranker, Table


@dataclass
class Scores:
    """A model that is its scores, and remembers the largest block that it was asked for."""

    of: Tensor
    most: int = 0

    @property
    def n_users(self) -> int:
        return self.of.shape[0]

    @property
    def n_items(self) -> int:
        return self.of.shape[1]

    def score(self, users: np.ndarray[tuple[int, ...], np.dtype[np.int32]]) -> Tensor:
        self.most = max(self.most, len(users))
        return self.of[torch.from_numpy(users).long()]

    def size_bytes(self) -> int:
        return self.of.nbytes


def everybody(model: Scores) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    return np.arange(model.n_users, dtype=np.int32)


def seen_by(n_users: int, pairs: list[tuple[int, int]]) -> SeenItems:
    codes = np.array(pairs, dtype=np.int32).reshape(-1, 2)
    return SeenItems.from_interactions(Interactions(codes[:, 0], codes[:, 1]), n_users)


@settings(deadline=None, max_examples=80)
@given(
    n_users=st.integers(1, 7),
    n_items=st.integers(1, 400),
    k=st.integers(1, 30),
    levels=st.sampled_from([1, 3, 1000]),
    block=st.integers(1, 9),
    seed=st.integers(0, 2**31),
)
def test_equals_sorting_all_unseen_items(
    n_users: int, n_items: int, k: int, levels: int, block: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, (n_users, n_items)).astype(np.float32)
    seen = rng.random((n_users, n_items)) < rng.random((n_users, 1))
    users = rng.integers(0, n_users, 5).astype(np.int32)
    pairs = [(int(user), int(item)) for user, item in np.argwhere(seen)]
    ranked = top_k(Scores(torch.from_numpy(scores)), users, k, seen_by(n_users, pairs), block)
    for user, line in zip(users, ranked, strict=True):
        unseen = sorted(np.flatnonzero(~seen[user]), key=lambda item: (-scores[user, item], item))
        assert line.tolist() == (unseen + [-1] * k)[:k]


def test_lists_are_int32_and_as_long_as_asked_beyond_the_catalogue() -> None:
    ranked = top_k(Scores(torch.tensor([[1.0, 3.0]])), np.array([0], dtype=np.int32), 4)
    assert ranked.dtype == np.int32
    assert ranked.tolist() == [[1, 0, -1, -1]]


def test_who_has_seen_everything_gets_nothing() -> None:
    ranked = top_k(Scores(torch.zeros(2, 2)), np.array([0, 1], dtype=np.int32), 2, seen_by(2, [(0, 0), (0, 1)]))
    assert ranked.tolist() == [[-1, -1], [0, 1]]


def test_a_score_of_minus_infinity_means_never() -> None:
    ranked = top_k(Scores(torch.tensor([[-torch.inf, -5.0]])), np.array([0], dtype=np.int32), 2)
    assert ranked.tolist() == [[1, -1]]


def test_seen_items_that_the_model_does_not_know_are_ignored() -> None:
    ranked = top_k(Scores(torch.zeros(1, 2)), np.array([0], dtype=np.int32), 2, seen_by(1, [(0, 0), (0, 7)]))
    assert ranked.tolist() == [[1, -1]]


def test_without_items_lists_are_empty() -> None:
    assert top_k(Scores(torch.zeros(1, 0)), np.array([0], dtype=np.int32), 2).tolist() == [[-1, -1]]


def test_of_nobody_is_empty() -> None:
    assert top_k(Scores(torch.zeros(1, 3)), np.array([], dtype=np.int32), 2).shape == (0, 2)


def test_never_more_users_at_once_than_the_block() -> None:
    model = Scores(torch.zeros(50, 3))
    top_k(model, everybody(model), 2, block=7)
    assert model.most == 7


def test_a_large_catalogue_makes_blocks_smaller() -> None:
    model = Scores(torch.zeros(1, 1).expand(40, rank._BLOCK_BYTES // 4 // 10))
    top_k(model, everybody(model), 2)
    assert model.most == 10


def test_progress_adds_up_to_the_users() -> None:
    model = Scores(torch.zeros(50, 3))
    done: list[int] = []
    top_k(model, everybody(model), 2, block=7, progress=done.append)
    assert (len(done), sum(done)) == (8, 50)


@pytest.mark.parametrize("seen", [None, seen_by(6, [(4, 1)])], ids=["free item", "seen item"])
def test_nan_is_refused_with_its_user(seen: SeenItems | None) -> None:
    model = Scores(torch.zeros(6, 3))
    model.of[4, 1] = torch.nan
    with pytest.raises(InputError, match="Scores scores user 4 with NaN"):
        top_k(model, everybody(model), 2, seen, block=3)


@pytest.mark.parametrize("user", [-1, 3])
def test_unknown_users_are_refused(user: int) -> None:
    with pytest.raises(ValueError, match=r"expected user codes in 0 … 2, got"):
        top_k(Scores(torch.zeros(3, 3)), np.array([user], dtype=np.int32), 2)


def test_users_beyond_the_seen_items_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected user codes in 0 … 1, got 2 … 2"):
        top_k(Scores(torch.zeros(3, 3)), np.array([2], dtype=np.int32), 2, seen_by(2, []))


@pytest.mark.parametrize(("k", "block"), [(0, 1), (1, 0)])
def test_lengths_below_one_are_refused(k: int, block: int) -> None:
    with pytest.raises(ValueError, match="k and block of at least 1"):
        top_k(Scores(torch.zeros(3, 3)), np.array([2], dtype=np.int32), k, block=block)


def test_a_model_that_breaks_its_promise_is_named() -> None:
    with pytest.raises(ValueError, match=r"expected Scores\.score to return float32 \[1, 3\], got torch\.float64"):
        top_k(Scores(torch.zeros(3, 3, dtype=torch.float64)), np.array([2], dtype=np.int32), 1)


def factors(kind: str, rng: np.random.Generator, n_users: int = 9, n_items: int = 40) -> FactorModel:
    """Tables of whole numbers, whose products are exact in float32 in any order."""

    def table(rows: int) -> Table:
        codes = torch.from_numpy(rng.integers(-4, 5, (rows, 6)))
        if "int8" in kind:
            return Table(codes.to(torch.int8), torch.from_numpy(2.0 ** rng.integers(-2, 2, rows)).float())
        return Table(codes.float())

    prior = torch.from_numpy(rng.integers(-4, 5, n_items)).float() if "prior" in kind else None
    return FactorModel(table(n_users), table(n_items), prior)


@pytest.mark.parametrize("kind", ["float", "float prior", "int8", "int8 prior"])
@settings(deadline=None, max_examples=40)
@given(k=st.integers(1, 50), seed=st.integers(0, 2**31))
def test_tables_are_ranked_as_their_scores_are(kind: str, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = factors(kind, rng)
    assert isinstance(model, Ranker)
    users = rng.integers(0, model.n_users, 5).astype(np.int32)
    seen = seen_by(model.n_users, [(int(u), int(i)) for u, i in np.argwhere(rng.random((9, 44)) < 0.3)])
    scores = Scores(model.score(np.arange(model.n_users, dtype=np.int32)))
    for got, expected in zip(top_k_scores(model, users, k, seen), top_k_scores(scores, users, k, seen), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_scores_stand_beside_their_items() -> None:
    model = Scores(torch.tensor([[1.0, 3.0, 2.0]]))
    items, scores = top_k_scores(model, np.array([0], dtype=np.int32), 4, seen_by(1, [(0, 2)]))
    assert items.tolist() == [[1, 0, -1, -1]]
    assert scores.dtype == np.float32
    assert scores.tolist() == [[3.0, 1.0, -np.inf, -np.inf]]


@pytest.mark.parametrize("side", ["user", "item"])
def test_nan_in_a_table_is_refused_with_its_user(side: str) -> None:
    model = factors("float", np.random.default_rng(0))
    table = model.user if side == "user" else model.item
    table.rows[4, 1] = torch.nan
    with pytest.raises(InputError, match=f"FactorModel scores user {4 if side == 'user' else 0} with NaN"):
        top_k(model, np.arange(9, dtype=np.int32), 2)


def test_tables_are_ranked_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    model = factors("float", np.random.default_rng(1))
    users = np.array([3, 1, 8, 8, 0], dtype=np.int32)
    seen = seen_by(9, [(8, 0), (8, 1), (1, 5)])
    whole = top_k(model, users, 5, seen)
    monkeypatch.setattr(rank, "_RANKED_AT_ONCE", 2)
    done: list[int] = []
    np.testing.assert_array_equal(top_k(model, users, 5, seen, progress=done.append), whole)
    assert done == [2, 2, 1]
