from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext.errors import InputError
from gnas_ext.recommend.ids import IdTable

WORDS = IdTable(pl.Series(["007", "8", "anna"]), "user")
NUMBERS = IdTable(pl.Series([7, 8, -9]), "user")


@pytest.mark.parametrize(
    ("table", "wanted", "codes"),
    [
        (WORDS, "007", [0]),
        (WORDS, 8, [1]),
        (WORDS, ["anna", "007", "anna"], [2, 0, 2]),
        (NUMBERS, 8, [1]),
        (NUMBERS, "-9", [2]),
        (NUMBERS, np.int16(7), [0]),
        (NUMBERS, np.array([8, 7]), [1, 0]),
        (NUMBERS, pl.Series(["8", "7"]), [1, 0]),
        (NUMBERS, (id_ for id_ in (8, "7")), [1, 0]),
        (NUMBERS, [], []),
    ],
)
def test_an_id_is_found_as_it_is_or_as_it_is_written(table: IdTable, wanted: object, codes: list[int]) -> None:
    found = table.codes(wanted)  # type: ignore[arg-type]
    assert found.dtype == np.int32
    assert found.tolist() == codes


@pytest.mark.parametrize(
    ("table", "wanted", "message"),
    [
        (WORDS, 7, "unknown user 7: 3 users are known; did you mean '007'?"),
        (WORDS, " Anna", "unknown user ' Anna': 3 users are known; did you mean 'anna'?"),
        (WORDS, ["x", "anna", "y"], "unknown user 'x' and 1 more: 3 users are known; ids look like '007', '8', 'anna'"),
        (NUMBERS, "08", "unknown user '08': 3 users are known; did you mean 8?"),
        (NUMBERS, "anna", "unknown user 'anna': 3 users are known; ids look like 7, 8, -9"),
        (NUMBERS, 7.0, "user 7.0: expected a string or a whole number, got float; ids look like 7, 8, -9"),
        (NUMBERS, True, "user True: expected a string or a whole number, got bool"),
        (NUMBERS, None, "user None: expected a string or a whole number, got NoneType"),
        (WORDS, b"8", "expected a string or a whole number"),
        (NUMBERS, 10**30, "unknown user 1000000000000000000000000000000"),
    ],
)
def test_what_is_no_id_is_refused_with_a_hint(table: IdTable, wanted: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        table.codes(wanted)  # type: ignore[arg-type]
    assert message in str(caught.value)


@settings(deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), unique=True, min_size=1))
def test_numbers_are_found_as_numbers_and_as_words(ids: list[int]) -> None:
    table = IdTable(pl.Series(ids, dtype=pl.Int64), "item")
    wanted = list(range(len(ids)))
    assert table.codes(ids).tolist() == table.codes([str(id_) for id_ in ids]).tolist() == wanted
