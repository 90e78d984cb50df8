"""How much time do pruned column blocks save, beside our own unpruned spmm?

The rival computes more, so its numbers are others: the saving is what is measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from benchmarks import suite
from gnas_ext import ops

if TYPE_CHECKING:
    from benchmarks.suite import Run, Setting

GROUPS = 4
BLOCK = 16


def half(setting: Setting, groups: int) -> torch.Tensor:
    """A mask by group, of half of the blocks each, drawn at random."""
    blocks = setting.width // BLOCK
    order = setting.numbers(groups, blocks, seed=2).argsort(1)
    return torch.zeros_like(order, dtype=torch.bool).scatter_(1, order[:, : blocks // 2], True)


def by_degree(setting: Setting) -> torch.Tensor:
    """The quarter by degree that each node belongs to."""
    rank = setting.csr.degree().argsort(stable=True).argsort()
    return (rank * GROUPS // len(rank)).to(torch.uint8)


def layer(setting: Setting) -> Run:
    csr, x, blocks = setting.csr, setting.x, half(setting, 1)
    return lambda: ops.spmm_blocks(csr, x, blocks)


def layer_compacted(setting: Setting) -> Run:
    csr = setting.csr
    narrow = ops.compact_blocks(setting.x, half(setting, 1)).values.view(csr.cols, -1)
    return lambda: ops.spmm(csr, narrow)


def degree_groups(setting: Setting) -> Run:
    csr, x, blocks, group = setting.csr, setting.x, half(setting, GROUPS), by_degree(setting)
    return lambda: ops.spmm_blocks(csr, x, blocks, group)


def degree_groups_compacted(setting: Setting) -> Run:
    csr, rows = setting.csr, ops.compact_blocks(setting.x, half(setting, GROUPS), by_degree(setting))
    return lambda: ops.spmm_ragged(csr, rows)


def unpruned(setting: Setting) -> Run:
    csr, x = setting.csr, setting.x
    return lambda: ops.spmm(csr, x)


def family(name: str, ours: Any) -> suite.Family:
    implementations = {suite.OURS: ours, "unpruned spmm": unpruned}
    return suite.Family(name, suite.Target(1.7, 1.7), implementations, sizes=(64, 128, 256), same_numbers=False)


FAMILIES = [
    family("half of the column blocks", layer),
    family("half of the column blocks, compacted", layer_compacted),
    family("half of the column blocks by degree", degree_groups),
    family("half of the column blocks by degree, compacted", degree_groups_compacted),
]


def bench_column_blocks(benchmark: Any, turn: suite.Turn) -> None:
    suite.measure(benchmark, turn)
