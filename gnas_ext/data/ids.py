"""How ids become codes: 0, 1, 2 … in order of first appearance, and the ids behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from gnas_ext.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gnas_ext.data.interactions import IntCodes

_WHOLE_NUMBER = r"^(0|-?[1-9][0-9]{0,17})$"


def by_first_appearance(codes: NDArray[Any]) -> tuple[IntCodes, NDArray[np.int64]]:
    """Renumbers codes densely in order of first appearance.

    Args:
        codes: whole numbers from 0, [n]; memory is used up to the largest.

    Returns:
        The new codes, [n], int32, and the row at which each new code appears first, [codes in use].
    """
    n = len(codes)
    first = np.full(int(codes.max()) + 1 if n else 0, n, dtype=np.int64)
    first[codes[::-1]] = np.arange(n - 1, -1, -1)  # of several writes to one place the last stays
    used = np.flatnonzero(first < n)
    used = used[np.argsort(first[used])]
    new = np.empty(len(first), dtype=np.int32)
    new[used] = np.arange(len(used), dtype=np.int32)
    return new[codes], first[used]


def encode(ids: pl.Series) -> tuple[IntCodes, pl.Series]:
    """The code of each id, [n], and the ids behind the codes, in order of first appearance."""
    codes: NDArray[Any]
    if ids.dtype == pl.String:
        codes = ids.cast(pl.Categorical()).to_physical().to_numpy()
    else:
        codes = ids.to_numpy()
        lowest, highest = (int(codes.min()), int(codes.max())) if len(codes) else (0, 0)
        small = highest - lowest < 4 * len(codes) + 1024  # a table by id is affordable, and sorting is slow
        codes = codes - lowest if small else np.unique(codes, return_inverse=True)[1]
    dense, rows = by_first_appearance(codes)
    return dense, ids.gather(rows)


def numbers_if_all(ids: pl.Series) -> pl.Series:
    """Strings as Int64 if each is a whole number written without leading zeros, so that nothing is lost."""
    if ids.dtype == pl.String and len(ids) and ids.str.contains(_WHOLE_NUMBER).all():
        return ids.cast(pl.Int64)
    return ids


def as_id_column(path: str, role: str, column: str, dtype: pl.DataType) -> pl.Expr:
    """A column of the file as strings or Int64; an error for what cannot be an id.

    Raises:
        InputError: the column holds neither strings nor whole numbers.
    """
    ids = pl.col(role)
    if isinstance(dtype, pl.String | pl.Categorical | pl.Enum):
        return pl.when(ids.cast(pl.String) != "").then(ids.cast(pl.String)).alias(role)
    if dtype.is_integer():
        return ids.cast(pl.String if dtype == pl.UInt64 else pl.Int64)
    if dtype.is_float():  # what pandas makes of whole numbers with gaps
        return pl.when(ids == ids.floor()).then(ids.cast(pl.Int64, strict=False)).alias(role)
    raise InputError(f"{path}: column {column!r} is of type {dtype}; expected strings or whole numbers for the {role}")


def check_readable(path: str, role: str, ids: pl.Series) -> None:
    """Refuses ids in another encoding than UTF-8: two of them might have become one.

    Raises:
        InputError: an id holds the replacement character.
    """
    if ids.dtype == pl.String and (strange := ids.filter(ids.str.contains("\ufffd", literal=True))).len():
        raise InputError(
            f"{path}: {role} id {strange[0]!r} is not UTF-8; convert the file: iconv -f latin1 -t utf-8 {path}"
        )
