"""What is one choice, for people? A plain gene, or a whole cell: of its genes none says anything alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gnas_ext.search.cell import Cell
    from gnas_ext.search.genes import Value
    from gnas_ext.search.space import SearchSpace


class Part(NamedTuple):
    """One choice of a space.

    Attributes:
        name: of the gene or of the cell.
        places: where its tokens stand in a sequence.
        cell: None for a plain gene.
    """

    name: str
    places: tuple[int, ...]
    cell: Cell | None = None


def parts_of(space: SearchSpace) -> list[Part]:
    """All choices of a space, in order."""
    cells = [
        Part(name, tuple(range(first, last + 1)), cell)
        for name, (first, last, cell) in zip(space.cells, space.cell_places, strict=True)
    ]
    inside = {place for part in cells for place in part.places}
    plain = [Part(name, (place,)) for place, name in enumerate(space.names) if place not in inside]
    return sorted([*cells, *plain], key=lambda part: part.places)


def described(parts: list[Part], genotype: Mapping[str, Value]) -> dict[str, str]:
    """What a genotype chose, in words, without what is dead in it.

    A cell is written node by node, each with the nodes that it takes from: `gcn(0) gat(1) skip(0,1)`.
    """
    told: dict[str, str] = {}
    for part in parts:
        if part.cell is not None:
            nodes = part.cell.nodes_of(genotype, part.name)
            if nodes:
                told[part.name] = " ".join(f"{op}({','.join(map(str, parents))})" for parents, op in nodes)
        elif part.name in genotype:
            told[part.name] = in_words(genotype[part.name])
    return told


def in_words(value: Value) -> str:
    """A gene's value; numbers in at most six digits."""
    return f"{value:g}" if isinstance(value, float) else str(value)
