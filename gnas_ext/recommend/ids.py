"""Which row is this user? The ids of the log, as people type them, to codes and back."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import polars as pl

from gnas_ext.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Id: TypeAlias = int | str


class IdTable:
    """The id behind each code.

    An id is looked up as it is; failing that, by how it is written: 7 finds the string id "7" and "7" finds the
    number 7, but "07" finds neither.

    Args:
        ids: in order of code; strings or whole numbers, none twice.
        what: what they are, for messages ("user").
    """

    def __init__(self, ids: pl.Series, what: str) -> None:
        self.ids = ids
        self._what = what

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def _code(self) -> dict[Id, int]:
        return {id_: code for code, id_ in enumerate(self.ids.to_list())}

    def codes(self, wanted: Id | Iterable[Id]) -> NDArray[np.int32]:
        """Codes of one id or of several, [n], int32, in the order given.

        Raises:
            InputError: an id is unknown, or neither a string nor a whole number.
        """
        asked = _listed(wanted)
        found = [self._find(id_) for id_ in asked]
        if unknown := [id_ for id_, code in zip(asked, found, strict=True) if code < 0]:
            raise InputError(self._unknown(unknown))
        return np.array(found, dtype=np.int32)

    def find(self, wanted: Id | Iterable[Id]) -> tuple[pl.Series, NDArray[np.int32]]:
        """The same where unknown ids are no error.

        Returns:
            The ids, in the log's type, or all as strings where it cannot hold an unknown one; and codes, -1 for
            unknown ones.

        Raises:
            InputError: an id is neither a string nor a whole number.
        """
        asked = _listed(wanted)
        codes = np.array([self._find(id_) for id_ in asked], dtype=np.int32)
        names = [str(id_) for id_ in asked] if (codes < 0).any() or self.ids.dtype == pl.String else []
        if not names:
            return self.ids.gather(codes), codes
        ids = pl.Series(names, dtype=pl.String)
        typed = ids.cast(self.ids.dtype, strict=False)
        return ids if typed.null_count() or not typed.cast(pl.String).equals(ids) else typed, codes

    def _find(self, wanted: object) -> int:
        """The code of an id, -1 where there is none."""
        if isinstance(wanted, bool | np.bool_) or not isinstance(wanted, str | int | np.integer):
            raise InputError(
                f"{self._what} {wanted!r}: expected a string or a whole number, got {type(wanted).__name__}; "
                f"ids look like {self._example()}"
            )
        if self.ids.dtype == pl.String:
            return self._code.get(str(wanted), -1)
        try:
            number = int(wanted)
        except ValueError:
            return -1
        return self._code.get(number, -1) if str(number) == str(wanted) else -1

    def _unknown(self, unknown: list[Id | bytes]) -> str:
        others = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        near = self._near(unknown[0])
        hint = f"did you mean {near!r}?" if near is not None else f"ids look like {self._example()}"
        return f"unknown {self._what} {unknown[0]!r}{others}: {len(self):,} {self._what}s are known; {hint}"

    def _near(self, unknown: Id | bytes) -> Id | None:
        """An id that differs only in leading zeros, spaces around it or case: what tools do to ids on the way."""
        plain = pl.col("id").cast(pl.String).str.strip_chars().str.strip_chars_start("0").str.to_lowercase()
        wanted = str(unknown).strip().lstrip("0").lower()
        near: list[Id] = pl.DataFrame({"id": self.ids}).filter(plain == wanted).get_column("id").head(1).to_list()
        return near[0] if near else None

    def _example(self) -> str:
        return ", ".join(repr(id_) for id_ in self.ids.head(3).to_list())


def _listed(wanted: Id | Iterable[Id]) -> list[Id | bytes]:
    return list(wanted) if isinstance(wanted, Iterable) and not isinstance(wanted, str | bytes) else [wanted]
