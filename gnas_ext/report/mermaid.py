"""The architecture as text: a Mermaid flowchart, which GitHub, GitLab and many editors draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnas_ext.report.anatomy import diagram_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHAPES = {"data": ('(["', '"])'), "weights": ('[["', '"]]'), "step": ('["', '"]'), "training": ('{{"', '"}}')}
# Mermaid reads a label as HTML, with # for entities and ` for Markdown.
_ENTITIES = {"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "&": "#amp;", "`": "#96;", "\\": "#92;"}


def to_mermaid(genotype: Mapping[str, object]) -> str:
    """A genotype as a Mermaid flowchart.

    Args:
        genotype: of `recommender_space`, `embedding_space`, `training_free_space` or `classic_space`; or of any other
            space: cells are drawn node by node, the other genes stand in a box of their own.

    Returns:
        Lines that begin with `flowchart LR`. Rounded boxes are data, double-edged ones weights that are stored; how
        they are learnt is a hexagon, with a dashed arrow where it acts in training only. Genes and values may hold any
        text.
    """
    diagram = diagram_of(genotype)
    # Numbered: names such as graph or end are words of Mermaid's own.
    names = {name: f"n{place}" for place, name in enumerate(diagram.parts)}
    lines = ["flowchart LR"]
    for name, part in diagram.parts.items():
        opening, closing = _SHAPES[part.kind]
        label = "<br/>".join(_escaped(line) for line in [part.title, *part.lines])
        lines.append(f"    {names[name]}{opening}{label}{closing}")
    lines += [
        f"    {names[source]} {'-.->' if dashed else '-->'} {names[target]}"
        for source, target, dashed in diagram.arrows
    ]
    return "\n".join(lines) + "\n"


def _escaped(words: str) -> str:
    """Words that Mermaid shows as they are; line breaks and what cannot be seen become spaces."""
    shown = "".join(letter if letter.isprintable() else " " for letter in words)
    return "".join(_ENTITIES.get(letter, letter) for letter in shown)
