from __future__ import annotations

import random
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext.data.interactions import Interactions
from gnas_ext.report import to_mermaid
from gnas_ext.report.anatomy import diagram_of
from gnas_ext.report.families import _PLANS
from gnas_ext.search import Cell, Integer, LogFloat, SearchSpace
from gnas_ext.search.recommender import classic_space, embedding_space, recommender_space, training_free_space
from gnas_ext.search.recommender.classic import FAMILIES as CLASSICS
from gnas_ext.search.recommender.training_free import FAMILIES as TRAINING_FREE
from gnas_ext.search.recommender.training_free import GF_CF

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
TRAIN = Interactions(np.array([0, 1, 1]), np.array([0, 1, 0]), np.array([0, 86_400, 86_400 * 365]))
NET = Cell(5, ["gcn", "gat", "skip"], inputs=2)
SPACES = {
    "recommender": recommender_space(TRAIN),
    "embeddings": embedding_space(TRAIN),
    "training_free": training_free_space(1_000),
    "classic": classic_space(TRAIN),
    "cell": SearchSpace({"lr": LogFloat(1e-3, 1e-1), "net": NET}),
    "plain": SearchSpace({"a": Integer(0, 3), "b": Integer(0, 3)}),
}
# What Mermaid's own parser accepted of this: a number, a shape with a quoted label, or an arrow between two numbers.
BOX = r'n\d+(\(\["[^"]*"\]\)|\[\["[^"]*"\]\]|\["[^"]*"\]|\{\{"[^"]*"\}\})'
LINE = re.compile(rf"    ({BOX}|n\d+ (-->|-\.->) n\d+)")
ENTITY = re.compile(r"#(\d+|quot|lt|gt|amp);")


def samples(space: SearchSpace, count: int = 25) -> list[Mapping[str, object]]:
    rng = random.Random(0)
    return [space.sample(rng) for _ in range(count)]


def written(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def check(text: str) -> None:
    head, *lines = text.removesuffix("\n").split("\n")
    assert head == "flowchart LR"
    for line in lines:
        assert LINE.fullmatch(line), line
        label = re.search('"(.*)"', line)
        for part in label[1].split("<br/>") if label else ():
            assert not re.search(r'[#"<>&`\\]', ENTITY.sub("", part)), line
    ends = set(re.findall(r"n\d+(?= -)|(?<=> )n\d+", text))
    assert ends <= set(re.findall(r"^ +(n\d+)[(\[{]", text, re.MULTILINE))


@pytest.mark.parametrize("name", SPACES)
def test_every_gene_of_every_family_is_told(name: str) -> None:
    for genotype in samples(SPACES[name]):
        text = to_mermaid(genotype)
        check(text)
        for gene, value in genotype.items():
            if name == "cell" and gene != "lr":
                continue  # drawn as nodes and arrows, below
            if gene == "hops" and name in ("recommender", "embeddings"):
                assert text.count('["Hop ') == value
            elif gene == "family":
                continue  # said by the boxes
            else:
                assert f"{gene.replace('_', ' ')} {written(value)}" in text, gene


def test_all_families_that_are_solved_at_once_have_a_plan() -> None:
    assert set(_PLANS) == {*CLASSICS, *TRAINING_FREE}


@pytest.mark.parametrize("family", [*CLASSICS, *TRAINING_FREE])
def test_a_log_leads_to_a_list_in_every_family(family: str) -> None:
    diagram = diagram_of({"family": family, "rank": 64})
    reached = {"s0_0"}
    for source, target, _ in diagram.arrows:
        assert source in reached
        reached.add(target)
    assert reached | {"rest"} >= set(diagram.parts)
    assert list(diagram.parts.values())[-1].title in ("Top-K list", "Other genes")


def test_a_filter_without_a_rank_has_no_low_pass() -> None:
    assert "Ideal low pass" in to_mermaid({"family": "graph_filter", "rank": 64})
    assert "Ideal low pass" not in to_mermaid({"family": "graph_filter", "rank": 0})


def test_a_filter_s_hops_are_not_those_of_a_graph_model() -> None:
    text = to_mermaid({"family": "graph_filter", "response": "pagerank", "hops": 3, "rank": 0})
    assert "Hop 1" not in text
    assert "hops 3" in text


def test_genes_that_a_family_does_not_know_are_told_too() -> None:
    assert "Other genes<br/>prune 0.5" in to_mermaid({"family": "ease", "l2": 1.0, "prune": 0.5})


@pytest.mark.parametrize("genotype", samples(SPACES["cell"]))
def test_a_cell_is_its_nodes_and_where_they_take_from(genotype: Mapping[str, object]) -> None:
    diagram = diagram_of(genotype)
    nodes = NET.nodes_of(genotype, "net")
    drawn = {(source, target) for source, target, _ in diagram.arrows}
    inner = {parent for node in nodes for parent in node.parents}
    expected = {(f"c0_{end}", f"c0_{at}") for at, node in enumerate(nodes, 1) for end in node.parents}
    assert drawn == expected | {(f"c0_{at}", "c0_out") for at in range(1, 6) if at not in inner}
    assert [diagram.parts[f"c0_{at}"].title for at in range(1, 6)] == [node.operation for node in nodes]


def test_the_documented_example_is_what_comes_out() -> None:
    assert f"```mermaid\n{to_mermaid(GF_CF)}```" in (ROOT / "docs" / "search.md").read_text(encoding="utf-8")


def test_two_cells_stand_side_by_side() -> None:
    space = SearchSpace({"one": Cell(2, ["a", "b"]), "two": Cell(3, ["a", "b"])})
    text = to_mermaid(samples(space, 1)[0])
    check(text)
    assert "one: input" in text
    assert "two: output" in text


def test_a_genotype_that_says_nothing_of_its_shape_is_one_box() -> None:
    assert to_mermaid({"a": 1, "b": 0.5}) == 'flowchart LR\n    n0["Model<br/>a 1<br/>b 0.5"]\n'


@settings(deadline=None, max_examples=60)
@given(
    st.dictionaries(
        st.one_of(st.sampled_from(["hops", "family", "net.1.op", "net.2.from", "prior", "bits"]), st.text()),
        st.one_of(st.none(), st.booleans(), st.integers(0, 9), st.floats(), st.text(), st.sampled_from(sorted(_PLANS))),
    )
)
def test_any_text_stays_text(genotype: dict[str, object]) -> None:
    check(to_mermaid(genotype))
