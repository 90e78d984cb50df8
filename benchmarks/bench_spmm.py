"""How fast is spmm, beside what people use?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import embedding_bag

from benchmarks import ceiling, rivals, suite
from gnas_ext import ops

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.suite import Prepare, Run, Setting
    from gnas_ext.ops.spmm import Reduce

    Forward = Callable[[torch.Tensor], torch.Tensor]


def gnas_ext(setting: Setting, reduce: Reduce = "sum") -> Forward:
    csr = setting.csr if reduce == "sum" else setting.unweighted
    return lambda x: ops.spmm(csr, x, reduce)


def bag(setting: Setting, reduce: Reduce = "sum") -> Forward:
    """FBGEMM's kernel, the fastest that torch has. It has weights for the sum alone."""
    csr, weight = setting.csr, setting.weight if reduce == "sum" else None
    return lambda x: embedding_bag(
        csr.indices, x, csr.indptr, mode=reduce, per_sample_weights=weight, include_last_offset=True
    )


def torch_csr(setting: Setting, reduce: Reduce = "sum") -> Forward:
    matrix = rivals.torch_csr(setting)
    return lambda x: matrix @ x


def torch_csr_reduce(setting: Setting, reduce: Reduce = "sum") -> Forward:
    """In int64: with int32 indices torch 2.13 returns wrong gradients."""
    setting.on_the_cpu()
    matrix = rivals.torch_csr(setting, wide=True)
    if reduce != "sum":
        matrix = torch.sparse_csr_tensor(setting.indptr, setting.col, torch.ones_like(setting.weight), matrix.shape)
    how = {"max": "amax", "min": "amin"}.get(reduce, reduce)
    return lambda x: torch.sparse.mm(matrix, x, how)


def torch_coo(setting: Setting, reduce: Reduce = "sum") -> Forward:
    """What most LightGCN codes use."""
    matrix = rivals.torch_coo(setting)
    return lambda x: torch.sparse.mm(matrix, x)


def index_add(setting: Setting, reduce: Reduce = "sum") -> Forward:
    setting.wide_on_cuda()
    message, row = rivals.messages(setting), setting.row
    return lambda x: x.new_zeros(setting.csr.rows, x.shape[1]).index_add_(0, row, message(x))


def message_of(setting: Setting, reduce: Reduce) -> Forward:
    if reduce == "sum":
        return rivals.messages(setting)
    setting.messages()
    return lambda x: x[setting.col]


def scatter_csr(setting: Setting, reduce: Reduce = "sum") -> Forward:
    segment = rivals.peer("torch_scatter").segment_csr
    message, indptr = message_of(setting, reduce), setting.indptr
    return lambda x: segment(message(x), indptr, reduce=reduce)


def torch_scatter(setting: Setting, reduce: Reduce = "sum") -> Forward:
    scatter = rivals.peer("torch_scatter").scatter
    message, row = message_of(setting, reduce), setting.row
    return lambda x: scatter(message(x), row, dim=0, dim_size=setting.csr.rows, reduce=reduce)


def pyg_scatter(setting: Setting, reduce: Reduce = "sum") -> Forward:
    """PyG's message passing without torch-sparse."""
    scatter = rivals.peer("torch_geometric.utils").scatter
    message, row = message_of(setting, reduce), setting.row
    return lambda x: scatter(message(x), row, dim=0, dim_size=setting.csr.rows, reduce=reduce)


def torch_sparse(setting: Setting, reduce: Reduce = "sum") -> Forward:
    """What PyG's layers take for fast, where it could be built."""
    peer = rivals.peer("torch_sparse")
    value = setting.weight if reduce == "sum" else None
    matrix = peer.SparseTensor(rowptr=setting.indptr, col=setting.col, value=value, sparse_sizes=setting.csr.shape)
    return lambda x: peer.matmul(matrix, x, reduce=reduce)


def scipy(setting: Setting, reduce: Reduce = "sum") -> Forward:
    setting.on_the_cpu()
    csr = setting.csr
    arrays = (setting.weight.numpy(), csr.indices.numpy(), csr.indptr.numpy())
    array = rivals.peer("scipy.sparse").csr_array(arrays, shape=csr.shape)
    return lambda x: torch.from_numpy(array @ x.numpy())


def numba(setting: Setting, reduce: Reduce = "sum") -> Forward:
    """The loop that one writes, in parallel over rows."""
    setting.on_the_cpu()
    multiply = rivals.compiled("spmm")
    csr = setting.csr
    arrays = (csr.indptr.numpy(), csr.indices.numpy(), setting.weight.numpy())
    return lambda x: torch.from_numpy(multiply(*arrays, x.numpy()))


