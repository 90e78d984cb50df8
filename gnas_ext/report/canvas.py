"""How are boxes and arrows drawn? As SVG that takes its colours from the page; all text is escaped."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from markupsafe import Markup

from gnas_ext.report.styles import styles

if TYPE_CHECKING:
    from collections.abc import Sequence

    Point: TypeAlias = tuple[float, float]

_TITLE = 22  # height of a box's title line, and of each line under it
_LINE = 16
_PAD = 9
_WIDTHS = {8.0: "ABCDEFGHIJKLMNOPQRSTUVWXYZ_…", 10.5: "mwMW@%", 3.8: "ijlftrI.,:;'|!() -"}  # of letters, about


@dataclass(frozen=True)
class Box:
    """A box of the picture: where it stands, and what is written in it."""

    title: str
    lines: Sequence[str]
    x: float
    y: float
    width: float
    kind: str = "step"
    least: float = 0  # height

    @property
    def height(self) -> float:
        """Grows with the lines."""
        return max(self.least, height(self.lines))

    @property
    def right(self) -> float:
        """Place x of the right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """Place y of the lower edge."""
        return self.y + self.height

    @property
    def middle(self) -> float:
        """Place x of the centre."""
        return self.x + self.width / 2

    @property
    def centre(self) -> float:
        """Place y of the centre."""
        return self.y + self.height / 2


class Canvas:
    """Boxes and arrows in the order in which they are drawn."""

    def __init__(self, width: float) -> None:
        self.width = width
        self.height = 0.0
        self._boxes: list[Markup] = []
        self._arrows: list[Markup] = []

    def box(self, box: Box) -> Box:
        """Draws a box and gives it back."""
        self.height = max(self.height, box.bottom)
        top = box.centre - height(box.lines) / 2 + _PAD
        baselines = [top + 11, *(top + _TITLE + 8 + _LINE * place for place in range(len(box.lines)))]
        texts = [
            Markup('<text{} x="{:g}" y="{:g}">{}</text>').format(
                "" if place else Markup(' class="box-title"'), box.middle, baseline, _cut(line, box.width - 8)
            )
            for place, (baseline, line) in enumerate(zip(baselines, [box.title, *box.lines], strict=True))
        ]
        self._boxes.append(
            Markup(
                '<g class="{}"><title>{}</title><rect x="{:g}" y="{:g}" width="{:g}" height="{:g}" rx="8"/>{}</g>'
            ).format(
                box.kind,
                ", ".join([box.title, *box.lines]),
                box.x,
                box.y,
                box.width,
                box.height,
                Markup("").join(texts),
            )
        )
        return box

    def arrow(self, *points: Point, dashed: bool = False) -> None:
        """A line through the points with a head at its end."""
        (x0, y0), (x, y) = points[-2], points[-1]
        dx, dy = (x > x0) - (x < x0), (y > y0) - (y < y0)
        shaft = [*points[:-1], (x - 5 * dx, y - 5 * dy)]
        head = [(x, y), (x - 8 * dx - 4 * dy, y - 8 * dy - 4 * dx), (x - 8 * dx + 4 * dy, y - 8 * dy + 4 * dx)]
        self._arrows.append(
            Markup('<polyline class="{}" points="{}"/><polygon points="{}"/>').format(
                "arrow dashed" if dashed else "arrow", _points(shaft), _points(head)
            )
        )

    def svg(self, name: str, label: str) -> Markup:
        """The picture as an <svg> element of a class, with its description."""
        return Markup('<svg class="{}" viewBox="0 0 {:g} {:g}" role="img" aria-label="{}">{}{}</svg>').format(
            name, self.width, self.height + 4, label, Markup("").join(self._arrows), Markup("").join(self._boxes)
        )

    def document(self, label: str) -> Markup:
        """The picture as a document of its own, in the page's light colours: what draws SVG need not know variables."""
        css = styles()
        colours = dict(re.findall(r"(--[\w-]+): (#\w+);", css.split("@media")[0]))
        rules = "\n".join(line[len(".diagram ") :] for line in css.splitlines() if line.startswith(".diagram "))
        rules = re.sub(r"var\((--[\w-]+)\)", lambda match: colours[match[1]], rules)
        return Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0:g} {1:g}" width="{0:g}" height="{1:g}"'
            ' font-family="system-ui, Helvetica, Arial, sans-serif">\n'
            "<title>{2}</title>\n<style>\n{3}\n</style>\n"
            '<path fill="{4}" d="M0 0h{0:g}v{1:g}H0z"/>\n{5}{6}\n</svg>\n'
        ).format(
            self.width,
            self.height + 4,
            label,
            Markup(rules),
            colours["--card"],
            Markup("").join(self._arrows),
            Markup("").join(self._boxes),
        )


def height(lines: Sequence[str]) -> float:
    """Height of a box with a title and these lines."""
    return 2 * _PAD + _TITLE - 6 + _LINE * len(lines)


def _cut(words: str, room: float) -> str:
    """As much of the words as fits into a width."""
    if sum(map(_letter, words)) <= room:
        return words
    while words and sum(map(_letter, words + "…")) > room:
        words = words[:-1]
    return words + "…"


def _letter(letter: str) -> float:
    """Width of a letter in the picture's type, erring on the wide side; what is not Latin counts double."""
    known = next((width for width, letters in _WIDTHS.items() if letter in letters), 7.2)
    return known if letter.isascii() or letter == "…" else 2 * known


def _points(points: Sequence[Point]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)
