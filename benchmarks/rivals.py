"""Who else does what spmm does? Each as its users call it, with every conversion outside the timer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import scipy.sparse
import torch
from torch.nn.functional import embedding_bag

from gnas_ext import ops

if TYPE_CHECKING:
    from collections.abc import Callable

    from gnas_ext import CSR
    from gnas_ext.ops.spmm import Reduce

    Run = Callable[[], Any]
    Forward = Callable[[torch.Tensor], Any]

FORWARD: dict[Reduce, tuple[str, ...]] = {
    "sum": (
        "gnas_ext",
        "embedding_bag",
        "torch_csr",
        "torch_csr_reduce",
        "torch_coo",
        "index_add",
        "scatter_csr",
        "scatter",
        "scipy",
    ),
    "mean": ("gnas_ext", "embedding_bag", "torch_csr_reduce", "scatter_csr", "scatter"),
    "max": ("gnas_ext", "embedding_bag", "torch_csr_reduce", "scatter_csr", "scatter"),
}
BACKWARD = ("gnas_ext", "embedding_bag", "torch_csr", "torch_csr_reduce", "index_add", "scatter_csr", "scatter")


def torch_scatter() -> Any:
    """The package, or a skip that says how to get it."""
    return pytest.importorskip("torch_scatter", reason="torch-scatter is not installed: make install-bench (5 minutes)")


def forward(impl: str, csr: CSR, reduce: Reduce) -> Forward:
    """The rival's function of x. Only the sum is weighted: embedding_bag has no weights for the other two."""
    weight = csr.weight if reduce == "sum" else None
    ours = csr.with_weight(weight)
    values = torch.ones(csr.nnz) if weight is None else weight
    row, col = csr.row_index().long(), csr.indices.long()

    def messages(x: torch.Tensor) -> torch.Tensor:
        return x[col] if weight is None else x[col] * weight.unsqueeze(1)

    match impl:
        case "gnas_ext":
            return lambda x: ops.spmm(ours, x, reduce)
        case "embedding_bag":  # FBGEMM's kernel, the fastest that torch has
            return lambda x: embedding_bag(
                csr.indices, x, csr.indptr, mode=reduce, per_sample_weights=weight, include_last_offset=True
            )
        case "torch_csr":
            matrix = torch.sparse_csr_tensor(csr.indptr, csr.indices, values, csr.shape)
            return lambda x: matrix @ x
        case "torch_csr_reduce":  # in int64: with int32 indices torch 2.13 returns wrong gradients
            matrix = torch.sparse_csr_tensor(csr.indptr.long(), col, values, csr.shape)
            how = {"max": "amax"}.get(reduce, reduce)
            return lambda x: torch.sparse.mm(matrix, x, how)
        case "torch_coo":  # what most LightGCN codes use
            coo = torch.sparse_coo_tensor(torch.stack([row, col]), values, csr.shape).coalesce()
            return lambda x: torch.sparse.mm(coo, x)
        case "index_add":
            return lambda x: x.new_zeros(csr.rows, x.shape[1]).index_add_(0, row, messages(x))
        case "scatter_csr":
            segment = torch_scatter().segment_csr
            indptr = csr.indptr.long()
            return lambda x: segment(messages(x), indptr, reduce=reduce)
        case "scatter":  # PyG's message passing without torch-sparse
            scatter = torch_scatter().scatter
            return lambda x: scatter(messages(x), row, dim=0, dim_size=csr.rows, reduce=reduce)
        case "scipy":
            arrays = (values.numpy(), csr.indices.numpy(), csr.indptr.numpy())
            array = scipy.sparse.csr_array(arrays, shape=csr.shape)
            return lambda x: array @ x.numpy()
    raise ValueError(f"no rival named {impl}")


def backward(impl: str, csr: CSR, x: torch.Tensor, gradient: torch.Tensor) -> Run:
    """The gradient of the weighted sum to x alone; the forward, and our transpose, are outside the timer."""
    x = x.clone().requires_grad_()
    out = forward(impl, csr, "sum")(x)
    return lambda: torch.autograd.grad(out, x, gradient, retain_graph=True)[0]


def bytes_moved(csr: CSR, width: int, element: int = 4) -> int:
    """What any of them must at least read and write: a row of x an edge, indices, weights, row pointers, the output."""
    index = csr.indices.element_size()
    edge = width * element + index + (0 if csr.weight is None else element)
    return csr.nnz * edge + csr.rows * (width * element + index)