SUM: dict[str, Callable[..., Forward]] = {
    suite.OURS: gnas_ext,
    "embedding_bag": bag,
    "torch CSR": torch_csr,
    "torch CSR reduce=": torch_csr_reduce,
    "torch_sparse": torch_sparse,
    "numba": numba,
    "scipy": scipy,
    "torch COO": torch_coo,
    "index_add": index_add,
    "scatter_csr": scatter_csr,
    "torch_scatter": torch_scatter,
    "PyG scatter": pyg_scatter,
}
REDUCE = ("embedding_bag", "torch CSR reduce=", "torch_sparse", "scatter_csr", "torch_scatter", "PyG scatter")
DIFFERENTIABLE = [name for name in SUM if name not in ("numba", "scipy")]


def applied(make: Callable[..., Forward], reduce: Reduce = "sum") -> Prepare:
    """The forward on the setting's features."""

    def prepare(setting: Setting) -> Run:
        forward, x = make(setting, reduce), setting.x
        return lambda: forward(x)

    return prepare


def forwards(names: list[str], reduce: Reduce) -> dict[str, Prepare]:
    made = {name: applied(SUM[name], reduce) for name in (suite.OURS, *names) if name != "torch_scatter"}
    return {**made, "torch_scatter": applied(SUM["torch_scatter"], reduce), suite.CEILING: ceiling.gather}


def maximum(setting: Setting) -> Run:
    """Ours says which edge won in the same call."""
    csr, x = setting.unweighted, setting.x
    return lambda: torch.ops.gnas_ext.spmm_arg(csr.indptr, csr.indices, None, x, "max", None, None, None)[0]


def scatter_max(setting: Setting) -> Run:
    peer = rivals.peer("torch_scatter")
    message, row, x = message_of(setting, "max"), setting.row, setting.x
    return lambda: peer.scatter_max(message(x), row, dim=0, dim_size=setting.csr.rows)[0]


def segment_max(setting: Setting) -> Run:
    peer = rivals.peer("torch_scatter")
    message, indptr, x = message_of(setting, "max"), setting.indptr, setting.x
    return lambda: peer.segment_max_csr(message(x), indptr)[0]


# Those that make a row an edge, and keep it for the backward.
MESSAGES = (index_add, scatter_csr, torch_scatter, pyg_scatter)


def backward(make: Callable[..., Forward]) -> Prepare:
    def prepare(setting: Setting) -> Run:
        if make in MESSAGES:
            setting.messages(tensors=4)
        return rivals.gradient_to_x(make(setting), setting)

    return prepare


def gather_back(setting: Setting) -> Run:
    """The graph is symmetric: the backward fetches as many rows as the forward."""
    return ceiling.gather(setting)


FORWARD, HUGE = suite.Target(1.8, 1.0), suite.Target(1.4, 1.0)
MEANS: tuple[tuple[Reduce, list[str]], ...] = (("sum", [*SUM]), ("mean", [*REDUCE]))
ON_CUDA, MAX_ON_CUDA = suite.Target(1.3, 1.0), suite.Target(3.0, 1.0)
FAMILIES = [
    *(
        suite.Family(
            f"spmm {reduce}",
            FORWARD,
            forwards(names, reduce),
            huge_pages=("embedding_bag",),
            huge_pages_target=HUGE,
            cuda_target=ON_CUDA,
        )
        for reduce, names in MEANS
    ),
    suite.Family(
        "spmm sum, bfloat16",
        suite.Target(2.0, 1.2, "power-law"),
        forwards(["embedding_bag", "torch CSR", "torch CSR reduce=", "index_add", "scatter_csr"], "sum"),
        dtype=torch.bfloat16,
        cuda_target=ON_CUDA,
    ),
    suite.Family(
        "spmm max with argmax",
        suite.Target(2.5, 1.4),
        {
            suite.OURS: maximum,
            "embedding_bag": applied(bag, "max"),
            "torch CSR reduce=": applied(torch_csr_reduce, "max"),
            "scatter_csr": segment_max,
            "torch_scatter": scatter_max,
            suite.CEILING: ceiling.gather,
        },
        cuda_target=MAX_ON_CUDA,
    ),
    suite.Family(
        "spmm backward (x)",
        suite.Target(10.0, 4.0),
        {**{name: backward(SUM[name]) for name in DIFFERENTIABLE}, suite.CEILING: gather_back},
    ),
]


def bench_spmm(benchmark: Any, turn: suite.Turn) -> None:
    suite.measure(benchmark, turn)
