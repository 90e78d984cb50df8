"""Where do the boxes of a diagram stand? In columns by how far they are from the start; or, narrow, in a single one.

Arrows to the next column run in the gap between; others take a lane of their own, outside of all boxes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnas_ext.report.canvas import Box, Canvas

if TYPE_CHECKING:
    from gnas_ext.report.diagram import Arrow, Diagram

_WIDE, _NARROW = 1100.0, 340.0
_GAP, _ROW_GAP, _LANE = 34.0, 20.0, 9.0
# Few columns do not spread over the whole page.
_WIDEST = 230.0


def wide(diagram: Diagram) -> Canvas:
    """Columns from left to right."""
    canvas = Canvas(_WIDE)
    column = _columns(diagram)
    count = max(column.values(), default=0) + 1
    width = min(_WIDEST, (_WIDE - 4 - _GAP * (count - 1)) / count)
    left = (_WIDE - count * width - _GAP * (count - 1)) / 2
    boxes = {
        name: Box(part.title, part.lines, left + column[name] * (width + _GAP), 0, width, part.kind)
        for name, part in diagram.parts.items()
    }
    stacks = [[name for name in boxes if column[name] == place] for place in range(count)]
    heights = [sum(boxes[name].height for name in stack) + _ROW_GAP * (len(stack) - 1) for stack in stacks]
    for stack, height in zip(stacks, heights, strict=True):
        y = 2 + (max(heights) - height) / 2
        for name in stack:
            part = boxes[name]
            boxes[name] = canvas.box(Box(part.title, part.lines, part.x, y, width, part.kind))
            y += part.height + _ROW_GAP
    lane = canvas.height + _LANE
    for source, target, dashed in diagram.arrows:
        a, b = boxes[source], boxes[target]
        if column[target] == column[source] + 1:
            middle = (a.right + b.x) / 2
            bend = [] if a.centre == b.centre else [(middle, a.centre), (middle, b.centre)]
            canvas.arrow((a.right, a.centre), *bend, (b.x, b.centre), dashed=dashed)
        else:
            out, back = a.right + _GAP / 4, b.x - _GAP / 2
            down = [(out, a.centre), (out, lane), (back, lane), (back, b.centre)]
            canvas.arrow((a.right, a.centre), *down, (b.x, b.centre), dashed=dashed)
            canvas.height = lane
            lane += _LANE
    return canvas


def narrow(diagram: Diagram) -> Canvas:
    """One column from top to bottom, and lanes to its right."""
    canvas = Canvas(_NARROW)
    place = {name: at for at, name in enumerate(diagram.parts)}
    aside = [arrow for arrow in diagram.arrows if place[arrow[1]] != place[arrow[0]] + 1]
    lanes = _lanes(aside, place)
    width = _NARROW - 4 - _LANE * (max(lanes.values(), default=-1) + 2)
    boxes: dict[str, Box] = {}
    y = 2.0
    for name, part in diagram.parts.items():
        boxes[name] = canvas.box(Box(part.title, part.lines, 2.0, y, width, part.kind))
        y = boxes[name].bottom + 24.0
    for arrow in diagram.arrows:
        source, target, dashed = arrow
        a, b = boxes[source], boxes[target]
        if arrow in lanes:
            x = a.right + _LANE * (lanes[arrow] + 1)
            leave, enter = a.bottom - 10, b.centre
            canvas.arrow((a.right, leave), (x, leave), (x, enter), (b.right, enter), dashed=dashed)
        else:
            canvas.arrow((a.middle, a.bottom), (b.middle, b.y), dashed=dashed)
    return canvas


def _columns(diagram: Diagram) -> dict[str, int]:
    """How many arrows lead to each box, on the longest way."""
    column = dict.fromkeys(diagram.parts, 0)
    for name in diagram.parts:  # each stands before those that it leads to
        for source, target, _ in diagram.arrows:
            if source == name:
                column[target] = max(column[target], column[name] + 1)
    return column


def _lanes(arrows: list[Arrow], place: dict[str, int]) -> dict[Arrow, int]:
    """A lane for each arrow, the innermost that is free all along its way; short ones first."""
    lanes: dict[Arrow, int] = {}
    for arrow in sorted(arrows, key=lambda arrow: (place[arrow[1]] - place[arrow[0]], place[arrow[0]])):
        first, last = place[arrow[0]], place[arrow[1]]
        taken = {lane for (a, b, _), lane in lanes.items() if place[a] < last and first < place[b]}
        lanes[arrow] = next(lane for lane in range(len(arrows)) if lane not in taken)
    return lanes


def label(diagram: Diagram) -> str:
    """The picture in words, for those who do not see it."""
    told = []
    for name, part in diagram.parts.items():
        to = [diagram.parts[target].title for source, target, _ in diagram.arrows if source == name]
        told.append(", ".join([part.title, *part.lines]) + (f", to {' and '.join(to)}" if to else ""))
    return f"Diagram: {'; '.join(told)}."
