from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext.errors import InputError
from gnas_ext.search import Categorical, Cell, Integer, Node, SearchSpace, evolve

if TYPE_CHECKING:
    import random

    from gnas_ext.search import Genotype, Tokens

OPERATIONS = ["gcn", "gat", "skip"]


def cells(inputs: int) -> st.SearchStrategy[Cell]:
    return st.builds(Cell, st.integers(1, 5), st.just(OPERATIONS), st.just(inputs))


def sampled(cell: Cell, rng: random.Random) -> list[Node]:
    """A random graph, written in a random order."""
    nodes = [
        Node(tuple(sorted({rng.randrange(node + 1) for _ in range(cell.inputs)})), rng.choice(cell.operations))
        for node in range(cell.nodes)
    ]
    return reordered(nodes, rng)


def reordered(nodes: list[Node], rng: random.Random) -> list[Node]:
    """The same graph in another order, parents first."""
    new = {0: 0}
    order: list[int] = []
    while len(order) < len(nodes):
        ready = [
            place
            for place, node in enumerate(nodes, start=1)
            if place not in new and all(parent in new for parent in node.parents)
        ]
        order.append(rng.choice(ready))
        new[order[-1]] = len(order)
    return [
        Node(tuple(sorted(new[parent] for parent in nodes[place - 1].parents)), nodes[place - 1].operation)
        for place in order
    ]


def written(nodes: list[Node], inputs: int) -> dict[str, object]:
    genotype: dict[str, object] = {}
    for number, node in enumerate(nodes, start=1):
        genotype[f"net.{number}.op"] = node.operation
        if number > 1:
            ends = [*node.parents, *[node.parents[0]] * inputs][:inputs]
            genotype |= {f"net.{number}.from{place or ''}": end for place, end in zip(["", 2, 3], ends, strict=False)}
    return genotype


def isomorphic(a: tuple[Node, ...], b: list[Node]) -> bool:
    """By trying all renumberings."""

    def edges(nodes: tuple[Node, ...] | list[Node], new: tuple[int, ...]) -> Counter[object]:
        names = (0, *new)
        return Counter(
            (names[place], node.operation, tuple(sorted(names[parent] for parent in node.parents)))
            for place, node in enumerate(nodes, start=1)
        )

    straight = tuple(range(1, len(b) + 1))
    return any(edges(a, order) == edges(b, straight) for order in itertools.permutations(straight))


@pytest.mark.parametrize("inputs", [1, 2, 3])
@settings(deadline=None, max_examples=60)
@given(data=st.data(), rng=st.randoms(use_true_random=False))
def test_the_order_of_the_nodes_does_not_matter(inputs: int, data: st.DataObject, rng: random.Random) -> None:
    cell = data.draw(cells(inputs))
    space = SearchSpace({"net": cell})
    nodes = sampled(cell, rng)
    tokens = space.encode(written(nodes, inputs))
    assert space.encode(written(reordered(nodes, rng), inputs)) == tokens
    assert space.encode(space.decode(tokens)) == tokens


@pytest.mark.parametrize("inputs", [1, 2])
@settings(deadline=None, max_examples=60)
@given(data=st.data(), rng=st.randoms(use_true_random=False))
def test_the_canonical_graph_is_the_graph(inputs: int, data: st.DataObject, rng: random.Random) -> None:
    cell = data.draw(cells(inputs))
    space = SearchSpace({"net": cell})
    nodes = sampled(cell, rng)
    assert isomorphic(cell.nodes_of(space.genotype(written(nodes, inputs)), "net"), nodes)


def test_different_graphs_stay_apart() -> None:
    cell = Cell(3, ["a", "b"], inputs=2)
    space = SearchSpace({"net": cell})
    found = [cell.nodes_of(space.decode(tokens), "net") for tokens in space.sequences()]
    assert not any(isomorphic(a, list(b)) for a, b in itertools.combinations(found, 2))
    assert {space.encode(space.decode(raw)) for raw in raw_sequences(space)} == set(space.sequences())


def raw_sequences(space: SearchSpace) -> itertools.product[Tokens]:
    return itertools.product(*(range(1, size + 1) for size in space.sizes))


