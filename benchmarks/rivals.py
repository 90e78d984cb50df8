"""How are the rivals called? As their users call them, with every conversion before the timer starts.

What several ops share stands here; a rival of one op alone stands in that op's file.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.suite import UnableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.suite import Run, Setting

INSTALL = {
    "torch_scatter": "make install-bench (5 minutes)",
    "torch_sparse": "pip install --no-build-isolation torch-sparse (35 minutes)",
}


def peer(name: str) -> Any:
    """A rival's module, or the reason why it is not there and the command that brings it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UnableError(f"not installed: {INSTALL.get(name.split('.')[0], 'make install-bench')}") from None


def torch_csr(setting: Setting, wide: bool = False) -> torch.Tensor:
    """The weighted graph as torch's CSR; wide: with int64 indices."""
    csr = setting.csr
    indptr, indices = (setting.indptr, setting.col) if wide else (csr.indptr, csr.indices)
    return torch.sparse_csr_tensor(indptr, indices, setting.weight, csr.shape)


def torch_coo(setting: Setting) -> torch.Tensor:
    """The weighted graph as torch's COO, coalesced, as most LightGCN codes keep it."""
    entries = torch.stack([setting.row, setting.col])
    return torch.sparse_coo_tensor(entries, setting.weight, setting.csr.shape).coalesce()


def messages(setting: Setting) -> Callable[[torch.Tensor], torch.Tensor]:
    """What index_add, torch-scatter and PyG make first: a weighted row of x an edge."""
    setting.messages(tensors=2)
    col, weight = setting.col, setting.weight.unsqueeze(1)
    return lambda x: x[col] * weight


def gradient_to_x(forward: Callable[[torch.Tensor], torch.Tensor], setting: Setting) -> Run:
    """The backward alone: the gradient of an output, given once, to the features."""
    x = setting.x.clone().requires_grad_()
    out, gradient = forward(x), setting.gradient
    return lambda: torch.autograd.grad(out, x, gradient, retain_graph=True)[0]


def forward_and_backward(forward: Callable[..., torch.Tensor], gradient: torch.Tensor, *leaves: torch.Tensor) -> Run:
    """A step of training: the output and the gradients to all leaves, which are copied."""
    own = [leaf.detach().clone().requires_grad_() for leaf in leaves]

    def step() -> tuple[torch.Tensor, ...]:
        out = forward(*own)
        return out, *torch.autograd.grad(out, own, gradient)

    return step


def compiled(name: str) -> Any:
    """A kernel in numba with as many threads as the others have."""
    peer("numba").set_num_threads(min(torch.get_num_threads(), peer("numba").config.NUMBA_NUM_THREADS))
    return getattr(importlib.import_module("benchmarks.kernels"), name)
