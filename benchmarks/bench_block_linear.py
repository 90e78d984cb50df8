"""How fast is a dense layer with half of its blocks, beside all of them and beside torch?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import linear

from benchmarks import suite
from gnas_ext import ops

if TYPE_CHECKING:
    from benchmarks.suite import Run, Setting

ROWS = 4096
BLOCK = 16


def numbers(setting: Setting) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x, a square weight, and a mask of half of its blocks."""
    side = setting.width // BLOCK
    order = setting.numbers(side * side, seed=2).argsort()
    mask = torch.zeros_like(order, dtype=torch.bool).index_fill_(0, order[: side * side // 2], True)
    x, weight = setting.numbers(ROWS, setting.width), setting.numbers(setting.width, setting.width, seed=1)
    return x, weight, mask.view(side, side)


def gnas_ext(setting: Setting) -> Run:
    x, weight, mask = numbers(setting)
    return lambda: ops.block_linear(x, weight, mask)


def every_block(setting: Setting) -> Run:
    x, weight, mask = numbers(setting)
    all_of_them = torch.ones_like(mask)
    return lambda: ops.block_linear(x, weight, all_of_them)


def torch_dense(setting: Setting) -> Run:
    """MKL, cuBLAS on CUDA, on the weight with zeros, which is what a mask costs without a kernel for it."""
    x, weight, mask = numbers(setting)
    masked = weight * mask.repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1)
    return lambda: linear(x, masked)


SIZES, GRAPHS = (256, 1024), ("ten-nodes",)
FAMILIES = [
    suite.Family(
        "block_linear, half of the blocks",
        suite.Target(1.0, 1.0),
        {suite.OURS: gnas_ext, "torch dense": torch_dense},
        sizes=SIZES,
        graphs=GRAPHS,
    ),
    suite.Family(
        "block_linear, half of the blocks beside all",
        suite.Target(1.5, 1.5),
        {suite.OURS: gnas_ext, "every block": every_block},
        sizes=SIZES,
        graphs=GRAPHS,
        same_numbers=False,
    ),
]


def bench_block_linear(benchmark: Any, turn: suite.Turn) -> None:
    suite.measure(benchmark, turn)
