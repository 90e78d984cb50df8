"""How fast is sddmm, beside what people use?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from benchmarks import ceiling, rivals, suite
from gnas_ext import ops

if TYPE_CHECKING:
    from benchmarks.suite import Run, Setting


def gnas_ext(setting: Setting) -> Run:
    csr, a, b = setting.csr, setting.gradient, setting.x
    return lambda: ops.sddmm(csr, a, b)


def sampled_addmm(setting: Setting) -> Run:
    """What torch has: MKL on the CPU, cuSPARSE on CUDA."""
    csr, a, b = setting.csr, setting.gradient, setting.x.t()
    pattern = torch.sparse_csr_tensor(csr.indptr, csr.indices, torch.zeros_like(setting.weight), csr.shape)
    return lambda: torch.sparse.sampled_addmm(pattern, a, b, beta=0.0).values()


def gathered(setting: Setting) -> Run:
    """Both ends of every edge as rows, as PyG's message passing has them."""
    setting.messages(tensors=3)
    row, col, a, b = setting.row, setting.col, setting.gradient, setting.x
    return lambda: (a[row] * b[col]).sum(1)


def numba(setting: Setting) -> Run:
    setting.on_the_cpu()
    kernel, csr = rivals.compiled("sddmm"), setting.csr
    arrays = (csr.indptr.numpy(), csr.indices.numpy(), setting.gradient.numpy(), setting.x.numpy())
    return lambda: torch.from_numpy(kernel(*arrays))


FAMILIES = [
    suite.Family(
        "sddmm",
        suite.Target(2.8, 1.6),
        {
            suite.OURS: gnas_ext,
            "sampled_addmm": sampled_addmm,
            "gather": gathered,
            "numba": numba,
            suite.CEILING: ceiling.gather,
        },
    )
]


def bench_sddmm(benchmark: Any, turn: suite.Turn) -> None:
    suite.measure(benchmark, turn)
