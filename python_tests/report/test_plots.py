from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext.report import CurvePoint, TrialPoint, plots

from .conftest import make_report, make_trials

if TYPE_CHECKING:
    from collections.abc import Sequence

TRIALS = make_trials(30)
CURVE = make_report().curve


@cache
def drawn() -> dict[str, str]:
    return {
        "pareto": plots.pareto(TRIALS, 3),
        "history": plots.history(TRIALS),
        "ndcg": plots.curve_ndcg(CURVE),
        "loss": plots.curve_loss(CURVE),
    }


@cache
def drawn_of_little() -> dict[str, str]:
    return {
        "no trials": plots.pareto([], None),
        "failed": plots.pareto([TrialPoint(0, None, None, state="failed")], 0),
        "one": plots.pareto([TrialPoint(0, 0.1, 1000)], 0),
        "nan": plots.history([TrialPoint(0, float("nan"), 1000)]),
        "one trial": plots.history([TrialPoint(0, 0.1, 1000)]),
        "not measured": plots.curve_ndcg([CurvePoint(1, 0.5)]),
        "loss": plots.curve_loss([CurvePoint(1, float("nan"))]),
    }


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9).map(float))))
def test_the_front_is_what_no_other_point_beats(points: list[tuple[int, float]]) -> None:
    def beaten(size: int, ndcg: float) -> bool:
        return any(s <= size and n >= ndcg and (s, n) != (size, ndcg) for s, n in points)

    assert plots.front(points) == sorted({point for point in points if not beaten(*point)})


@pytest.mark.parametrize("few", [False, True])
def test_a_plot_is_one_well_formed_element_with_a_description(few: bool) -> None:
    for svg in (drawn_of_little() if few else drawn()).values():
        root = ElementTree.fromstring(svg)
        assert root.tag == "svg"
        assert root.get("role") == "img"
        assert (root.get("aria-label") or "").endswith(".")


def test_all_colours_are_the_page_s() -> None:
    colours = re.findall(r'(?:fill|stroke): *([^;"]+)', "".join(drawn().values()))
    assert set(colours) == {"none", *(f"var(--{name})" for name in ("ink", "muted", "line", "accent", "warm"))}


def test_no_id_is_used_twice() -> None:
    ids = re.findall(r'\bid="([^"]*)"', "".join(drawn().values()))
    assert len(ids) == len(set(ids))


def test_every_reference_leads_somewhere() -> None:
    for svg in drawn().values():
        references = set(re.findall(r'(?:href="#|url\(#)([^")]*)', svg))
        assert references
        assert references <= set(re.findall(r'\bid="([^"]*)"', svg))


def test_a_plot_repeats_exactly() -> None:
    assert plots.pareto(TRIALS, 3) == drawn()["pareto"]


def _labels(svg: str) -> Sequence[str]:
    return [text.text or "" for text in ElementTree.fromstring(svg).iter("text")]


def test_the_chosen_trial_is_marked() -> None:
    assert "chosen: trial 3" in _labels(drawn()["pareto"])
    assert not any("chosen" in label for label in _labels(plots.pareto(TRIALS, None)))


@pytest.mark.parametrize("decades", [0.5, 1.5, 2.5, 4])
def test_sizes_are_marked_so_that_words_do_not_touch(decades: float) -> None:
    sizes = (3_000, round(3_000 * 10**decades))
    svg = plots.pareto([TrialPoint(n, 0.1, size) for n, size in enumerate(sizes)], None)
    labels = [text for text in ElementTree.fromstring(svg).iter("text") if (text.text or "").endswith("B")]
    places = sorted(float(text.get("x") or "nan") for text in labels)
    assert len(places) >= 2
    assert min(b - a for a, b in pairwise(places)) > 34  # "200 kB" in type of 8 points


def test_a_single_trial_has_whole_numbers_on_its_axis() -> None:
    labels = _labels(plots.history([TrialPoint(7, 0.1, 1000)]))
    assert "7" in labels
    assert not any("." in label for label in labels[: labels.index("trial")])
