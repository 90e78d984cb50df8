"""Which genotype to evaluate next.

First the recipes handed in, then random ones until the population is full; from then on children of parents that won a
tournament. What is proposed follows from the seed, the trial's number and the finished trials alone, so that a search
that was cut off goes on exactly as it would have.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

from gnas_ext.errors import InputError
from gnas_ext.search.operators import crossover, mutate
from gnas_ext.search.selection import standings, survivors, tournament
from gnas_ext.search.space import DEAD
from gnas_ext.search.study import Stop, turned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gnas_ext.search.selection import Losses
    from gnas_ext.search.space import SearchSpace, Tokens
    from gnas_ext.search.study import Direction
    from gnas_ext.search.trial import Origin, Trial

# How often a child has two parents; the others are mutants.
CROSSOVER = 0.5
# How often to try for a child, and then for a random genotype, that is new.
CHILDREN = 50
DRAWS = 1_000
# Up to this size a space is looked through to the end before the search gives up.
ENUMERABLE = 200_000


class Proposal(NamedTuple):
    """A token sequence to evaluate, and where it comes from."""

    tokens: Tokens
    origin: Origin
    parents: tuple[int, ...] = ()


class _Member(NamedTuple):
    number: int
    tokens: Tokens
    losses: Losses


class Proposer:
    """Learns from trials in order, and proposes new ones.

    Args:
        space: where to search.
        directions: "maximize" or "minimize", one an objective.
        seed: another seed, another search.
        size: members of the population; with the recipes, random genotypes make up the first `size` trials.
        initial: token sequences to try first, all different.
    """

    def __init__(
        self, space: SearchSpace, directions: Sequence[Direction], seed: int, size: int, initial: Sequence[Tokens]
    ) -> None:
        self._space = space
        self._directions = directions
        self._seed = seed
        self._size = size
        self._initial = initial
        self._seen: set[Tokens] = set()
        self._population: list[_Member] = []

    def learn(self, trial: Trial) -> None:
        """Takes in a finished trial: it is never proposed again, and if it is fit enough it has children."""
        tokens = self._space.encode(trial.genotype)
        self._seen.add(tokens)
        if trial.state == "complete":
            self._population.append(_Member(trial.number, tokens, turned(trial.values, self._directions)))
            if len(self._population) > self._size:
                stay = survivors([member.losses for member in self._population], self._size)
                self._population = [self._population[place] for place in stay]

    def propose(self, number: int) -> Proposal | Stop:
        """What the trial of a number evaluates, never what was evaluated before; or why there is nothing left to do.

        Raises:
            InputError: the space's `valid` refuses everything.
        """
        if number < len(self._initial):
            return Proposal(self._initial[number], "initial")
        rng = random.Random(f"{self._seed}/{number}")
        child = self._child(rng) if number >= self._size and self._population else None
        return child or self._unseen(rng)

    def _child(self, rng: random.Random) -> Proposal | None:
        """A new child of the population, if a few tries give one."""
        standing = standings([member.losses for member in self._population])
        for _ in range(CHILDREN):
            mother = self._population[tournament(standing, rng)]
            father = self._population[tournament(standing, rng)]
            if rng.random() < CROSSOVER and father is not mother:
                proposal = self._cross(mother, father, rng)
            else:
                proposal = self._mutant(mother, rng)
            if proposal and proposal.tokens not in self._seen:
                return proposal
        return None

    def _cross(self, mother: _Member, father: _Member, rng: random.Random) -> Proposal | None:
        child = crossover(self._space, mother.tokens, father.tokens, rng)
        return Proposal(child, "crossover", (mother.number, father.number)) if child else None

    def _mutant(self, mother: _Member, rng: random.Random) -> Proposal | None:
        child = mutate(self._space, mother.tokens, rng)
        return Proposal(child, "mutation", (mother.number,)) if child else None

    def _unseen(self, rng: random.Random) -> Proposal | Stop:
        """A new genotype, drawn at random; found by looking through all of a small space where drawing fails."""
        space = self._space
        for _ in range(DRAWS):
            tokens = space.repair((DEAD,) * len(space.names), rng)
            if tokens not in self._seen and space.allows(tokens):
                return Proposal(tokens, "random")
        enumerable = space.size() <= ENUMERABLE
        if enumerable:
            rest = [tokens for tokens in space.sequences() if tokens not in self._seen and space.allows(tokens)]
            if rest:
                return Proposal(rng.choice(rest), "random")
        if not self._seen:
            tried = f"all {space.size():,} genotypes" if enumerable else f"{DRAWS:,} random genotypes"
            raise InputError(
                f"the space's `valid` refuses {tried}: loosen it, or hand in `initial` ones that are valid"
            )
        return Stop.EXHAUSTED if enumerable else Stop.NOTHING_NEW
