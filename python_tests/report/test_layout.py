"""Of diagrams that are laid out in general: families that are solved at once, and cells."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext.report.architecture import can_be_drawn, draw

from .test_mermaid import SPACES, samples

GENOTYPES = [genotype for name in ("training_free", "classic", "cell") for genotype in samples(SPACES[name], 12)]
Rectangle = tuple[float, float, float, float]


def rectangles(picture: ElementTree.Element) -> list[Rectangle]:
    """Left, top, right and bottom of each box."""
    found = []
    for box in picture.iter("rect"):
        x, y, w, h = (float(box.get(name) or "nan") for name in ("x", "y", "width", "height"))
        found.append((x, y, x + w, y + h))
    return found


def segments(picture: ElementTree.Element) -> list[Rectangle]:
    """Each straight piece of an arrow, as the rectangle that it is."""
    found = []
    for line in picture.iter("polyline"):
        points = [tuple(map(float, point.split(","))) for point in (line.get("points") or "").split()]
        for (x0, y0), (x1, y1) in pairwise(points):
            found.append((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)))
    return found


def overlap(a: Rectangle, b: Rectangle) -> bool:
    """Whether two rectangles have more than an edge in common."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@pytest.mark.parametrize("genotype", GENOTYPES, ids=lambda genotype: str(genotype.get("family", "cell")))
def test_boxes_and_arrows_keep_out_of_each_other_s_way(genotype: dict[str, object]) -> None:
    pictures = ElementTree.fromstring(f"<div>{draw(genotype)}</div>")
    assert [picture.get("class") for picture in pictures] == ["wide", "narrow"]
    for picture in pictures:
        _, _, width, height = map(float, (picture.get("viewBox") or "").split())
        boxes = rectangles(picture)
        assert all(0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height for x0, y0, x1, y1 in boxes)
        assert not any(overlap(a, b) for at, a in enumerate(boxes) for b in boxes[:at])
        for x0, y0, x1, y1 in segments(picture):
            assert 0 <= x0 <= x1 <= width
            assert 0 <= y0 <= y1 <= height
            thick = (x0 - 0.1, y0 - 0.1, x1 + 0.1, y1 + 0.1)
            inside = [(a + 1, b + 1, c - 1, d - 1) for a, b, c, d in boxes]
            assert not any(overlap(thick, box) for box in inside)


@settings(deadline=None, max_examples=25)
@given(st.randoms(use_true_random=False))
def test_any_cell_fits(rng: object) -> None:
    genotype = SPACES["cell"].sample(rng)  # type: ignore[arg-type]
    test_boxes_and_arrows_keep_out_of_each_other_s_way(genotype)  # type: ignore[arg-type]


def test_every_picture_is_told_in_words() -> None:
    picture = ElementTree.fromstring(f"<div>{draw({'family': 'ease', 'l2': 3.0})}</div>")[0]
    label = picture.get("aria-label") or ""
    assert label.startswith(
        "Diagram: Interaction log, who touched what,, and when, to Ridge regression; Ridge regression,"
    )
    assert "l2 3" in label


@pytest.mark.parametrize("name", SPACES)
def test_what_has_a_shape_can_be_drawn(name: str) -> None:
    assert all(can_be_drawn(genotype) == (name != "plain") for genotype in samples(SPACES[name], 5))
