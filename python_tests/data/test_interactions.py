from __future__ import annotations

import numpy as np
import pytest

from gnas_ext.data import Interactions, n_items, n_users


def make(user: list[int], time: list[int] | None = None) -> Interactions:
    codes = np.array(user, dtype=np.int32)
    return Interactions(codes, codes + 10, None if time is None else np.array(time))


def test_tables_need_a_row_a_code() -> None:
    assert (n_users(make([0, 3])), n_items(make([0, 3]))) == (4, 14)
    assert (n_users(make([])), n_items(make([]))) == (0, 0)


@pytest.mark.parametrize("rows", [np.array([2, 0]), np.array([True, False, True])])
def test_rows_are_selected_together(rows: np.ndarray[tuple[int], np.dtype[np.int64 | np.bool_]]) -> None:
    part = make([5, 6, 7], [50, 60, 70]).select(rows)
    assert part.timestamp is not None
    assert part.timestamp.tolist() == [user * 10 for user in part.user.tolist()]
    assert sorted(part.user.tolist()) == [5, 7]


def test_times_are_kept_where_all_parts_have_them() -> None:
    both = Interactions.concatenate([make([1], [1]), make([2], [2])])
    assert both.timestamp is not None
    assert both.timestamp.tolist() == [1, 2]
    assert Interactions.concatenate([make([1], [1]), make([2])]).timestamp is None
