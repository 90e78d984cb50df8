"""What was found, as a picture: the way of a log through the best architecture, with its genes in the boxes.

Drawn twice, wide and narrow; the page shows the one that fits. Graph models are drawn here, others by `layout`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from markupsafe import Markup

from gnas_ext.report import layout
from gnas_ext.report.canvas import Box, Canvas, height
from gnas_ext.report.cells import cell_diagram
from gnas_ext.report.families import family_diagram
from gnas_ext.report.stages import Stages, is_graph, stages_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gnas_ext.report.stages import Genes

_SHOWN_HOPS = 4
_WIDE = 1100.0
_GRAPH = ["users and items"]
_UNQUANTISED = ["float32"]
_LIST = ["best first,", "seen items left out"]
_LOG = ["who touched what,", "and when"]


def draw(genotype: Mapping[str, object]) -> Markup:
    """Both pictures of a genotype, as two <svg> elements of the classes `wide` and `narrow`."""
    wide, narrow, label = _pictures(genotype)
    return wide.svg("wide", label) + Markup("\n") + narrow.svg("narrow", label)


def draw_alone(genotype: Mapping[str, object]) -> Markup:
    """The wide picture as an SVG document of its own, in the page's light colours."""
    wide, _, label = _pictures(genotype)
    return wide.document(label)


def _pictures(genotype: Mapping[str, object]) -> tuple[Canvas, Canvas, str]:
    """Wide, narrow, and in words. Numbers in four digits: with six, long names do not fit; the table has them all."""
    genotype = {gene: float(f"{value:.4g}") if isinstance(value, float) else value for gene, value in genotype.items()}
    diagram = family_diagram(genotype) or cell_diagram(genotype)
    if diagram is not None:
        return layout.wide(diagram), layout.narrow(diagram), layout.label(diagram)
    stages = stages_of(genotype)
    return _wide(stages), _narrow(stages), _label(stages)


def can_be_drawn(genotype: Mapping[str, object]) -> bool:
    """Whether a genotype says what its architecture looks like."""
    return bool(family_diagram(genotype) or cell_diagram(genotype) or is_graph(genotype))


@dataclass(frozen=True)
class _Columns:
    """Columns of the wide picture: log, graph, table, and one a hop."""

    count: int
    gap: float = 26.0

    @property
    def width(self) -> float:
        return (_WIDE - self.gap * (self.count - 1) - 4) / self.count

    def x(self, column: float) -> float:
        return 2 + column * (self.width + self.gap)


def _wide(stages: Stages) -> Canvas:
    """Left to right along the hops, down through their combination, left to right again to the list."""
    canvas = Canvas(_WIDE)
    columns = _Columns(3 + max(len(_hop_titles(stages)), 3))
    chain = _hop_row(canvas, columns, stages)
    log, table = chain[0], chain[2]
    below = log.bottom + 44
    bar = _combination(canvas, columns, stages, chain, below) if stages.n_hops else table
    score = _list_row(canvas, columns, stages, bar, below + 92)
    lane = score.bottom
    if stages.training:
        training = canvas.box(Box("Training", _lines(stages.training), columns.x(1), below, columns.width, "training"))
        side = table.x + 18
        canvas.arrow((training.right, training.y + 20), (side, training.y + 20), (side, table.bottom), dashed=True)
        lane = max(lane, training.bottom)
    if stages.has_prior:
        lines = _prior_lines(stages)
        prior = canvas.box(Box("Item prior", lines, columns.x(0), score.y, columns.width, "weights", score.height))
        lane = max(lane, prior.bottom) + 18
        canvas.arrow((log.middle, log.bottom), (log.middle, prior.y))
        canvas.arrow(
            (prior.middle, prior.bottom), (prior.middle, lane), (score.middle, lane), (score.middle, score.bottom)
        )
        canvas.height = max(canvas.height, lane)
    return canvas


def _hop_row(canvas: Canvas, columns: _Columns, stages: Stages) -> list[Box]:
    """Log, graph, table and hops, each with an arrow to the next."""
    row = [
        ("Interaction log", _LOG, "data"),
        ("Graph", _lines(stages.graph) or _GRAPH, "step"),
        ("Embedding table", _lines(stages.table), "weights"),
        *((title, [] if place else _lines(stages.hops), "step") for place, title in enumerate(_hop_titles(stages))),
    ]
    tall = max(height(lines) for _, lines, _ in row)
    boxes = [
        canvas.box(Box(title, lines, columns.x(place), 2, columns.width, kind, tall))
        for place, (title, lines, kind) in enumerate(row)
    ]
    for left, right in pairwise(boxes):
        canvas.arrow((left.right, left.centre), (right.x, right.centre))
    return boxes


def _combination(canvas: Canvas, columns: _Columns, stages: Stages, chain: Sequence[Box], y: float) -> Box:
    """A bar under table and hops, with an arrow from each that it combines."""
    left = chain[2].x + 44
    width = columns.x(columns.count - 1) + columns.width - left
    lines = [", ".join(_combine_lines(stages))] if stages.combine else []
    bar = canvas.box(Box("Combine hops", lines, left, y, width, least=height(["one line"])))
    for source in chain[-1:] if stages.last_only else chain[2:]:
        canvas.arrow((source.middle, source.bottom), (source.middle, bar.y))
    return bar


