"""What do the cells of a user's space look like? Their nodes and where each takes from, read off the names of genes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gnas_ext.report.diagram import Diagram, Part
from gnas_ext.report.stages import words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gnas_ext.report.diagram import Arrow

# As `search.Cell` names them: net.1.op, net.2.from, net.2.from2, net.2.op, …
_GENE = re.compile(r"(.+)\.(\d+)\.(op|from\d*)", re.DOTALL)


def cell_diagram(genotype: Mapping[str, object]) -> Diagram | None:
    """The graph of each cell, from its input to the nodes that nobody takes from; None if there is no cell."""
    cells: dict[str, dict[int, dict[str, object]]] = {}
    for gene, value in genotype.items():
        if match := _GENE.fullmatch(gene):
            cells.setdefault(match[1], {}).setdefault(int(match[2]), {})[match[3]] = value
    if not cells:
        return None
    parts: dict[str, Part] = {}
    arrows: list[Arrow] = []
    for at, (cell, nodes) in enumerate(cells.items()):
        names = {0: f"c{at}_0"} | {node: f"c{at}_{node}" for node in sorted(nodes)}
        parts[names[0]] = Part(f"{cell}: input", kind="data")
        inner = set()
        for node in sorted(nodes.keys() - {0}):
            parts[names[node]] = Part(words(nodes[node].get("op", "?")), notes=(f"node {node}",))
            ends = _ends(nodes[node]) & names.keys() & set(range(node)) or {0}
            inner |= ends
            arrows += [(names[end], names[node], False) for end in sorted(ends)]
        parts[f"c{at}_out"] = Part(f"{cell}: output", kind="data")
        arrows += [(names[node], f"c{at}_out", False) for node in names if node not in inner]
    rest = [(name, words(value)) for name, value in genotype.items() if not _GENE.fullmatch(name)]
    if rest:
        parts["rest"] = Part("Other genes", rest, kind="training")
    return Diagram(parts, tuple(arrows))


def _ends(node: Mapping[str, object]) -> set[int]:
    """The nodes that one takes from; the first has no gene for it, and takes the input."""
    return {value for gene, value in node.items() if gene != "op" and isinstance(value, int)}
