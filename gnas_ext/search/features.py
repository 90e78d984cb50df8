"""What a predictor sees of a genotype: counts and levels, read off its tokens, as a sparse vector of length one.

A plain gene gives its value. A cell gives what its nodes, edges and paths do, and the shape that they make.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from gnas_ext.search.space import DEAD

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from gnas_ext.search.cell import Cell, Wiring
    from gnas_ext.search.space import SearchSpace, Tokens

Row: TypeAlias = "list[tuple[Hashable, float]]"

# Values that lie in an order are read off at this many marks, between which they are interpolated.
MARKS = 5
# Operations in a row that are one feature: a node, an edge, a path of three nodes.
LONGEST_PATH = 3
# Vectors that are kept: the same candidates come again and again.
REMEMBERED = 50_000


class Vector(NamedTuple):
    """The columns in which a vector is not zero, in an order that its genotype alone decides, and what stands there."""

    columns: np.ndarray[tuple[int], np.dtype[np.int64]]
    values: np.ndarray[tuple[int], np.dtype[np.float64]]


class Features:
    """Reads features off the canonical token sequences of a space; a column is given to each as it is first seen."""

    def __init__(self, space: SearchSpace) -> None:
        inside = {place for first, last, _ in space.cell_places for place in range(first, last + 1)}
        self._columns: dict[Hashable, int] = {}
        # Of each plain gene: columns and values that each of its tokens gives.
        self._plain: list[tuple[int, list[tuple[list[int], list[float]]]]] = []
        for place, gene in enumerate(space.genes.values()):
            if place not in inside:
                size = len(gene.values)
                rows = [[], *(_level(place, token, size, gene.ordinal) for token in range(1, size + 1))]
                self._plain.append((place, [(self._columns_of(row), [value for _, value in row]) for row in rows]))
        self._cells = space.cell_places
        self._known: dict[Tokens, Vector] = {}

    def __len__(self) -> int:
        """How many columns there are by now."""
        return len(self._columns)

    def __call__(self, tokens: Tokens) -> Vector:
        """The vector of a sequence."""
        found = self._known.get(tokens)
        if found is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            found = self._vector(tokens)
            self._known[tokens] = found
        return found

    def _vector(self, tokens: Tokens) -> Vector:
        columns: list[int] = []
        values: list[float] = []
        for place, given in self._plain:
            more, levels = given[tokens[place]]
            columns += more
            values += levels
        for first, last, cell in self._cells:
            if tokens[first] != DEAD:
                row = _cell_features(first, cell, tokens[first : last + 1])
                columns += self._columns_of(row)
                values += [value for _, value in row]
        whole = np.array(values)
        return Vector(np.array(columns, dtype=np.int64), whole / max(float(np.sqrt(whole @ whole)), 1e-12))

    def _columns_of(self, row: Row) -> list[int]:
        return [self._columns.setdefault(name, len(self._columns)) for name, _ in row]


def _level(place: int, token: int, size: int, ordinal: bool) -> Row:
    """Of a plain gene that is alive."""
    if ordinal and size > MARKS:
        at = (token - 1) / (size - 1) * (MARKS - 1)
        low = min(int(at), MARKS - 2)
        # Roots, so that a value between marks weighs as much as one on a mark.
        return [((place, low), math.sqrt(1 - (at - low))), ((place, low + 1), math.sqrt(at - low))]
    return [((place, token), 1.0)]


def _cell_features(place: int, cell: Cell, tokens: Tokens) -> Row:
    """Of a canonical graph, whose first nodes may be idle: a chain of identities."""
    wiring = cell.wiring(tokens)
    skipped = 0
    while (
        skipped < len(wiring)
        and wiring[skipped] == ((skipped,), cell.idle)
        and _all_below(wiring[skipped + 1 :], skipped)
    ):
        skipped += 1
    operations = {skipped: -1} | {node: op for node, (_, op) in enumerate(wiring, start=1) if node > skipped}
    parents = {node: ends for node, (ends, _) in enumerate(wiring, start=1) if node > skipped}
    inner = {end for ends in parents.values() for end in ends}
    depth = {skipped: 0}
    found: Counter[Hashable] = Counter()
    for node, ends in parents.items():
        depth[node] = 1 + max(depth[end] for end in ends)
        found["depth", depth[node], operations[node]] += 1
        if node not in inner:
            found["leaf", operations[node]] += 1
        for path in _paths(node, parents, operations):
            found[path] += 1
    found.update(("width", level, count) for level, count in Counter(depth.values()).items() if level)
    found["nodes", len(parents)] = 1
    found["shape", _shape(tuple(parents.values()), skipped)] = 1
    return [((place, name), float(count)) for name, count in found.items()]


def _all_below(nodes: Wiring, node: int) -> bool:
    """Whether all take their input from later than a node: then the one after that is part of the chain."""
    return all(ends[0] > node for ends, _ in nodes)


def _paths(
    node: int, parents: dict[int, tuple[int, ...]], operations: dict[int, int], length: int = LONGEST_PATH
) -> Iterator[tuple[int, ...]]:
    """The operations on the ways up from a node, as far as the input (-1) but no more than `length` nodes."""
    yield (operations[node],)
    if node in parents and length > 1:
        for end in parents[node]:
            for above in _paths(end, parents, operations, length - 1):
                yield (operations[node], *above)


@lru_cache(maxsize=10_000)
def _shape(parents: tuple[tuple[int, ...], ...], root: int) -> Hashable:
    """What graphs have in common that differ in operations alone: for each node what hangs below it, in any order."""
    children: dict[int, list[int]] = {}
    for node, ends in enumerate(parents, start=root + 1):
        for end in ends:
            children.setdefault(end, []).append(node)

    def below(node: int) -> Hashable:
        return tuple(sorted((below(child) for child in children.get(node, [])), key=repr))

    return below(root)
