"""How new candidates come from old ones: crossover and mutation of token sequences.

Each gives a canonical sequence that the space allows, or None where `ATTEMPTS` tries gave none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

    from gnas_ext.search.space import SearchSpace, Tokens

ATTEMPTS = 100
# How often an ordinal gene moves to one of its two neighbours, rather than anywhere.
NEIGHBOUR = 0.7


def crossover(space: SearchSpace, mother: Tokens, father: Tokens, rng: random.Random) -> Tokens | None:
    """Uniform crossover: each gene from either parent; where it is dead in that one, from the other."""
    for _ in range(ATTEMPTS):
        pairs = ((a, b) if rng.random() < 0.5 else (b, a) for a, b in zip(mother, father, strict=True))
        child = space.repair([first or second for first, second in pairs], rng)
        if space.allows(child):
            return child
    return None


def mutate(space: SearchSpace, tokens: Tokens, rng: random.Random) -> Tokens | None:
    """Changes one live gene, and of the others one more on average."""
    mutable = [place for place, (token, size) in enumerate(zip(tokens, space.sizes, strict=True)) if token and size > 1]
    if not mutable:
        return None
    share = 1 / len(mutable)
    for _ in range(ATTEMPTS):
        mutant = list(tokens)
        sure = rng.choice(mutable)
        for place in mutable:
            if place == sure or rng.random() < share:
                mutant[place] = _other(space, place, tokens[place], rng)
        child = space.repair(mutant, rng)
        if space.allows(child):
            return child
    return None


def _other(space: SearchSpace, place: int, token: int, rng: random.Random) -> int:
    """Another token of the gene at a place."""
    size = space.sizes[place]
    if space.ordinals[place] and rng.random() < NEIGHBOUR:
        return rng.choice([near for near in (token - 1, token + 1) if 1 <= near <= size])
    other = rng.randrange(size - 1) + 1
    return other + 1 if other >= token else other
