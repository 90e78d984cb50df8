"""Which boxes and arrows does a genotype name? Told by its genes, of whatever space it is."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from gnas_ext.report.cells import cell_diagram
from gnas_ext.report.diagram import LIST, LOG, Diagram, Part
from gnas_ext.report.families import family_diagram
from gnas_ext.report.stages import is_graph, stages_of, words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gnas_ext.report.stages import Stages


def diagram_of(genotype: Mapping[str, object]) -> Diagram:
    """The diagram of a family that is solved at once, of a user's cells, or of a graph model, whichever it is.

    A genotype that says nothing of its shape is a single box with all genes.
    """
    found = family_diagram(genotype) or cell_diagram(genotype)
    if found is None and is_graph(genotype):
        found = _graph_diagram(stages_of(genotype))
    return found or Diagram({"model": Part("Model", [(name, words(value)) for name, value in genotype.items()])})


def _graph_diagram(stages: Stages) -> Diagram:
    """A log's way over a graph into an embedding table, through hops, to stored rows, scores and a list."""
    hops = [f"hop{hop + 1}" for hop in range(stages.n_hops)]
    parts = {
        "log": LOG,
        "graph": Part("Graph", stages.graph, () if stages.graph else ("users and items",)),
        "training": Part("Training", stages.training, kind="training"),
        "table": Part("Embedding table", stages.table, kind="weights"),
        **{name: Part(f"Hop {at + 1}", () if at else stages.hops) for at, name in enumerate(hops)},
        "combine": Part("Combine hops", stages.combine),
        "rows": Part("Stored rows", stages.quantise, () if stages.quantise else ("float32",), "weights"),
        "prior": Part("Item prior", stages.prior, kind="weights"),
        "score": Part("Score", notes=("user row · item row", *(["+ item prior"] if stages.has_prior else []))),
        "list": LIST,
    }
    chain = ["log", "graph", "table", *hops]
    arrows = [(left, right, False) for left, right in pairwise(chain)]
    if hops:
        arrows += [(name, "combine", False) for name in (hops[-1:] if stages.last_only else ["table", *hops])]
        arrows.append(("combine", "rows", False))
    else:
        arrows.append(("table", "rows", False))
    if stages.has_prior:
        arrows += [("log", "prior", False), ("prior", "score", False)]
    if stages.training:
        arrows.append(("training", "table", True))
    arrows += [("rows", "score", False), ("score", "list", False)]
    # A prior that is off, and the combination of no hops, have genes to be told but lead nowhere.
    shown = {end for source, target, _ in arrows for end in (source, target)}
    kept = {name: part for name, part in parts.items() if name in shown or part.genes}
    return Diagram(kept, tuple(arrows))
