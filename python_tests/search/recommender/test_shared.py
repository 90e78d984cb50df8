from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import numpy as np

from gnas_ext.search.recommender import Objective
from gnas_ext.search.recommender.shared import SharedObjective, open_rows, write_rows

if TYPE_CHECKING:
    from pathlib import Path

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
