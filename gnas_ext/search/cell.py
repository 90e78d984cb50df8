"""A graph-shaped part of a space: nodes in order, each an operation and the nodes that it takes its input from.

Graphs that differ in the order of their nodes alone are one genotype, and so are those that differ in where an
operation that changes nothing stands: each has one canonical sequence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from gnas_ext.search.genes import Categorical, Gene, Integer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gnas_ext.search.genes import Conditions, Value

# The canonical order is found by looking at all orders that begin alike.
MOST_NODES = 8

# Of each node: the numbers of its parents (0 is the input of the cell), in order, and the place of its operation.
Wiring: TypeAlias = tuple[tuple[tuple[int, ...], int], ...]
# An operation and the subtrees below it.
_Tree: TypeAlias = "tuple[int, tuple[_Tree, ...]]"


class Node(NamedTuple):
    """One node of a cell.

    Attributes:
        parents: numbers of the nodes that it takes its input from, in order; 0 is the input of the cell.
        operation: what it does.
    """

    parents: tuple[int, ...]
    operation: Value


@dataclass(frozen=True, eq=False)
class Cell:
    """Nodes 1 … `nodes`, each with an operation and parents among the nodes before it; node 0 is the cell's input.

    In a `SearchSpace`, a cell named "net" stands for the genes "net.1.op", "net.2.from", "net.2.op" and so on;
    `nodes_of` reads them. Its outputs are the nodes that nobody takes from; what becomes of them is up to who builds
    it.

    Attributes:
        nodes: how many, 1 to 8.
        operations: their names, or other values.
        inputs: how many parents a node has at most ("net.2.from", "net.2.from2", …; the same one twice counts once).
        identity: the operation that hands on what it gets, if there is one. Nodes with it stand first, in a chain, if
            nothing changes by that: where they have children or their parent has no others. For one input only.
        input_is_output: whether a path of identities from the input to an output, beside others, says something. If
            not, it counts as taken away.
        when: as of a gene, for all genes of the cell.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> from gnas_ext.search import Cell, SearchSpace
        >>> net = Cell(2, ["gcn", "gat"])
        >>> space = SearchSpace({"net": net})
        >>> net.nodes_of(space.genotype({"net.1.op": "gat", "net.2.from": 0, "net.2.op": "gcn"}), "net")
        (Node(parents=(0,), operation='gcn'), Node(parents=(0,), operation='gat'))
    """

    nodes: int
    operations: Sequence[Value]
    inputs: int = 1
    identity: Value = None
    input_is_output: bool = True
    when: Conditions = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        if not 1 <= self.nodes <= MOST_NODES:
            raise ValueError(f"Cell: expected 1 to {MOST_NODES} nodes, got {self.nodes}")
        if self.inputs < 1:
            raise ValueError(f"Cell: expected at least one input a node, got inputs={self.inputs}")
        if self.identity is not None and self.identity not in self.operations:
            raise ValueError(f"Cell: identity {self.identity!r} is none of the operations {list(self.operations)}")
        if self.identity is not None and self.inputs > 1:
            raise ValueError("Cell: an identity is known where nodes have one input; leave it out, or inputs=1")

    def genes(self, name: str) -> dict[str, Gene]:
        """The genes that the cell stands for, under its name."""
        genes: dict[str, Gene] = {}
        for node in range(1, self.nodes + 1):
            if node > 1:  # the first has no choice
                for place in range(1, self.inputs + 1):
                    genes[_from(name, node, place)] = Integer(0, node - 1, when=self.when)
            genes[f"{name}.{node}.op"] = Categorical(tuple(self.operations), when=self.when)
        return genes

    def nodes_of(self, genotype: Mapping[str, object], name: str) -> tuple[Node, ...]:
        """The nodes that a genotype names, in order; none where the cell is dead in it."""
        if f"{name}.1.op" not in genotype:
            return ()
        nodes = []
        for node in range(1, self.nodes + 1):
            ends = [genotype[_from(name, node, place)] for place in range(1, self.inputs + 1)] if node > 1 else [0]
            operation: Value = genotype[f"{name}.{node}.op"]  # type: ignore[assignment]
            nodes.append(Node(tuple(sorted({int(end) for end in ends})), operation))  # type: ignore[call-overload]
        return tuple(nodes)

    @cached_property
    def idle(self) -> int:
        """The place of the identity among the operations; -1 if there is none."""
        return -1 if self.identity is None else list(self.operations).index(self.identity)

    # What the space works with: the cell's part of a token sequence, all of it alive.

    def canonical(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """The tokens that stand for all graphs like this one."""
        return _settled(self, tuple(tokens))

    def wiring(self, tokens: Sequence[int]) -> Wiring:
        """Parents and operations that tokens name."""
        wiring: list[tuple[tuple[int, ...], int]] = [((0,), tokens[0] - 1)]
        step = self.inputs + 1
        for start in range(1, len(tokens), step):
            *parents, operation = (token - 1 for token in tokens[start : start + step])
            wiring.append((tuple(sorted(set(parents))), operation))
        return tuple(wiring)


def _from(name: str, node: int, place: int) -> str:
    return f"{name}.{node}.from{place if place > 1 else ''}"


@lru_cache(maxsize=200_000)
def _settled(cell: Cell, tokens: tuple[int, ...]) -> tuple[int, ...]:
    found: list[int] = []
    for node, (parents, operation) in enumerate(_canonical(cell.wiring(tokens), cell.idle, cell.input_is_output)):
        if node:
            found += [parent + 1 for parent in (parents + parents[-1:] * cell.inputs)[: cell.inputs]]
        found.append(operation + 1)
    return tuple(found)


def _canonical(wiring: Wiring, identity: int, input_is_output: bool) -> Wiring:
    """The canonical form: identities first, then the rest in an order that the graph alone decides."""
    if any(len(ends) > 1 for ends, _ in wiring):
        return _ordered(wiring)
    parent = {node: ends[0] for node, (ends, _) in enumerate(wiring, start=1)}
    operation = [-1, *(op for _, op in wiring)]
    idle = 0
    while identity in operation and (node := _idle(parent, operation, identity, input_is_output)) is not None:
        above = parent.pop(node)
        parent = {child: above if end == node else end for child, end in parent.items()}
        idle += 1
    chain = [((place,), identity) for place in range(idle)]
    return (*chain, *_tree(parent, operation, idle))


def _tree(parent: dict[int, int], operation: list[int], root: int) -> Wiring:
    """A tree from its input, number `root`, on: children in the order of their subtrees, each before its own."""
    children: dict[int, list[int]] = {}
    for node, end in parent.items():
        children.setdefault(end, []).append(node)

    def written(node: int) -> _Tree:
        return operation[node], tuple(sorted(map(written, children[node]))) if node in children else ()

    found: list[tuple[tuple[int, ...], int]] = []

    def number(tree: _Tree, above: int) -> None:
        for child in tree[1]:
            found.append(((above,), child[0]))
            number(child, root + len(found))

    number(written(0), root)
    return tuple(found)


def _idle(parent: dict[int, int], operation: list[int], identity: int, input_is_output: bool) -> int | None:
    """A node without effect on the others, if there is one left."""
    ends = list(parent.values())
    for node, above in parent.items():
        if operation[node] == identity:
            if node in ends or ends.count(above) == 1:
                return node
            while above and operation[above] == identity:
                above = parent[above]
            if above == 0 and not input_is_output:
                return node
    return None


def _ordered(wiring: Wiring) -> Wiring:
    """The nodes in the order, parents before children, that gives the smallest sequence."""
    parents = {node: set(ends) for node, (ends, _) in enumerate(wiring, start=1)}
    operation = {node: op for node, (_, op) in enumerate(wiring, start=1)}
    found: list[tuple[tuple[int, ...], int]] = []
    children = {node: frozenset(child for child, ends in parents.items() if node in ends) for node in parents}
    orders: list[dict[int, int]] = [{0: 0}]  # old number -> new one: all that begin with `found`
    for number in range(1, len(parents) + 1):
        best: tuple[tuple[int, ...], int] | None = None
        longer: list[dict[int, int]] = []
        for order in orders:
            twins = set()
            for node, ends in parents.items():
                if node in order or not ends <= order.keys():
                    continue
                # Of nodes that nothing tells apart, one will do.
                twin = (frozenset(ends), operation[node], children[node])
                if twin in twins:
                    continue
                twins.add(twin)
                key = (tuple(sorted(order[end] for end in ends)), operation[node])
                if best is None or key < best:
                    best, longer = key, []
                if key == best:
                    longer.append({**order, node: number})
        assert best is not None  # node 0 is there, and every parent stands before its child
        found.append(best)
        orders = longer
    return tuple(found)
