"""Which genotypes there are, and how each is written as a sequence of tokens and read back.

A genotype is one token a gene, in the order of declaration: 0 for a gene that is dead, i for its i-th value. Each has
one canonical sequence, so that two genotypes are the same if and only if their sequences are.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeAlias

from gnas_ext.errors import InputError
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
        genes: name -> gene. A gene whose `when` names another one is declared after it.
        valid: what must hold between genes: called with a Genotype (dead genes are absent), true where it holds.

    Raises:
        ValueError: no gene, or a `when` that names a gene or value that does not stand before it.

    Example:
        >>> from gnas_ext.search import Categorical, Integer
        >>> prior = Categorical([True, False])
        >>> space = SearchSpace({"hops": Integer(1, 4), "prior": prior, "days": Integer(1, 9, when={"prior": [True]})})
        >>> space.encode({"hops": 3, "prior": False})
        (3, 2, 0)
    """

    def __init__(self, genes: Mapping[str, Gene], valid: Callable[[Genotype], bool] | None = None) -> None:
        if not genes:
            raise ValueError("SearchSpace: expected at least one gene, got none")
        self.genes: dict[str, Gene] = {}
        self.valid = valid
        # For each gene: (place of another gene, its tokens that keep this one alive).
        self._conditions: list[list[tuple[int, frozenset[int]]]] = []
        for name, gene in genes.items():
            if not isinstance(name, str) or not isinstance(gene, Gene):
                raise TypeError(
                    f"SearchSpace: expected a name and a gene such as Integer(1, 4), got {name!r}: {gene!r}"
                )
            self._conditions.append([self._condition(name, other, gene.when[other]) for other in gene.when])
            self.genes[name] = gene
        self.names = tuple(self.genes)
        self._genes = tuple(self.genes.values())

    def _condition(self, name: str, other: str, values: Sequence[object]) -> tuple[int, frozenset[int]]:
        if other not in self.genes:
            raise ValueError(f"SearchSpace: gene {name!r} depends on {other!r}, which must be declared before it")
        try:
            tokens = frozenset(self.genes[other].index(value) + 1 for value in values)
        except ValueError as error:
            raise ValueError(f"SearchSpace: gene {name!r} depends on {other!r}: {error}") from None
        return list(self.genes).index(other), tokens

    def __repr__(self) -> str:
        return f"SearchSpace({self.genes})"

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
        return tuple(tokens)

    def decode(self, tokens: Sequence[int]) -> Genotype:
        """The genotype that a token sequence names; tokens of dead genes do not count.

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
        for place, name in enumerate(self.names):
            if tokens[place] == DEAD and self.is_live(place, tokens):
                raise InputError(f"gene {name!r}: token 0 stands for a dead gene, but here it is live")
        genotype = self._genotype(tokens)
        if not self._allows(genotype):
            raise InputError(f"the space's `valid` refuses {genotype}")
        return genotype

    def genotype(self, values: Mapping[str, object]) -> Genotype:
        """The genotype that a dict names, such as one read from JSON; InputError as in `encode` and `decode`."""
        return self.decode(self.encode(values))

    # What the operators work with: sequences.

    @property
    def sizes(self) -> tuple[int, ...]:
        """For each gene, how many values it has: its tokens are 0 (dead) and 1 … size."""
        return tuple(len(gene.values) for gene in self._genes)

    def is_live(self, place: int, tokens: Sequence[int]) -> bool:
        """Whether the gene at a place matters, given the tokens before it."""
        for other, alive in self._conditions[place]:
            # A dead gene that others depend on carries a token in a sequence that is not canonical.
            if tokens[other] not in alive or not self.is_live(other, tokens):
                return False
        return True

    def repair(self, tokens: Sequence[int], rng: random.Random) -> Tokens:
        """The sequence made canonical: dead genes get token 0, live ones without a value get a random one."""
        whole: list[int] = []
        for place, gene in enumerate(self._genes):
            if not self.is_live(place, whole):
                whole.append(DEAD)
            else:
                whole.append(tokens[place] or rng.randint(1, len(gene.values)))
        return tuple(whole)

    def allows(self, tokens: Sequence[int]) -> bool:
        """Whether `valid` accepts a canonical sequence."""
        return self._allows(self._genotype(tokens))

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
        """How many genotypes there are, dead genes apart and before `valid` is asked."""
        asked = {other for conditions in self._conditions for other, _ in conditions}
        # Only the tokens that conditions ask about tell partial sequences apart.
        ways: Counter[Tokens] = Counter({(): 1})
        for place, size in enumerate(self.sizes):
            longer: Counter[Tokens] = Counter()
            for known, count in ways.items():
                options = range(1, size + 1) if self.is_live(place, known) else (DEAD,)
                if place in asked:
                    for token in options:
                        longer[(*known, token)] += count
                else:
                    longer[(*known, DEAD)] += count * len(options)
            ways = longer
        return ways.total()

    def sequences(self, start: Tokens = ()) -> Iterator[Tokens]:
        """All canonical sequences that begin with some tokens, in order, before `valid` is asked."""
        place = len(start)
        if place == len(self.names):
            yield start
        elif self.is_live(place, start):
            for token in range(1, len(self._genes[place].values) + 1):
                yield from self.sequences((*start, token))
        else:
            yield from self.sequences((*start, DEAD))

    def _genotype(self, tokens: Sequence[int]) -> Genotype:
        live = (place for place in range(len(self.names)) if self.is_live(place, tokens))
        return Genotype({self.names[place]: self._genes[place].values[tokens[place] - 1] for place in live})

    def _allows(self, genotype: Genotype) -> bool:
        return self.valid is None or bool(self.valid(genotype))
