"""Which genotype to evaluate next.

First the recipes handed in, then random ones. From then on children of parents that won a tournament; with a predictor,
many of them, a few random ones among them and mutants of the most promising, of which it ranks one first. What is
proposed follows from the seed, the trial's number and the finished trials alone, so that a search that was cut off goes
on exactly as it would have; for minutes, also from what takes how long, and from what is at hand.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, NamedTuple

from gnas_ext.errors import InputError
from gnas_ext.search.features import Features
from gnas_ext.search.latent import Latent
from gnas_ext.search.operators import crossover, mutate
from gnas_ext.search.predictor import LEAST, Predictor
from gnas_ext.search.schedule import Schedule
from gnas_ext.search.selection import standings, survivors, tournament
from gnas_ext.search.space import DEAD
from gnas_ext.search.study import Stop, turned

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence, Set

    from gnas_ext.search.genotype import Genotype
    from gnas_ext.search.selection import Losses, Standing
    from gnas_ext.search.space import SearchSpace, Tokens
    from gnas_ext.search.study import Direction
    from gnas_ext.search.trial import Origin, Trial

# How often a child has two parents; the others are mutants.
CROSSOVER = 0.3
# With a predictor: how many candidates come from the population, some of them drawn at random; how often so many
# mutants of the most promising follow; and how many those are.
CANDIDATES = 24
STRANGERS = 4
ROUNDS = 3
PROMISING = 6
# A normal score better than any: several objectives are weighed by how far they are from it.
IDEAL = -3.5
# How often to try for a new child, for each that is wanted, and then for a random genotype that is new.
TRIES = 3
DRAWS = 1_000
# Up to this size a space is looked through to the end before the search gives up.
ENUMERABLE = 200_000


class Proposal(NamedTuple):
    """A token sequence to evaluate, where it comes from, and what share of a full evaluation it gets."""

    tokens: Tokens
    origin: Origin
    parents: tuple[int, ...] = ()
    fidelity: float = 1.0


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
        size: members of the population; with the recipes, random genotypes make up as many trials at first, or half as
            many but at least 8 with a predictor.
        initial: token sequences to try first, all different.
        predict: whether a predictor ranks children; without one, each child is taken as it comes.
        decode: whether an encoder–decoder adds to the children that a predictor ranks.
        expected, spared, first_share: see `Schedule`.
    """

    def __init__(
        self,
        space: SearchSpace,
        directions: Sequence[Direction],
        seed: int,
        size: int,
        initial: Sequence[Tokens],
        predict: bool = True,
        decode: bool = False,
        expected: Callable[[Genotype], float] | None = None,
        spared: Callable[[Genotype], float] | None = None,
        first_share: float = 0.0,
    ) -> None:
        self._space = space
        self._directions = directions
        self._seed = seed
        self._size = size
        self._initial = initial
        self._seen: set[Tokens] = set()
        self._running: Set[Tokens] = frozenset()
        self._population: list[_Member] = []
        self._standing: list[Standing] = []
        self._features = Features(space)
        self._predictor = Predictor() if predict else None
        self._latent = Latent(space, seed) if decode else None
        self._schedule = Schedule(space, self._features, expected, spared, first_share)
        self._too_long = False
        # A predictor needs fewer to begin with than selection does.
        self._starters = max(size // 2, LEAST) if predict else size

    def learn(self, trial: Trial) -> None:
        """Takes in a finished trial: it is never proposed again, and if it is fit enough it has children."""
        tokens = self._space.encode(trial.genotype)
        self.know(tokens)
        self._schedule.learn(tokens, trial)
        complete = trial.state == "complete"
        # What is like a failure is expected to be last.
        losses = turned(trial.values, self._directions) if complete else (math.inf,) * len(self._directions)
        if self._predictor is not None:
            self._predictor.learn(self._features(tokens), losses)
        if complete:
            if self._latent is not None:
                self._latent.learn(trial.number, tokens, losses)
            self._population.append(_Member(trial.number, tokens, losses))
            if len(self._population) > self._size:
                stay = survivors([member.losses for member in self._population], self._size)
                self._population = [self._population[place] for place in stay]
            self._standing = standings([member.losses for member in self._population])

    def limit_initial(self, seconds: float) -> None:
        """Of what is left of `initial`, only what is expected to take no longer is proposed; nothing below 0."""
        self._schedule.initial_within = seconds

    def know(self, tokens: Tokens) -> None:
        """Never proposes these."""
        self._seen.add(tokens)

    def propose(self, number: int, running: Set[Tokens] = frozenset(), within: float = math.inf) -> Proposal | Stop:
        """What the trial of a number evaluates, or why there is nothing left to do; never what was or is evaluated.

        Args:
            number: of the trial.
            running: what is being evaluated.
            within: seconds that it may be expected to take.

        Raises:
            InputError: the space's `valid` refuses everything.
        """
        self._running, self._schedule.within, self._too_long = running, within, False
        if self._schedule.over:
            return Stop.MINUTES
        # Not by their numbers: of those that ran side by side when a search was cut off, any may be missing.
        for tokens in self._initial:
            if self._is_new(tokens) and self._schedule.begins_with(tokens):
                return Proposal(tokens, "initial")
        rng = random.Random(f"{self._seed}/{number}")
        child = self._child(rng) if number >= self._starters and self._population else None
        return child or self._unseen(rng)

    def _is_new(self, tokens: Tokens) -> bool:
        return tokens not in self._seen and tokens not in self._running and self._fits(tokens)

    def _fits(self, tokens: Tokens) -> bool:
        """Whether a genotype is expected to take no longer than it may."""
        if self._schedule.fits(tokens):
            return True
        self._too_long = True
        return False

    def _child(self, rng: random.Random) -> Proposal | None:
        """A new child of the population, if a few tries give one."""
        if self._predictor is None or len(self._predictor) < LEAST:
            children = self._new(1, lambda: self._heir(rng))
            return next(iter(children), None)
        children = self._new(STRANGERS, lambda: self._stranger(rng))
        children += self._new(CANDIDATES - len(children), lambda: self._heir(rng))
        if self._latent is not None:
            known = {child.tokens for child in children}
            decoded = [Proposal(one.tokens, "decoder", (one.number,)) for one in self._latent.candidates()]
            children += [one for one in decoded if self._is_new(one.tokens) and one.tokens not in known]
        weights = [rng.expovariate(1.0) for _ in self._directions]
        first = self._schedule.first_alone(rng)
        if first:
            weights[1:] = [0.0] * (len(weights) - 1)
        merits = self._merits(children, weights)
        for _ in range(ROUNDS):
            mutants = self._mutants_of([children[place] for place in _smallest(merits, PROMISING)], rng)
            known = {child.tokens for child in children}
            more = [child for child in mutants if child.tokens not in known]
            children += more
            merits += self._merits(more, weights)
        best = [children[place] for place in _smallest(merits, PROMISING)]
        # The predictor hardly tells these apart; so while minutes count, it is one whose work is half done already.
        begun = [child for child in best if self._schedule.is_half_done(child.tokens)]
        child = next(iter([*begun, *best]), None)
        if child:
            self._schedule.take(child.tokens, first)
        return child

    def _new(self, wanted: int, draw: Callable[[], Proposal | None]) -> list[Proposal]:
        """Up to so many different proposals of what was never evaluated."""
        found: dict[Tokens, Proposal] = {}
        for _ in range(TRIES * max(wanted, PROMISING)):
            proposal = draw()
            if proposal and self._is_new(proposal.tokens):
                found.setdefault(proposal.tokens, proposal)
            if len(found) == wanted:
                break
        return list(found.values())

    def _merits(self, children: Sequence[Proposal], weights: Sequence[float]) -> list[float]:
        """One number a child, the smaller the better: of several objectives the worst, under weights.

        As each proposal draws weights anew, what is taken spreads along the front (Knowles, 2006, ParEGO).
        """
        if not children or self._predictor is None:
            return []
        expected = self._predictor.predict([self._features(child.tokens) for child in children])
        weighted = (expected - IDEAL) * weights
        merits: list[float] = (weighted.max(axis=1) + 0.05 * weighted.sum(axis=1)).tolist()
        return merits

    def _mutants_of(self, promising: Sequence[Proposal], rng: random.Random) -> list[Proposal]:
        """New mutants of candidates, each with the parents of its candidate."""

        def draw() -> Proposal | None:
            child = rng.choice(promising)
            tokens = mutate(self._space, child.tokens, rng)
            return child._replace(tokens=tokens) if tokens else None

        return self._new(CANDIDATES, draw) if promising else []

    def _stranger(self, rng: random.Random) -> Proposal | None:
        tokens = self._space.repair((DEAD,) * len(self._space.names), rng)
        return Proposal(tokens, "random") if self._space.allows(tokens) else None

    def _heir(self, rng: random.Random) -> Proposal | None:
        mother = self._population[tournament(self._standing, rng)]
        father = self._population[tournament(self._standing, rng)]
        if rng.random() < CROSSOVER and father is not mother:
            return self._cross(mother, father, rng)
        return self._mutant(mother, rng)

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
            stranger = self._stranger(rng)
            if stranger and self._is_new(stranger.tokens):
                return stranger
        if self._too_long:
            return Stop.MINUTES
        enumerable = space.size() <= ENUMERABLE
        if enumerable:
            rest = [tokens for tokens in space.sequences() if self._is_new(tokens) and space.allows(tokens)]
            if rest:
                return Proposal(rng.choice(rest), "random")
        if not self._seen and not self._running:
            tried = f"all {space.size():,} genotypes" if enumerable else f"{DRAWS:,} random genotypes"
            raise InputError(
                f"the space's `valid` refuses {tried}: loosen it, or hand in `initial` ones that are valid"
            )
        return Stop.EXHAUSTED if enumerable else Stop.NOTHING_NEW


def _smallest(numbers: Sequence[float], count: int) -> list[int]:
    """The places of the smallest, in order."""
    return sorted(range(len(numbers)), key=numbers.__getitem__)[:count]
