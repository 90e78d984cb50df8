from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from gnas_ext.data import Log
from gnas_ext.data.interactions import Interactions
from gnas_ext.errors import InputError
from gnas_ext.evaluate import evaluate
from gnas_ext.recommend.later import measure_later
from python_tests.recommend.conftest import ITEMS, USERS, Sample, make_sample

if TYPE_CHECKING:
    from pathlib import Path

    from gnas_ext.recommend import Recommender


@pytest.fixture
def recommender(tmp_path: Path, sample: Sample) -> Recommender:
    return sample.reload(tmp_path / "a")


def log(*touches: tuple[str, str]) -> Log:
    """A log with codes of its own, by first appearance."""
    users = list(dict.fromkeys(user for user, _ in touches))
    items = list(dict.fromkeys(item for _, item in touches))
    rows = Interactions(
        np.array([users.index(user) for user, _ in touches], np.int32),
        np.array([items.index(item) for _, item in touches], np.int32),
    )
    return Log(rows, pl.Series(users), pl.Series(items))


def item_id(code: int) -> str:
    return f"{7 * code:05d}"


def fresh_pairs(sample: Sample, count: int) -> list[tuple[int, int]]:
    """Pairs that are not in training, in a mixed order."""
    trained = set(zip(sample.train.user.tolist(), sample.train.item.tolist(), strict=True))
    users = sorted({user for user, _ in trained})
    pairs = [(user, item) for user in users for item in range(ITEMS) if (user, item) not in trained]
    return [pairs[place] for place in np.random.default_rng(0).permutation(len(pairs))[:count]]


def test_figures_are_those_of_the_same_touches_in_the_artefacts_codes(recommender: Recommender, sample: Sample) -> None:
    pairs = fresh_pairs(sample, 25)
    result, notes = measure_later(recommender, log(*((f"0{user}", item_id(item)) for user, item in pairs)), k=5)
    codes = np.array(pairs, np.int32)
    wanted = evaluate(sample.model, sample.train, Interactions(codes[:, 0], codes[:, 1]), (5,))
    assert result.metrics == pytest.approx(wanted)
    assert notes == [f"25 new touches of {len(set(codes[:, 0].tolist()))} known users"]


@pytest.mark.parametrize("place", range(0, 60, 7))
def test_touches_of_training_do_not_count_again(recommender: Recommender, sample: Sample, place: int) -> None:
    # The two touches alone make up the log, so its codes are far from the artefact's.
    old = int(sample.train.user[place]), int(sample.train.item[place])
    new = next(pair for pair in fresh_pairs(sample, 99) if pair[0] != old[0])
    result, notes = measure_later(recommender, log(*((f"0{user}", item_id(item)) for user, item in (old, new))))
    alone, _ = measure_later(recommender, log((f"0{new[0]}", item_id(new[1]))))
    assert result.metrics == alone.metrics
    assert notes == ["1 new touches of 1 known users", "left out: 1 touches that were in training"]


def test_no_new_touch_is_taken_for_an_old_one(recommender: Recommender, sample: Sample) -> None:
    for user, item in fresh_pairs(sample, 40):
        _, notes = measure_later(recommender, log((f"0{user}", item_id(item))))
        assert notes == ["1 new touches of 1 known users"]


def test_unknown_users_are_left_out_and_counted(recommender: Recommender, sample: Sample) -> None:
    user, item = fresh_pairs(sample, 1)[0]
    _, notes = measure_later(recommender, log(("stranger", item_id(0)), (f"0{user}", item_id(item))))
    assert notes[1:] == ["left out: 1 touches of users that the artefact does not know"]


def test_unknown_items_count_as_missed(recommender: Recommender, sample: Sample) -> None:
    user, item = fresh_pairs(sample, 1)[0]
    known = log((f"0{user}", item_id(item)))
    both = log((f"0{user}", item_id(item)), (f"0{user}", "new"))
    alone, _ = measure_later(recommender, known, k=ITEMS)
    halved, notes = measure_later(recommender, both, k=ITEMS)
    assert (alone.metrics["recall@30"], halved.metrics["recall@30"]) == (1.0, 0.5)
    assert notes[1:] == ["counted as missed: 1 touches of items that the artefact does not know"]


def test_a_log_without_known_users_is_refused(recommender: Recommender) -> None:
    with pytest.raises(InputError, match="none of the 1 users is in the artefact"):
        measure_later(recommender, log(("stranger", item_id(0))))


def test_a_log_of_old_touches_alone_is_refused(tmp_path: Path, kind: str) -> None:
    sample = make_sample(kind)
    old = [(f"0{user}", item_id(item)) for user, item in zip(sample.train.user, sample.train.item, strict=True)]
    with pytest.raises(InputError, match="every touch of known users was in training"):
        measure_later(sample.reload(tmp_path / "a"), log(*dict.fromkeys(old)))


def test_ids_are_found_by_how_they_are_written(tmp_path: Path, sample: Sample) -> None:
    recommender = sample.reload(tmp_path / "a", user_ids=pl.Series(range(USERS)))
    user, item = fresh_pairs(sample, 1)[0]
    _, notes = measure_later(recommender, log((str(user), item_id(item))))
    assert notes == ["1 new touches of 1 known users"]
