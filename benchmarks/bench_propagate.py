"""How fast are three hops with their mean, LightGCN's forward and backward, beside what people use?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks import bench_spmm, rivals, suite
from gnas_ext import ops

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from benchmarks.bench_spmm import Forward
    from benchmarks.suite import Prepare, Run, Setting

HOPS = 3
WEIGHTS = [1 / (HOPS + 1)] * (HOPS + 1)


def ours(setting: Setting) -> Run:
    csr = setting.csr
    return rivals.forward_and_backward(lambda x: ops.propagate(csr, x, WEIGHTS), setting.gradient, setting.x)


def hops_of(make: Callable[..., Forward]) -> Prepare:
    """Hop after hop of a rival's product, each kept for the mean, as LightGCN's authors have it."""

    def prepare(setting: Setting) -> Run:
        if make in bench_spmm.MESSAGES:
            setting.messages(tensors=2 * HOPS + 2)
        product = make(setting)

        def forward(x: torch.Tensor) -> torch.Tensor:
            layers = [x]
            for _ in range(HOPS):
                layers.append(product(layers[-1]))
            return sum(layers[1:], layers[0]) / (HOPS + 1)

        return rivals.forward_and_backward(forward, setting.gradient, setting.x)

    return prepare


RIVALS = (
    "embedding_bag",
    "torch CSR",
    "torch CSR reduce=",
    "torch_sparse",
    "torch COO",
    "index_add",
    "scatter_csr",
    "PyG scatter",
)
FAMILIES = [
    suite.Family(
        "propagate, 3 hops, forward + backward",
        suite.Target(4.0, 2.0),
        {suite.OURS: ours, **{name: hops_of(bench_spmm.SUM[name]) for name in RIVALS}},
    )
]


def bench_propagate(benchmark: Any, turn: suite.Turn) -> None:
    suite.measure(benchmark, turn)
