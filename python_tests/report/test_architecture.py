from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext.report.architecture import draw
from gnas_ext.report.stages import acts_in, is_graph, stages_of

from .conftest import make_report

if TYPE_CHECKING:
    from collections.abc import Mapping

GENOTYPE = make_report().genotype


def pictures(genotype: Mapping[str, object]) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(f"<div>{draw(genotype)}</div>"))


def boxes(picture: ElementTree.Element) -> dict[str, list[str]]:
    """Lines by title of each box."""
    texts = [[text.text or "" for text in group.iter("text")] for group in picture.iter("g")]
    return {title: lines for title, *lines in texts}


def test_it_is_drawn_wide_and_narrow() -> None:
    assert [picture.get("class") for picture in pictures(GENOTYPE)] == ["wide", "narrow"]


@pytest.mark.parametrize("place", [0, 1])
def test_every_gene_stands_in_a_box(place: int) -> None:
    drawn = boxes(pictures(GENOTYPE)[place])
    assert drawn["Graph"] == ["alpha 0.5", "half life days 30"]
    assert drawn["Embedding table"] == ["dim 64"]
    assert drawn["Combine hops"] == ["mean"]
    assert drawn["Training"] == ["loss softmax", "dropout 0.1", "lr 0.005623", "negatives 64"]
    assert drawn["Item prior"] == ["weight 1.5", "half life days 14"]
    assert drawn["Stored rows"] == ["bits 8"]
    assert [title for title in drawn if title.startswith("Hop ")] == ["Hop 1", "Hop 2", "Hop 3"]


def test_many_hops_are_counted_instead_of_drawn() -> None:
    drawn = boxes(pictures(GENOTYPE | {"hops": 9} if isinstance(GENOTYPE, dict) else {"hops": 9})[0])
    assert [title for title in drawn if "op" in title and "more" not in title] == [
        "Hop 1",
        "Hop 2",
        "Hop 9",
        "Combine hops",
        "Top-K list",
    ]
    assert "… 6 more …" in drawn


@pytest.mark.parametrize("off", [{"prior": False}, {"prior_weight": 0.0}, {"prior": None}, {}])
def test_a_prior_that_is_off_is_not_drawn(off: dict[str, object]) -> None:
    assert "Item prior" not in boxes(pictures({"hops": 2} | off)[0])


def test_only_the_last_hop_feeds_a_combination_of_the_last() -> None:
    def arrows(combine: str) -> int:
        return len(list(pictures({"hops": 3, "combine": combine})[0].iter("polyline")))

    assert arrows("mean") - arrows("last") == 3


@pytest.mark.parametrize(
    ("gene", "stage"),
    [
        ("dim", "embedding table"),
        ("n_hops", "hops"),
        ("alpha_users", "graph"),
        ("half_life_days", "graph"),
        ("prior_half_life_days", "item prior"),
        ("item_bits", "stored rows"),
        ("weight_decay", "training"),
        ("something_new", "training"),
    ],
)
def test_genes_act_where_their_names_say(gene: str, stage: str) -> None:
    assert acts_in(gene) == stage


def test_a_genotype_without_hops_is_no_graph() -> None:
    assert not is_graph({"model": "itemknn", "neighbours": 50})
    assert is_graph({"num_layers": 2})


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.one_of(
            st.sampled_from([*GENOTYPE, "n_layers"]), st.text(st.characters(codec="utf-8", exclude_categories=["C"]))
        ),
        st.one_of(
            st.none(), st.booleans(), st.integers(0, 40), st.floats(), st.text(st.characters(exclude_categories=["C"]))
        ),
    )
)
def test_any_genotype_is_drawn_inside_its_picture(genotype: dict[str, object]) -> None:
    for picture in pictures(genotype):
        _, _, width, height = map(float, (picture.get("viewBox") or "").split())
        for box in picture.iter("rect"):
            x, y, w, h = (float(box.get(name) or "nan") for name in ("x", "y", "width", "height"))
            assert 0 <= x <= x + w <= width
            assert 0 <= y <= y + h <= height


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.sampled_from(list(GENOTYPE)), st.integers(0, 6)), st.integers(0, 12))
def test_boxes_do_not_overlap(genes: dict[str, object], unknown: int) -> None:
    for picture in pictures(genes | {f"gene {number}": number for number in range(unknown)}):
        placed = [
            [float(box.get(name) or "nan") for name in ("x", "y", "width", "height")] for box in picture.iter("rect")
        ]
        for place, (x, y, w, h) in enumerate(placed):
            for x2, y2, w2, h2 in placed[:place]:
                assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y


def test_every_gene_is_sorted_somewhere_but_the_number_of_hops() -> None:
    stages = stages_of(GENOTYPE)
    found = [stages.graph, stages.table, stages.hops, stages.combine, stages.prior, stages.quantise, stages.training]
    assert sorted(name for genes in found for name, _ in genes) == sorted(set(GENOTYPE) - {"hops"})
