"""One point of the space: an immutable mapping from gene to value, without the genes that are dead in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gnas_ext.search.genes import Value


class Genotype(Mapping[str, "Value"]):
    """What a trial evaluates, such as `{"hops": 3, "agg": "mean", "lr": 0.01}`.

    Made by a `SearchSpace` (`genotype`, `decode`, `sample`), which vouches for it. Hashable; equal to any mapping with
    the same items; `str` gives `hops=3 agg=mean lr=0.01`; `as_dict` gives what JSON can hold and `SearchSpace.genotype`
    takes.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Value:
        try:
            return self._values[name]
        except KeyError:
            raise KeyError(f"gene {name!r} is dead or unknown in {self}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(frozenset(self._values.items()))

    def __str__(self) -> str:
        return " ".join(
            f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in self.items()
        )

    def __repr__(self) -> str:
        return f"Genotype({self._values})"

    def as_dict(self) -> dict[str, Value]:
        """A new dict of gene and value."""
        return dict(self._values)
