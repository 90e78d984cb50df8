"""How is JSON from a stranger read? Field by field, each with its type checked, each refusal naming the field."""

from __future__ import annotations

import math
from typing import TypeAlias

from gnas_ext.errors import InputError

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


class Fields:
    """A JSON object whose fields are taken one by one.

    Args:
        value: what was parsed.
        where: what it is, for messages ("manifest.json: files").
    """

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise InputError(f"{where}: expected an object, got {_short(value)}")
        self._value = value
        self._where = where

    def _take(self, name: str, wanted: str) -> object:
        if name not in self._value:
            raise InputError(f"{self._where}: field '{name}' is missing; expected {wanted}")
        return self._value[name]

    def _refuse(self, name: str, wanted: str) -> InputError:
        return InputError(f"{self._where}: field '{name}': expected {wanted}, got {_short(self._value[name])}")

    def names(self) -> list[str]:
        """Names of all fields, in order."""
        return list(self._value)

    def text(self, name: str) -> str:
        """A string."""
        value = self._take(name, "a string")
        if not isinstance(value, str):
            raise self._refuse(name, "a string")
        return value

    def count(self, name: str) -> int:
        """A whole number that is not negative."""
        value = self._take(name, "a whole number >= 0")
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self._refuse(name, "a whole number >= 0")
        return value

    def number(self, name: str) -> float:
        """A number; null reads as NaN, which stands for a figure that is not known."""
        value = self._take(name, "a number or null")
        if value is None:
            return math.nan
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._refuse(name, "a number or null")
        try:
            return float(value)
        except OverflowError:
            raise self._refuse(name, "a number that a float holds") from None

    def fields(self, name: str) -> Fields:
        """An object."""
        value = self._take(name, "an object")
        if not isinstance(value, dict):
            raise self._refuse(name, "an object")
        return Fields(value, f"{self._where}: {name}")

    def numbers(self, name: str) -> dict[str, float]:
        """An object of numbers."""
        inner = self.fields(name)
        return {key: inner.number(key) for key in inner.names()}

    def texts(self, name: str) -> dict[str, str]:
        """An object of strings."""
        inner = self.fields(name)
        return {key: inner.text(key) for key in inner.names()}

    def anything(self, name: str) -> dict[str, Json]:
        """An object, whatever is in it."""
        self.fields(name)
        value: dict[str, Json] = self._value[name]
        return value

    def array(self, name: str) -> list[object]:
        """An array, whatever is in it."""
        value = self._take(name, "an array")
        if not isinstance(value, list):
            raise self._refuse(name, "an array")
        return value

    def objects(self, name: str) -> list[Fields]:
        """An array of objects."""
        return [Fields(value, f"{self._where}: {name}[{i}]") for i, value in enumerate(self.array(name))]

    def strings(self, name: str) -> tuple[str, ...]:
        """An array of strings."""
        values = self.array(name)
        if not all(isinstance(value, str) for value in values):
            raise self._refuse(name, "an array of strings")
        return tuple(str(value) for value in values)

    def counts(self, name: str) -> tuple[int, ...]:
        """An array of whole numbers that are not negative."""
        found = []
        for value in self.array(name):
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise self._refuse(name, "an array of whole numbers >= 0")
            found.append(value)
        return tuple(found)


def _short(value: object) -> str:
    """A value for a message: one line, not longer than people read."""
    words = repr(value)
    return words if len(words) <= 60 else words[:57] + "..."