def outputs(nodes: tuple[Node, ...], identity: str) -> tuple[list[object], Counter[object]]:
    """What the cell computes, as expressions: its outputs, and how often each value is computed."""
    values: list[object] = ["input"]
    computed: Counter[object] = Counter()
    for node in nodes:
        (parent,) = node.parents
        if node.operation == identity:
            values.append(values[parent])
        else:
            values.append((node.operation, values[parent]))
            computed[values[-1]] += 1
    inner = {node.parents[0] for node in nodes}
    return sorted((str(value) for place, value in enumerate(values) if place not in inner), key=str), computed


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 5), st.booleans(), st.randoms(use_true_random=False))
def test_an_identity_moves_only_where_nothing_changes(nodes: int, counts: bool, rng: random.Random) -> None:
    cell = Cell(nodes, OPERATIONS, identity="skip", input_is_output=counts)
    plain = Cell(nodes, OPERATIONS)
    raw = sampled(plain, rng)
    canonical = cell.nodes_of(SearchSpace({"net": cell}).genotype(written(raw, 1)), "net")
    before, after = outputs(tuple(raw), "skip"), outputs(canonical, "skip")
    assert after[1] == before[1]
    # Without it, paths that hand the input itself to the output are taken away, unless there is nothing else.
    if not counts and set(before[0]) != {"input"}:
        before = ([value for value in before[0] if value != "input"], before[1])
    assert after[0] == before[0] or (not counts and set(before[0]) == {"input"})


def test_the_classes_of_nas_bench_graph() -> None:
    """Its authors count 26,206 architectures of four nodes and nine operations, one of them a skip connection."""
    cell = Cell(4, [*"abcdefgh", "skip"], identity="skip", input_is_output=False)
    space = SearchSpace({"net": cell}, valid=lambda g: any(g[f"net.{node}.op"] != "skip" for node in range(1, 5)))
    assert sum(map(space.allows, space.sequences())) == 26_206


def test_no_graph_is_evaluated_twice() -> None:
    cell = Cell(3, OPERATIONS, identity="skip")
    seen: list[tuple[Node, ...]] = []

    def evaluate(genotype: Genotype) -> float:
        seen.append(cell.nodes_of(genotype, "net"))
        return len(str(genotype))

    study = evolve(SearchSpace({"net": cell}), evaluate, evaluations=10_000, population=5)
    assert study.evaluations == len(set(seen)) == len(list(study.space.sequences()))


def test_a_dead_cell_has_no_nodes() -> None:
    cell = Cell(2, ["a", "b"], when={"deep": [True]})
    space = SearchSpace({"deep": Categorical([False, True]), "net": cell, "width": Integer(1, 2)})
    shallow = space.genotype({"deep": False, "width": 2})
    assert (cell.nodes_of(shallow, "net"), space.encode(shallow)) == ((), (1, 0, 0, 0, 2))


def test_what_depends_on_a_cell_sees_its_canonical_form() -> None:
    space = SearchSpace({"net": Cell(2, ["a", "b"]), "extra": Integer(1, 3, when={"net.1.op": ["b"]})})
    # The graph a, b beside each other, written in the order b, a: canonical, its first operation is a.
    written = {"net.1.op": "b", "net.2.from": 0, "net.2.op": "a", "extra": 3}
    assert "extra" not in space.genotype(written)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Cell(0, ["a"]), "expected 1 to 8 nodes, got 0"),
        (lambda: Cell(9, ["a"]), "expected 1 to 8 nodes, got 9"),
        (lambda: Cell(2, ["a"], inputs=0), "expected at least one input"),
        (lambda: Cell(2, ["a"], identity="b"), "identity 'b' is none of the operations"),
        (lambda: Cell(2, ["a"], inputs=2, identity="a"), "inputs=1"),
        (lambda: SearchSpace({"net.1.op": Integer(0, 1), "net": Cell(1, ["a"])}), "two genes are named 'net.1.op'"),
    ],
)
def test_a_cell_that_makes_no_sense_is_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


def test_a_node_that_takes_from_a_later_one_is_refused() -> None:
    space = SearchSpace({"net": Cell(2, ["a"])})
    with pytest.raises(InputError, match=r"gene 'net\.2\.from': expected a whole number from 0 to 1, got 2"):
        space.genotype({"net.1.op": "a", "net.2.from": 2, "net.2.op": "a"})
