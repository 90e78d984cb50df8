"""Which genotypes there are, and how each is written as a sequence of tokens and read back.

A genotype is one token a gene, in the order of declaration: 0 for a gene that is dead, i for its i-th value. Each has
one canonical sequence, so that two genotypes are the same if and only if their sequences are; of cells that are the
same graph, one stands for all.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, TypeAlias

from gnas_ext.errors import InputError
from gnas_ext.search.cell import Cell
from gnas_ext.search.genes import Gene
from gnas_ext.search.genotype import Genotype

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Mapping, Sequence

Tokens: TypeAlias = tuple[int, ...]

DEAD = 0
DRAWS = 10_000


class SearchSpace:
    """Named genes, and what must hold between them.

    Args:
        genes: name -> gene, or a `Cell`, which stands for several. A gene whose `when` names another one is declared
            after it.
        valid: what must hold between genes: called with a Genotype (dead genes are absent), true where it holds.

    Raises:
        ValueError: no gene, two of the same name, or a `when` that names a gene or value that does not stand before it.

    Example:
        >>> from gnas_ext.search import Categorical, Integer
        >>> prior = Categorical([True, False])
        >>> space = SearchSpace({"hops": Integer(1, 4), "prior": prior, "days": Integer(1, 9, when={"prior": [True]})})
        >>> space.encode({"hops": 3, "prior": False})
        (3, 2, 0)
    """

    def __init__(self, genes: Mapping[str, Gene | Cell], valid: Callable[[Genotype], bool] | None = None) -> None:
        if not genes:
            raise ValueError("SearchSpace: expected at least one gene, got none")
        self.genes: dict[str, Gene] = {}
        self.cells: dict[str, Cell] = {}
        self.valid = valid
        # Of each cell, by the place of its last gene: the place of its first.
        self._cell_ends: dict[int, tuple[int, Cell]] = {}
        # For each gene: (place of another gene, its tokens that keep this one alive).
        self._conditions: list[list[tuple[int, frozenset[int]]]] = []
        for name, part in genes.items():
            if not isinstance(name, str) or not isinstance(part, (Gene, Cell)):
                raise TypeError(
                    f"SearchSpace: expected a name and a gene such as Integer(1, 4), got {name!r}: {part!r}"
                )
            if isinstance(part, Cell):
                first = len(self.genes)
                for inner, gene in part.genes(name).items():
                    self._declare(inner, gene)
                self.cells[name] = part
                self._cell_ends[len(self.genes) - 1] = (first, part)
            else:
                self._declare(name, part)
        self.names = tuple(self.genes)
        self._genes = tuple(self.genes.values())

    def _declare(self, name: str, gene: Gene) -> None:
        if name in self.genes:
            raise ValueError(f"SearchSpace: two genes are named {name!r}")
        self._conditions.append([self._condition(name, other, gene.when[other]) for other in gene.when])
        self.genes[name] = gene

    def _condition(self, name: str, other: str, values: Sequence[object]) -> tuple[int, frozenset[int]]:
        if other not in self.genes:
            raise ValueError(f"SearchSpace: gene {name!r} depends on {other!r}, which must be declared before it")
        try:
            tokens = frozenset(self.genes[other].index(value) + 1 for value in values)
        except ValueError as error:
            raise ValueError(f"SearchSpace: gene {name!r} depends on {other!r}: {error}") from None
        return list(self.genes).index(other), tokens

    def __repr__(self) -> str:
        return f"SearchSpace({self.genes}{f', cells={self.cells}' if self.cells else ''})"

    @property
    def cell_places(self) -> list[tuple[int, int, Cell]]:
        """Of each cell, the places of its first and its last gene."""
        return [(first, last, cell) for last, (first, cell) in self._cell_ends.items()]

    # The codec.

    def encode(self, genotype: Mapping[str, object]) -> Tokens:
        """The canonical token sequence of a genotype, or of a plain dict that says the same.

        Genes that are dead in it may be given; they do not count. `valid` is not asked: see `genotype`.

        Raises:
            InputError: a gene is unknown, missing, or has no such value.
        """
        for name in genotype:
            if name not in self.genes:
                raise InputError(f"gene {name!r} is unknown; the genes are {', '.join(self.names)}")
        tokens: list[int] = []
        for place, (name, gene) in enumerate(self.genes.items()):
            if not self.is_live(place, tokens):
                tokens.append(DEAD)
            elif name not in genotype:
                raise InputError(f"gene {name!r} is missing; it is {gene!r}")
            else:
                try:
                    tokens.append(gene.index(genotype[name]) + 1)
                except ValueError as error:
                    raise InputError(f"gene {name!r}: {error}") from None
            self._settle(place, tokens)
        return tuple(tokens)

    def _settle(self, place: int, tokens: list[int]) -> None:
        """Puts a cell, where the gene at a place was its last, into canonical form."""
        if place in self._cell_ends:
            first, cell = self._cell_ends[place]
            if tokens[first] != DEAD:
                tokens[first : place + 1] = cell.canonical(tokens[first : place + 1])

    def decode(self, tokens: Sequence[int]) -> Genotype:
        """The genotype that a token sequence names, cells in canonical form; tokens of dead genes do not count.

        Raises:
            InputError: a wrong number of tokens, a token that the gene does not have, a live gene without a value, or a
                combination that `valid` refuses.
        """
        if len(tokens) != len(self.names):
            raise InputError(
                f"expected {len(self.names)} tokens, one a gene ({', '.join(self.names)}), got {len(tokens)}"
            )
        for name, gene, token in zip(self.names, self._genes, tokens, strict=True):
            if not 0 <= token <= len(gene.values):
                raise InputError(f"gene {name!r}: expected a token from 0 to {len(gene.values)}, got {token}")
        whole: list[int] = []
        for place, name in enumerate(self.names):
            live = self.is_live(place, whole)
            if live and tokens[place] == DEAD:
                raise InputError(f"gene {name!r}: token 0 stands for a dead gene, but here it is live")
            whole.append(tokens[place] if live else DEAD)
            self._settle(place, whole)
        genotype = self._genotype(whole)
        if not self._allows(genotype):
            raise InputError(f"the space's `valid` refuses {genotype}")
        return genotype

    def genotype(self, values: Mapping[str, object]) -> Genotype:
        """The genotype that a dict names, such as one read from JSON; InputError as in `encode` and `decode`."""
        return self.decode(self.encode(values))

    # What the operators work with: sequences.

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """For each gene, how many values it has: its tokens are 0 (dead) and 1 … size."""
        return tuple(len(gene.values) for gene in self._genes)

    @cached_property
    def ordinals(self) -> tuple[bool, ...]:
        """For each gene, whether neighbouring values are alike."""
        return tuple(gene.ordinal for gene in self._genes)

    def is_live(self, place: int, tokens: Sequence[int]) -> bool:
        """Whether the gene at a place matters, given the tokens before it, of which those of dead genes are 0."""
        return all(tokens[other] in alive for other, alive in self._conditions[place])

    def repair(self, tokens: Sequence[int], rng: random.Random) -> Tokens:
        """The sequence made canonical: dead genes get token 0, live ones without a value get a random one."""
        # The search comes by here a hundred times a trial.
        whole: list[int] = []
        for token, (size, conditions, end) in zip(tokens, self._plan, strict=True):
            for other, alive in conditions:
                if whole[other] not in alive:
                    whole.append(DEAD)
                    break
            else:
                whole.append(token or rng.randint(1, size))
            if end:
                first, cell = end
                if whole[first] != DEAD:
                    whole[first:] = cell.canonical(whole[first:])
        return tuple(whole)

    def allows(self, tokens: Sequence[int]) -> bool:
        """Whether `valid` accepts a canonical sequence; it is not asked again about one that it was asked about."""
        return self.valid is None or _allowed(self, tuple(tokens))

    @cached_property
    def _plan(self) -> list[tuple[int, list[tuple[int, frozenset[int]]], tuple[int, Cell] | None]]:
        """Of each gene: how many values it has, its conditions, and the cell that it ends with its first place."""
        return [
            (size, conditions, self._cell_ends.get(place))
            for place, (size, conditions) in enumerate(zip(self.sizes, self._conditions, strict=True))
        ]

    def sample(self, rng: random.Random) -> Genotype:
        """A random genotype: each live gene uniformly, drawn again until `valid` accepts it.

        Raises:
            InputError: `valid` refused 10,000 draws.
        """
        for _ in range(DRAWS):
            genotype = self._genotype(self.repair((DEAD,) * len(self.names), rng))
            if self._allows(genotype):
                return genotype
        raise InputError(f"the space's `valid` refused {DRAWS:,} random genotypes, the last {genotype}; loosen it")

    def size(self) -> int:
        """How many genotypes there are, dead genes apart; before `valid` is asked, and each order of a cell's nodes."""
        # Only the tokens that later conditions ask about tell partial sequences apart.
        last = {other: place for place, conditions in enumerate(self._conditions) for other, _ in conditions}
        ways: Counter[Tokens] = Counter({(): 1})
        for place, size in enumerate(self.sizes):
            longer: Counter[Tokens] = Counter()
            over = [other for other, asking in last.items() if asking == place]
            for known, count in ways.items():
                options = range(1, size + 1) if self.is_live(place, known) else (DEAD,)
                rest = list(known)
                for other in over:
                    rest[other] = DEAD
                if place in last:
                    for token in options:
                        longer[(*rest, token)] += count
                else:
                    longer[(*rest, DEAD)] += count * len(options)
            ways = longer
        return ways.total()

    def sequences(self, start: Tokens = ()) -> Iterator[Tokens]:
        """All canonical sequences that begin with some tokens, in order, before `valid` is asked."""
        place = len(start)
        if place - 1 in self._cell_ends:
            first, cell = self._cell_ends[place - 1]
            if start[first] != DEAD and start[first:] != cell.canonical(start[first:]):
                return
        if place == len(self.names):
            yield start
        elif self.is_live(place, start):
            for token in range(1, len(self._genes[place].values) + 1):
                yield from self.sequences((*start, token))
        else:
            yield from self.sequences((*start, DEAD))

    def _genotype(self, tokens: Sequence[int]) -> Genotype:
        live = (place for place in range(len(self.names)) if tokens[place] != DEAD)
        return Genotype({self.names[place]: self._genes[place].values[tokens[place] - 1] for place in live})

    def _allows(self, genotype: Genotype) -> bool:
        return self.valid is None or bool(self.valid(genotype))


@lru_cache(maxsize=50_000)
def _allowed(space: SearchSpace, tokens: Tokens) -> bool:
    return space._allows(space._genotype(tokens))
