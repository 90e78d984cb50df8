from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from gnas_ext.data.interactions import Interactions
from gnas_ext.graph import decay
from gnas_ext.train import TrainOptions
from gnas_ext.train.batches import batches


def drawn_rows(train: Interactions, seed: int = 0, **options: Any) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    parts = batches(train, TrainOptions(**options), torch.Generator().manual_seed(seed))
    return torch.cat(parts).numpy()


@pytest.mark.parametrize("stamped", [True, False])
def test_a_pass_shows_every_touch_once(train: Interactions, stamped: bool) -> None:
    log = train if stamped else replace(train, timestamp=None)
    rows = drawn_rows(log, half_life_days=math.inf if stamped else 3.0)
    assert sorted(rows.tolist()) == list(range(len(train)))
    assert rows.tolist() != list(range(len(train)))


def test_recent_touches_are_drawn_as_often_as_they_weigh(train: Interactions) -> None:
    assert train.timestamp is not None
    times_drawn = np.zeros(len(train))
    for seed in range(300):
        times_drawn += np.bincount(drawn_rows(train, seed, half_life_days=15.0), minlength=len(train))
    weight = decay(train.timestamp, 15.0)
    wanted = weight / weight.sum() * times_drawn.sum()
    decile = np.arange(len(train)) * 10 // len(train)
    np.testing.assert_allclose(np.bincount(decile, times_drawn), np.bincount(decile, wanted), rtol=0.06)


def test_steps_have_the_batch_size(train: Interactions) -> None:
    parts = batches(train, TrainOptions(batch=100), torch.Generator())
    assert [len(batch) for batch in parts] == [100, 100, 100, 100, 80]


@pytest.mark.parametrize("batch", [1, 30, 100, 10_000])
def test_a_softmax_over_all_items_takes_users_whole(batch: int) -> None:
    rng = np.random.default_rng(1)
    # User 3 has no touch, user 5 more than a batch.
    user = rng.permutation(np.repeat([0, 1, 2, 4, 5, 6], [5, 9, 1, 30, 140, 20])).astype(np.int32)
    train = Interactions(user, np.zeros(len(user), np.int32))
    parts = batches(train, TrainOptions(loss="multinomial", batch=batch), torch.Generator())
    assert sorted(torch.cat(parts).tolist()) == list(range(len(user)))
    users = [set(user[rows.numpy()].tolist()) for rows in parts]
    assert sum(map(len, users)) == 6
    assert all(users)
    assert len(parts) == {1: 6, 10_000: 1}.get(batch, len(parts))
