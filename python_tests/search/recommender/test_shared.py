from __future__ import annotations

import errno
import pickle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gnas_ext.errors import InputError
from gnas_ext.search.recommender import Objective
from gnas_ext.search.recommender.shared import SharedObjective, open_rows, shared, write_rows

if TYPE_CHECKING:
    from gnas_ext.data import Split


def test_rows_come_back_from_files_and_are_mapped_not_read(split: Split, tmp_path: Path) -> None:
    write_rows(split, tmp_path)
    opened = open_rows(tmp_path)
    for part in ("train", "valid"):
        before, after = getattr(split, part), getattr(opened, part)
        assert np.array_equal(before.user, after.user)
        assert np.array_equal(before.item, after.item)
        assert (before.timestamp is None) == (after.timestamp is None)
        assert after.timestamp is None or np.array_equal(before.timestamp, after.timestamp)
        assert isinstance(after.user, np.memmap)
    assert len(opened.test) == 0


def test_a_worker_is_sent_a_path_and_says_what_the_objective_says(split: Split, tmp_path: Path) -> None:
    write_rows(split, tmp_path)
    objective = Objective(split, ("ndcg",), k=5)
    genotype = {"family": "item_knn", "neighbours": 20, "shrinkage": 0.0}
    shared = SharedObjective(tmp_path, goals=("ndcg",), k=5)
    shared(genotype)
    sent = pickle.dumps(shared)
    assert len(sent) < 1_000
    assert pickle.loads(sent)(genotype) == objective(genotype)


def test_on_a_cluster_rows_travel_outside_the_pickle_and_are_copied_where_they_may_not_be_written(split: Split) -> None:
    genotype = {"family": "item_knn", "neighbours": 20, "shrinkage": 0.0}
    options = {"goals": ("ndcg",), "k": 5}
    with shared(split, True, options) as objective:
        buffers: list[pickle.PickleBuffer] = []
        sent = pickle.dumps(objective, protocol=5, buffer_callback=buffers.append)
    assert sum(buffer.raw().nbytes for buffer in buffers) >= split.train.user.nbytes + split.valid.user.nbytes
    arrived = pickle.loads(sent, buffers=[bytes(buffer) for buffer in buffers])
    assert not arrived._rows.train.user.flags.writeable
    assert arrived(genotype) == Objective(split, ("ndcg",), k=5)(genotype)
    assert arrived._opened.split.train.user.flags.writeable


def test_rows_are_there_for_as_long_as_workers_may_need_them(split: Split) -> None:
    with shared(split, False, {}) as objective:
        folder = objective._rows
        assert isinstance(folder, Path)
        assert np.array_equal(open_rows(folder).train.item, split.train.item)
    assert not folder.exists()


@pytest.mark.parametrize("place", ["tempfile.mkdtemp", "numpy.save"])
def test_rows_that_cannot_be_written_are_one_line(split: Split, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(place, full)
    message = r"the rows for the workers cannot be written \(No space left on device\); make room .* with TMPDIR"
    with pytest.raises(InputError, match=message), shared(split, False, {}):
        raise AssertionError
