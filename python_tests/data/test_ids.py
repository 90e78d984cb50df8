from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext.data.ids import as_id_column, by_first_appearance, check_readable, encode, numbers_if_all
from gnas_ext.errors import InputError


@settings(deadline=None)
@given(st.lists(st.integers(0, 30)))
def test_codes_follow_first_appearance(values: list[int]) -> None:
    codes, rows = by_first_appearance(np.array(values, dtype=np.int64))
    order = list(dict.fromkeys(values))
    assert codes.tolist() == [order.index(value) for value in values]
    assert rows.tolist() == [values.index(value) for value in order]


@settings(deadline=None)
@given(
    st.one_of(
        st.lists(st.text(max_size=3)),
        st.lists(st.integers(-5, 5)),
        st.lists(st.integers(-(2**63), 2**63 - 1)),
    )
)
def test_encoded_ids_decode(values: list[str] | list[int]) -> None:
    dtype = pl.String if values and isinstance(values[0], str) else pl.Int64
    codes, ids = encode(pl.Series(values, dtype=dtype))
    assert ids.gather(codes).to_list() == values
    assert ids.to_list() == list(dict.fromkeys(values))


@pytest.mark.parametrize("values", [["0", "7", "-12"], ["104257"]])
def test_whole_numbers_become_numbers(values: list[str]) -> None:
    assert numbers_if_all(pl.Series(values)).to_list() == [int(value) for value in values]


@pytest.mark.parametrize("odd", ["0104257", "00", "-0", "1.0", "+1", "1_0", "9" * 19, "a", "１"])
def test_one_other_string_keeps_all_strings(odd: str) -> None:
    assert numbers_if_all(pl.Series(["1", odd])).to_list() == ["1", odd]


def test_a_broken_encoding_is_refused() -> None:
    with pytest.raises(InputError, match="item id 'caf\ufffd' is not UTF-8; convert the file: iconv"):
        check_readable("f", "item", pl.Series(["tea", "caf\ufffd"]))


def test_numbers_with_gaps_come_back_from_floats() -> None:
    frame = pl.DataFrame({"user": [1.0, None, 2.5]})
    assert frame.select(as_id_column("f", "user", "u", frame["user"].dtype)).to_series().to_list() == [1, None, None]


def test_a_column_that_holds_no_ids_is_refused() -> None:
    with pytest.raises(InputError, match="f: column 'u' is of type List"):
        as_id_column("f", "user", "u", pl.List(pl.Int64))
