"""How fast is a step of row-wise Adagrad on an int8 table, beside float32 in torch? A batch of 2048 rows.

Both step from a gradient that is there. Batches follow one another, so that rows are not all in the caches.
"""

from __future__ import annotations

from itertools import count, cycle
from typing import TYPE_CHECKING, Any

import torch

from benchmarks import suite
from gnas_ext import ops

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.suite import Run, Setting

BATCH, BATCHES, LR, EPS = 2048, 64, 0.01, 1e-10


def batches(setting: Setting) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Rows and their gradients."""
    random = torch.Generator(setting.device).manual_seed(0)
    rows = (setting.csr.cols, (BATCHES, BATCH))
    index = torch.randint(*rows, generator=random, device=setting.device)
    grad = setting.numbers(BATCH, setting.width)
    return [(part, grad) for part in index]


def probe(state: torch.Tensor) -> torch.Tensor:
    """A few numbers of the state, which steps of the same batches leave equal."""
    return state[:16].clone()


def gnas_ext(setting: Setting) -> Run:
    rows, state = ops.quantize_rows(setting.x), torch.zeros(setting.csr.cols, device=setting.device)
    steps: Iterator[Any] = zip(cycle(batches(setting)), count(), strict=False)

    def step() -> torch.Tensor:
        (index, grad), seed = next(steps)
        ops.embedding_update_int8(rows, index, grad, state, LR, EPS, seed)
        return probe(state)

    return step


def sparse(setting: Setting) -> Run:
    """With the sparse gradient that nn.EmbeddingBag(sparse=True) makes."""
    weight, state = setting.x.clone(), torch.zeros(setting.csr.cols, device=setting.device)
    found = [
        torch.sparse_coo_tensor(index.unsqueeze(0), grad, weight.shape, check_invariants=False)
        for index, grad in batches(setting)
    ]
    steps = cycle(found)

    def step() -> torch.Tensor:
        gradient = next(steps).coalesce()
        row, values = gradient.indices()[0], gradient.values()
        state.index_add_(0, row, values.square().mean(1))
        rate = LR / (state[row].sqrt() + EPS)
        weight.index_add_(0, row, values * rate.unsqueeze(1), alpha=-1)
        return probe(state)

    return step


FAMILIES = [
    suite.Family(
        "embedding_update_int8, batch 2048",
        None,
        {suite.OURS: gnas_ext, "EmbeddingBag's sparse gradient, float32": sparse},
        sizes=(64,),
        graphs=("power-law",),
    )
]


def bench_embedding_update(benchmark: Any, turn: suite.Turn) -> None:
    suite.measure(benchmark, turn)
