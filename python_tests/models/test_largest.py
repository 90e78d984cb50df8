from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gnas_ext.models.largest import largest


def by_full_sort(scores: Tensor, k: int) -> Tensor:
    columns = np.arange(scores.shape[1])
    return torch.tensor(np.array([np.lexsort((columns, -row))[:k] for row in scores.numpy()]).reshape(len(scores), k))


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(0, 5),
    cols=st.integers(1, 700),
    k=st.integers(1, 8),
    levels=st.sampled_from([1, 2, 3, 50, 10**6]),
    seed=st.integers(0, 2**31),
)
def test_equals_a_full_sort_by_score_then_column(rows: int, cols: int, k: int, levels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Few levels make ties, also across groups; the middle ones are negative, zero and minus zero.
    scores = torch.from_numpy(rng.integers(0, levels, (rows, cols)).astype(np.float32) - levels // 2)
    scores[scores == 0] *= torch.from_numpy(rng.choice([1.0, -1.0], int((scores == 0).sum())).astype(np.float32))
    k = min(k, cols)
    values, columns = largest(scores, k)
    assert columns.tolist() == by_full_sort(scores, k).tolist()
    assert torch.equal(values, scores.gather(1, columns))


@pytest.mark.parametrize("cols", [64 * 40, 64 * 40 + 1, 64 * 41 - 1, 64 * 400 + 7])
def test_equals_a_full_sort_on_wide_rows(cols: int) -> None:
    scores = torch.randn(3, cols, generator=torch.Generator().manual_seed(cols)).round(decimals=1)
    assert largest(scores, 20)[1].tolist() == by_full_sort(scores, 20).tolist()
    lying = scores.T.contiguous().T  # columns side by side in memory
    assert largest(lying, 20)[1].tolist() == by_full_sort(scores, 20).tolist()


def test_finds_what_stands_in_the_last_short_group() -> None:
    scores = torch.zeros(1, 64 * 50 + 3)
    scores[0, -1] = 1.0
    assert largest(scores, 2)[1].tolist() == [[64 * 50 + 2, 0]]


def test_takes_infinities() -> None:
    scores = torch.full((1, 64 * 50 + 3), -torch.inf)
    scores[0, 70] = torch.inf
    values, columns = largest(scores, 3)
    assert columns.tolist() == [[70, 0, 1]]
    assert values.tolist() == [[torch.inf, -torch.inf, -torch.inf]]


def test_gives_all_columns_when_asked() -> None:
    assert largest(torch.tensor([[1.0, 3.0, 2.0]]), 3)[1].tolist() == [[1, 2, 0]]