def _list_row(canvas: Canvas, columns: _Columns, stages: Stages, source: Box, y: float) -> Box:
    """Stored rows, score and list; gives the score's box."""
    last = columns.count - 1
    row = [
        ("Stored rows", _lines(stages.quantise) or _UNQUANTISED, "weights", 2.0),
        ("Score", _score_lines(stages), "step", (2 + last) / 2),
        ("Top-K list", _LIST, "data", float(last)),
    ]
    tall = max(height(lines) for lines in (*(lines for _, lines, _, _ in row), _prior_lines(stages)))
    rows, score, best = (
        canvas.box(Box(title, lines, columns.x(column), y, columns.width, kind, tall))
        for title, lines, kind, column in row
    )
    canvas.arrow((rows.middle, source.bottom), (rows.middle, rows.y))
    canvas.arrow((rows.right, rows.centre), (score.x, score.centre))
    canvas.arrow((score.right, score.centre), (best.x, best.centre))
    return score


def _narrow(stages: Stages) -> Canvas:
    """Top to bottom in one column; what feeds it from the side stands in a second one."""
    canvas = Canvas(340)
    left, width, gap = 2.0, 160.0, 24.0
    side, side_width, lane = 192.0, 128.0, 333.0
    y = 2.0
    column: list[Box] = []

    def add(title: str, lines: Sequence[str], kind: str = "step", box_width: float = width) -> Box:
        nonlocal y
        box = canvas.box(Box(title, lines, left, y, box_width, kind))
        if column:
            canvas.arrow((left + width / 2, column[-1].bottom), (left + width / 2, box.y))
        column.append(box)
        y = box.bottom + gap
        return box

    log = add("Interaction log", _LOG, "data")
    graph = add("Graph", _lines(stages.graph) or _GRAPH)
    if stages.training:
        training = canvas.box(Box("Training", _lines(stages.training), side, graph.y, side_width, "training"))
        y = max(y, training.bottom - 8)
    table = add("Embedding table", _lines(stages.table), "weights")
    if stages.training:
        entry = max(table.y + 14, training.bottom + 12)
        canvas.arrow((training.middle, training.bottom), (training.middle, entry), (table.right, entry), dashed=True)
    hops = [add(title, _lines(stages.hops) if place == 0 else []) for place, title in enumerate(_hop_titles(stages))]
    if hops:
        combined = add("Combine hops", _combine_lines(stages))
        for source in [] if stages.last_only else [table, *hops[:-1]]:
            skip, leave = source.right + 14, source.bottom - 10
            canvas.arrow(
                (source.right, leave), (skip, leave), (skip, combined.centre), (combined.right, combined.centre)
            )
    rows = add("Stored rows", _lines(stages.quantise) or _UNQUANTISED, "weights")
    if stages.has_prior:
        prior = canvas.box(Box("Item prior", _prior_lines(stages), side, rows.y, side_width, "weights"))
        canvas.arrow((log.right, log.centre), (lane, log.centre), (lane, prior.centre), (prior.right, prior.centre))
        y = max(y, prior.bottom + gap)
    score = add("Score", _score_lines(stages), box_width=side + side_width - left)
    if stages.has_prior:
        canvas.arrow((prior.middle, prior.bottom), (prior.middle, score.y))
    add("Top-K list", _LIST, "data", side + side_width - left)
    return canvas


def _hop_titles(stages: Stages) -> list[str]:
    if stages.n_hops <= _SHOWN_HOPS:
        return [f"Hop {hop + 1}" for hop in range(stages.n_hops)]
    return ["Hop 1", "Hop 2", f"… {stages.n_hops - 3} more …", f"Hop {stages.n_hops}"]


def _lines(genes: Genes) -> list[str]:
    return [f"{name.replace('_', ' ')} {value}" for name, value in genes]


def _combine_lines(stages: Stages) -> list[str]:
    """Under the title "Combine hops" the gene's own name would say nothing."""
    return [
        value if name == "combine" else line
        for (name, value), line in zip(stages.combine, _lines(stages.combine), strict=True)
    ]


def _prior_lines(stages: Stages) -> list[str]:
    """Without the word prior on each line, and without the flag that says that there is one."""
    shown = [(name.lower().replace("prior_", ""), value) for name, value in stages.prior if value != "True"]
    return _lines(shown) or ["for every user"]


def _score_lines(stages: Stages) -> list[str]:
    return ["user row · item row", *(["+ item prior"] if stages.has_prior else [])]


def _label(stages: Stages) -> str:
    """The picture in words, for those who do not see it."""
    parts = [
        ("graph of users and items", stages.graph),
        ("embedding table", stages.table),
        (f"{stages.n_hops} hops" if stages.n_hops != 1 else "1 hop", stages.hops),
        ("combination of the last hop only" if stages.last_only else "combination of all hops", stages.combine),
        ("stored rows", stages.quantise),
        ("score by dot product" + (" plus an item prior" if stages.has_prior else ""), stages.prior),
    ]
    told = [f"{what} ({', '.join(_lines(genes))})" if genes else what for what, genes in parts]
    return f"Diagram: interaction log, {', '.join(told)}, top-K list."
