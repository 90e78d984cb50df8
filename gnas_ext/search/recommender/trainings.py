"""Which of two genotypes need one training? Those that differ in what is done to the trained tables alone.

Genes of compression and of a teacher act after training, so a search that changes them need not train again: what it
trained last is at hand.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from gnas_ext.search.recommender.compression import further_genes
from gnas_ext.search.recommender.taught import teacher_genes

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from gnas_ext.data.interactions import Interactions

_Made = TypeVar("_Made")

# Bytes of tables that are kept: Gowalla's of 64 floats have 18 MB.
_ROOM = 256 << 20
# Of a genotype: what is done after training, and after teaching.
_STORED = frozenset({*further_genes(), "recipe"})
_AFTER = _STORED | set(teacher_genes())


class _Kept(NamedTuple):
    train: Interactions  # for rows are told apart by where they are
    made: Any
    bytes: int
    seconds: float


class Trainings:
    """What was trained last, as far as there is room.

    Args:
        room: bytes at most.

    Attributes:
        spared: seconds that what was asked for again took when it was made, in all.
    """

    def __init__(self, room: int = _ROOM) -> None:
        self.spared = 0.0
        self._room = room
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()

    def once(
        self, train: Interactions, key: Hashable, make: Callable[[], _Made], size: Callable[[_Made], int]
    ) -> _Made:
        """What was made of the rows under a key, or is made now.

        Args:
            train: the rows.
            key: of everything else that decides over what is made.
            make: makes it.
            size: bytes of it.
        """
        whole = (id(train), key)
        if whole in self._kept:
            self._kept.move_to_end(whole)
            known = self._kept[whole]
            self.spared += known.seconds
            found: _Made = known.made
            return found
        began = time.monotonic()
        made = make()
        new = _Kept(train, made, size(made), time.monotonic() - began)
        if new.bytes <= self._room:
            self._kept[whole] = new
            while sum(one.bytes for one in self._kept.values()) > self._room:
                self._kept.popitem(last=False)
        return made

    def would_spare(self, train: Interactions, keys: Sequence[Hashable]) -> float:
        """Seconds that what was made of the rows under some of these keys took when it was made, in all."""
        kept = (self._kept.get((id(train), key)) for key in keys)
        return sum(known.seconds for known in kept if known is not None)


def of_training(genotype: Mapping[str, Any]) -> Hashable:
    """The genes that decide over the training of two tables."""
    return _without(genotype, _AFTER)


def of_teaching(genotype: Mapping[str, Any]) -> Hashable:
    """The genes that decide over what tables are taught, their training included."""
    return _without(genotype, _STORED)


def _without(genotype: Mapping[str, Any], names: frozenset[str]) -> Hashable:
    return tuple(sorted((name, value) for name, value in genotype.items() if name not in names))
