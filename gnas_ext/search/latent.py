"""Which candidates does moving in a learnt space give? The decoder among the proposer's sources.

An encoder–decoder (`autoencoder`) is trained from scratch on the complete trials whenever there are half as many again,
and from the best of them on, points further and further down its head's slope are decoded. What comes of it follows
from the seed and the trials alone: after a resumption, the last training is done again.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

from gnas_ext.search.predictor import normal_scores
from gnas_ext.search.selection import survivors
from gnas_ext.search.space import DEAD

if TYPE_CHECKING:
    from gnas_ext.search.autoencoder import AutoEncoder
    from gnas_ext.search.selection import Losses
    from gnas_ext.search.space import SearchSpace, Tokens

# Complete trials at the first training; at each later one there are more by this factor.
FIRST = 20
GROWTH = 1.5
# The best of so many at most are trained on, besides random sequences without losses.
MOST = 512
UNLABELLED = 1024
# Decoded anew after so many complete trials: from so many of the best on, so many steps each, of so many radii.
EVERY = 10
STARTS = 8
STEPS = 6
STRIDE = 0.3
# How far each step goes astray, for one down the slope: the slope alone leads to what is known.
NOISE = 2.5


class Decoded(NamedTuple):
    """A canonical token sequence that the space allows, and the number of the trial that it was reached from."""

    tokens: Tokens
    number: int


class Latent:
    """Learns from complete trials in order; the same trials in the same order give the same candidates.

    Args:
        space: where to search.
        seed: another seed, another encoder–decoder.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self._space = space
        self._seed = seed
        self._numbers: list[int] = []
        self._tokens: list[Tokens] = []
        self._losses: list[Losses] = []
        self._trained_at = 0
        self._decoded_at = 0
        self._network: AutoEncoder | None = None
        self._pool: list[Decoded] = []

    def learn(self, number: int, tokens: Tokens, losses: Losses) -> None:
        """Takes in a complete trial."""
        self._numbers.append(number)
        self._tokens.append(tokens)
        self._losses.append(losses)

    def candidates(self) -> list[Decoded]:
        """What was decoded last, each sequence once; none before the first training. Some may be evaluated by now."""
        count = len(self._tokens) // EVERY * EVERY
        if count >= FIRST and count != self._decoded_at:
            from gnas_ext.search.autoencoder import reproducible

            with reproducible():
                self._pool = self._decode(count, self._trained(count))
            self._decoded_at = count
        return self._pool

    def _trained(self, count: int) -> AutoEncoder:
        """The network of the last training at or before so many trials."""
        at = FIRST
        while int(at * GROWTH) <= count:
            at = int(at * GROWTH)
        if self._network is None or at != self._trained_at:
            from gnas_ext.search.autoencoder import AutoEncoder

            rng = random.Random(f"{self._seed}/encoder/{at}")
            kept = survivors(self._losses[:at], min(at, MOST))
            scores = normal_scores(self._losses[:at])[kept].tolist()
            self._network = AutoEncoder(self._space.sizes, len(self._losses[0]), rng.getrandbits(63))
            others = [self._space.repair((DEAD,) * len(self._space.sizes), rng) for _ in range(UNLABELLED)]
            self._network.fit([self._tokens[place] for place in kept], scores, others)
            self._trained_at = at
        return self._network

    def _decode(self, count: int, network: AutoEncoder) -> list[Decoded]:
        """What the network makes of the best of the first so many trials."""
        import torch

        rng = random.Random(f"{self._seed}/decoder/{count}")
        starts = survivors(self._losses[:count], STARTS)
        points = network.encode(network.words([self._tokens[place] for place in starts]))
        weights = torch.tensor([[rng.expovariate(1.0) for _ in self._losses[0]] for _ in starts], dtype=torch.float32)
        found: dict[Tokens, Decoded] = {}
        for step in network.descend(points, weights, STEPS, STRIDE, NOISE, rng.getrandbits(63)):
            for start, raw in zip(starts, network.decode(step), strict=True):
                tokens = self._space.repair(raw, rng)
                if self._space.allows(tokens):
                    found.setdefault(tokens, Decoded(tokens, self._numbers[start]))
        return list(found.values())
