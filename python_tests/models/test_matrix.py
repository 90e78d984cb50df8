from __future__ import annotations

import numpy as np
import pytest

from gnas_ext.data.interactions import Interactions
from gnas_ext.models.matrix import interaction_matrix


def pairs(*rows: tuple[int, int]) -> Interactions:
    codes = np.array(rows, dtype=np.int32).reshape(-1, 2)
    return Interactions(codes[:, 0], codes[:, 1])


def test_repeated_pairs_count_once() -> None:
    matrix = interaction_matrix(pairs((0, 1), (0, 1), (1, 0)), 2, 3)
    assert matrix.toarray().tolist() == [[0, 1, 0], [1, 0, 0]]


def test_an_empty_log_has_no_entries() -> None:
    assert interaction_matrix(pairs(), 2, 3).nnz == 0


def test_a_code_outside_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"expected item codes in 0 … 1, got 0 … 2"):
        interaction_matrix(pairs((0, 0), (0, 2)), 2, 2)
