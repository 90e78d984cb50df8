"""What can be asked of torch-scatter: sources, indexes and pointers of every kind of shape it documents."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Case(NamedTuple):
    """A source, an index (or pointers), and the dimension that it places along."""

    src: torch.Tensor
    place: torch.Tensor
    dim: int


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)), dtype=torch.float64)


def _index(high: int, *shape: int) -> torch.Tensor:
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(high + sum(shape)))


SCATTER = {
    "one dimension": Case(_random(40), _index(9, 40), 0),
    "rows": Case(_random(40, 5), _index(9, 40), 0),
    "wide rows": Case(_random(40, 35), _index(9, 40), 0),
    "along the last of two": Case(_random(4, 30), _index(7, 30), -1),
    "an index a row": Case(_random(4, 30), _index(7, 4, 30), 1),
    "broadcast in the first and last dimension": Case(_random(10, 6, 64), torch.tensor([0, 1, 0, 1, 2, 1]), 1),
    "an index a batch": Case(_random(3, 12, 4), _index(5, 3, 12), 1),
    "an index a batch, the last one missing": Case(_random(3, 12, 4), _index(5, 3, 12, 1), 1),
    "an index for all batches": Case(_random(3, 12, 4), _index(5, 1, 12), 1),
    "an index an element": Case(_random(3, 12, 4), _index(5, 3, 12, 4), 1),
    "an index an element, of rows": Case(_random(20, 6), _index(5, 20, 6), 0),
    "an expanded index": Case(_random(20, 6), _index(5, 20).unsqueeze(1).expand(-1, 6), 0),
    "in no memory order": Case(_random(6, 20).T, _index(5, 20), 0),
    "rows without entries": Case(_random(5, 3), torch.tensor([7, 2, 7, 2, 7]), 0),
    "integers": Case((_random(30, 3) * 10).long(), _index(6, 30), 0),
    "integers, an index an element": Case((_random(3, 12) * 10).int(), _index(5, 3, 12), 1),
}

SEGMENTS = {
    "one dimension": Case(_random(12), torch.tensor([0, 3, 3, 7, 12]), 0),
    "rows": Case(_random(12, 5), torch.tensor([0, 3, 3, 7, 12]), 0),
    "broadcast in the first and last dimension": Case(_random(10, 6, 64), torch.tensor([[0, 2, 5, 6]]), 1),
    "pointers a batch": Case(_random(2, 8, 3), torch.tensor([[0, 2, 5, 8], [0, 0, 8, 8]]), 1),
    "entries in no segment": Case(_random(12, 5), torch.tensor([2, 3, 3, 7, 10]), 0),
    "entries in no segment, pointers a batch": Case(_random(2, 8, 3), torch.tensor([[1, 2, 5], [0, 3, 7]]), 1),
    "integers": Case((_random(12, 2) * 10).long(), torch.tensor([0, 3, 3, 7, 12]), 0),
    "integers, entries in no segment": Case((_random(12, 2) * 10).long(), torch.tensor([1, 3, 3, 7, 11]), 0),
}
