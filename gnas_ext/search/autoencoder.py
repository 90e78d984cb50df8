"""How can one move between genotypes? They become points of a sphere: an encoder–decoder over their tokens.

An LSTM reads tokens to a point, a head says what losses to expect there, and an LSTM writes the tokens that a point
stands for (NAO, Luo et al., 2018). Reading and writing is also learnt from sequences without losses (SemiNAS, Luo et
al., 2020).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss, normalize

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gnas_ext.search.space import Tokens

EMBEDDING = 24
HIDDEN = 48
# Dimensions of the sphere's space.
LATENT = 64
STEPS = 300
BATCH = 48
RATE = 1e-2
# While it learns, points are moved by so many radii: so that what lies between them is written to something, too.
BLUR = 0.25


class AutoEncoder(nn.Module):
    """The three networks, with weights that follow from a seed alone; the caller's generators are left alone.

    Args:
        sizes: for each place of a sequence, how many values its gene has: its tokens are 0 … size.
        objectives: losses a genotype.
        seed: another seed, other weights.
    """

    def __init__(self, sizes: Sequence[int], objectives: int, seed: int) -> None:
        super().__init__()
        total = sum(sizes) + len(sizes)
        # Without values, so that nothing is drawn from the process's generator.
        with torch.device("meta"):
            self.embed = nn.Embedding(total + 1, EMBEDDING, dtype=torch.float32)  # the last one begins a sequence
            self.reader = nn.LSTM(EMBEDDING, HIDDEN, batch_first=True, dtype=torch.float32)
            self.point = nn.Linear(len(sizes) * (EMBEDDING + HIDDEN), LATENT, dtype=torch.float32)
            self.head = nn.Sequential(
                nn.Linear(LATENT, HIDDEN, dtype=torch.float32),
                nn.SiLU(),
                nn.Linear(HIDDEN, objectives, dtype=torch.float32),
            )
            self.hint = nn.Linear(LATENT, len(sizes) * HIDDEN, dtype=torch.float32)
            self.writer = nn.LSTM(EMBEDDING + HIDDEN, HIDDEN, batch_first=True, dtype=torch.float32)
            self.word = nn.Linear(2 * HIDDEN, total, dtype=torch.float32)
        self.to_empty(device="cpu")
        self._generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weights in self.parameters():
                reach = weights.shape[-1] ** -0.5
                weights.uniform_(-reach, reach, generator=self._generator)
            self.embed.weight.normal_(generator=self._generator)
        self._sizes = tuple(sizes)
        self._first = torch.tensor([sum(sizes[:place]) + place for place in range(len(sizes))])  # its token 0
        words = torch.arange(total)
        last = self._first + torch.tensor(self._sizes)
        self._not_of_place = (words < self._first[:, None]) | (words > last[:, None])

    def encode(self, words: Tensor) -> Tensor:
        """Points of the sphere, [rows, LATENT], for rows of words [rows, places]."""
        embedded = self.embed(words)
        read, _ = self.reader(embedded)
        return normalize(self.point(torch.cat([embedded, read], dim=2).flatten(1)), dim=1)

    def expect(self, points: Tensor) -> Tensor:
        """Losses to expect at points, [rows, objectives]."""
        expected: Tensor = self.head(points)
        return expected

    def words(self, sequences: Sequence[Tokens]) -> Tensor:
        """Token sequences as indices of the common vocabulary, [rows, places]."""
        return torch.tensor(sequences) + self._first

    def fit(self, known: Sequence[Tokens], losses: Sequence[Sequence[float]], others: Sequence[Tokens]) -> None:
        """Trains all three: on sequences with the losses that are to be expected there, and on others without."""
        generator = self._generator
        labelled, target = self.words(known), torch.tensor(losses, dtype=torch.float32)
        free = self.words([*known, *others])
        optimiser = torch.optim.Adam(self.parameters(), lr=RATE, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
        for _ in range(STEPS):
            rows = torch.randint(len(labelled), (BATCH // 2,), generator=generator)
            batch = torch.cat([labelled[rows], free[torch.randint(len(free), (BATCH // 2,), generator=generator)]])
            points = self.encode(batch)
            points = normalize(points + BLUR * LATENT**-0.5 * torch.randn(points.shape, generator=generator), dim=1)
            off = mse_loss(self.expect(points[: BATCH // 2]), target[rows])
            optimiser.zero_grad()
            misread = cross_entropy(self._written(points, batch).flatten(0, 1), batch.flatten())
            torch.autograd.backward(off + misread)
            optimiser.step()
            schedule.step()

    def _written(self, points: Tensor, words: Tensor) -> Tensor:
        """Logits [rows, places, vocabulary] of each word after those before it."""
        start = words.new_full((len(words), 1), self.embed.num_embeddings - 1)
        before = self.embed(torch.cat([start, words[:, :-1]], dim=1))
        hints = self._hints(points)
        hidden, _ = self.writer(torch.cat([before, hints], dim=2))
        likely: Tensor = self.word(torch.cat([hidden, hints], dim=2))
        return likely.masked_fill(self._not_of_place, -torch.inf)

    def _hints(self, points: Tensor) -> Tensor:
        """What a point says about each place, [rows, places, HIDDEN]."""
        hints: Tensor = self.hint(points)
        return hints.relu().reshape(len(hints), len(self._sizes), HIDDEN)

    @torch.no_grad()
    def decode(self, points: Tensor) -> list[Tokens]:
        """The sequences that points stand for, each token the likeliest after those before it; not yet canonical."""
        word = torch.full((len(points),), self.embed.num_embeddings - 1)
        hints = self._hints(points)
        state = None
        tokens = []
        for place, (first, size) in enumerate(zip(self._first.tolist(), self._sizes, strict=True)):
            seen = torch.cat([self.embed(word), hints[:, place]], dim=1)[:, None]
            hidden, state = self.writer(seen, state)
            likely = self.word(torch.cat([hidden[:, 0], hints[:, place]], dim=1))
            tokens.append(likely[:, first : first + size + 1].argmax(dim=1))
            word = tokens[-1] + first
        return [tuple(row) for row in torch.stack(tokens, dim=1).tolist()]

    def descend(
        self, points: Tensor, weights: Tensor, steps: int, stride: float, noise: float, seed: int
    ) -> list[Tensor]:
        """Points on the way to where less is lost: after each step down the head's slope, and astray.

        Args:
            points: where to start, [rows, LATENT].
            weights: how much each objective counts, [rows, objectives].
            steps: how many.
            stride: how far each goes down, in radii.
            noise: how far it goes astray, in strides.
            seed: another seed, another way.
        """
        generator = torch.Generator().manual_seed(seed)
        way = []
        for _ in range(steps):
            here = points.detach().requires_grad_()
            (slope,) = torch.autograd.grad((self.expect(here) * weights).sum(), here)
            astray = torch.randn(here.shape, generator=generator)
            step = normalize(slope, dim=1) + noise * normalize(astray, dim=1)
            points = normalize(here - stride * step, dim=1).detach()
            way.append(points)
        return way


@contextmanager
def reproducible() -> Iterator[None]:
    """Arithmetic on one thread, so that sums do not depend on how many there are; with gradients."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        torch.set_num_threads(threads)
