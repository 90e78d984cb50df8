from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext.data.interactions import Interactions
from gnas_ext.evaluate import SeenItems


def interactions(pairs: list[tuple[int, int]]) -> Interactions:
    codes = np.array(pairs, dtype=np.int32).reshape(-1, 2)
    return Interactions(codes[:, 0], codes[:, 1])


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9))), st.integers(1, 9))
def test_rows_are_each_users_items_sorted_and_once(pairs: list[tuple[int, int]], n_users: int) -> None:
    seen = SeenItems.from_interactions(interactions(pairs), n_users)
    expected = [sorted({item for user, item in pairs if user == u}) for u in range(n_users)]
    assert [seen.of(user).tolist() for user in range(n_users)] == expected
    assert seen.counts.tolist() == [len(items) for items in expected]


def test_arrays_have_their_stated_dtypes() -> None:
    seen = SeenItems.from_interactions(interactions([(1, 2)]), 3)
    assert (seen.indptr.dtype.name, seen.items.dtype.name) == ("int64", "int32")


def test_large_codes_do_not_overflow() -> None:
    seen = SeenItems.from_interactions(interactions([(100_000, 2_000_000_000), (100_000, 1)]), 100_001)
    assert seen.of(100_000).tolist() == [1, 2_000_000_000]


def test_select_takes_rows_in_the_order_asked() -> None:
    seen = SeenItems.from_interactions(interactions([(0, 5), (2, 1), (2, 3)]), 4)
    some = seen.select(np.array([2, 1, 0, 2], dtype=np.int32))
    assert [some.of(row).tolist() for row in range(4)] == [[1, 3], [], [5], [1, 3]]
    assert some.rows().tolist() == [0, 0, 2, 3, 3]


def test_select_of_nobody_is_empty() -> None:
    some = SeenItems.from_interactions(interactions([(0, 5)]), 1).select(np.array([], dtype=np.int32))
    assert (some.n_users, len(some.items)) == (0, 0)
