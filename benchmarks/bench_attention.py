"""How fast are attention and graph attention, forward and backward, beside what people use? Four heads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from benchmarks import rivals, suite
from gnas_ext import ops

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.suite import Run, Setting

HEADS = 4
# Of edges × width: gathered keys and values, their product, and all of that again in the backward.
TENSORS = 6


def sides(setting: Setting, count: int) -> list[torch.Tensor]:
    """As many inputs of shape [nodes, heads, dim]."""
    shape = (setting.csr.rows, HEADS, setting.width // HEADS)
    return [setting.numbers(*shape, seed=seed) for seed in range(count)]


def step(forward: Callable[..., torch.Tensor], setting: Setting, *leaves: torch.Tensor) -> Run:
    gradient = setting.gradient.view(setting.csr.rows, HEADS, -1)
    return rivals.forward_and_backward(forward, gradient, *leaves)


def our_attention(setting: Setting) -> Run:
    csr = setting.unweighted
    return step(lambda q, k, v: ops.attention(csr, q, k, v), setting, *sides(setting, 3))


def pyg_attention(setting: Setting) -> Run:
    """What TransformerConv does between its projections."""
    setting.messages(tensors=TENSORS)
    utils = rivals.peer("torch_geometric.utils")
    row, col, nodes = setting.row, setting.col, setting.csr.rows

    def forward(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        share = utils.softmax((q[row] * k[col]).sum(-1) * q.shape[-1] ** -0.5, row, num_nodes=nodes)
        out: torch.Tensor = utils.scatter(v[col] * share.unsqueeze(-1), row, dim=0, dim_size=nodes)
        return out

    return step(forward, setting, *sides(setting, 3))


def segments(setting: Setting) -> Run:
    """The same of torch-scatter's pieces for sorted rows."""
    setting.messages(tensors=TENSORS)
    peer = rivals.peer("torch_scatter")
    row, col, indptr = setting.row, setting.col, setting.indptr

    def forward(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        score = (q[row] * k[col]).sum(-1) * q.shape[-1] ** -0.5
        up = (score - peer.gather_csr(peer.segment_csr(score, indptr, reduce="max"), indptr)).exp()
        share = up / peer.gather_csr(peer.segment_csr(up, indptr, reduce="sum"), indptr)
        out: torch.Tensor = peer.segment_csr(v[col] * share.unsqueeze(-1), indptr, reduce="sum")
        return out

    return step(forward, setting, *sides(setting, 3))


def leaves_of_gat(setting: Setting) -> list[torch.Tensor]:
    """The features of all nodes, and the two vectors that score them."""
    dim = setting.width // HEADS
    return [*sides(setting, 1), setting.numbers(HEADS, dim, seed=5), setting.numbers(HEADS, dim, seed=6)]


def our_gat(setting: Setting) -> Run:
    csr = setting.unweighted
    return step(lambda x, dst, src: ops.gat(csr, x, x, dst, src), setting, *leaves_of_gat(setting))


def pyg_gat(setting: Setting) -> Run:
    """GATConv, its projection taken out."""
    setting.messages(tensors=TENSORS // 2)
    layers = rivals.peer("torch_geometric.nn")
    dim = setting.width // HEADS
    layer = layers.GATConv(setting.width, dim, HEADS, add_self_loops=False, bias=False).to(setting.device)
    layer.lin = torch.nn.Identity()
    edges = torch.stack([setting.col, setting.row])
    del layer.att_src, layer.att_dst

    def forward(x: torch.Tensor, dst: torch.Tensor, src: torch.Tensor) -> torch.Tensor:
        layer.att_dst, layer.att_src = dst.unsqueeze(0), src.unsqueeze(0)
        out: torch.Tensor = layer(x.flatten(1), edges)
        return out.view_as(x)

    return step(forward, setting, *leaves_of_gat(setting))


def torch_gat(setting: Setting) -> Run:
    """The same in plain torch: index, index_add and a maximum a row."""
    setting.messages(tensors=TENSORS // 2)
    row, col, nodes = setting.row, setting.col, setting.csr.rows

    def forward(x: torch.Tensor, dst: torch.Tensor, src: torch.Tensor) -> torch.Tensor:
        score = torch.nn.functional.leaky_relu((x * dst).sum(-1)[row] + (x * src).sum(-1)[col], 0.2)
        with torch.no_grad():
            most = score.new_full((nodes, HEADS), -torch.inf)
            most.scatter_reduce_(0, row.unsqueeze(1).expand_as(score), score, "amax")
        up = (score - most[row]).exp()
        share = up / up.new_zeros(nodes, HEADS).index_add_(0, row, up)[row]
        return x.new_zeros(x.shape).index_add_(0, row, x[col] * share.unsqueeze(-1))

    return step(forward, setting, *leaves_of_gat(setting))


TARGET, ON_CUDA = suite.Target(6.0, 3.0), suite.Target(5.0, 3.0)
FAMILIES = [
    suite.Family(
        "attention, forward + backward",
        TARGET,
        {suite.OURS: our_attention, "PyG softmax, scatter": pyg_attention, "scatter_csr": segments},
        cuda_target=ON_CUDA,
    ),
    suite.Family(
        "gat, forward + backward",
        TARGET,
        {suite.OURS: our_gat, "PyG GATConv": pyg_gat, "torch index_add": torch_gat},
        cuda_target=ON_CUDA,
    ),
]


def bench_attention(benchmark: Any, turn: suite.Turn) -> None:
    suite.measure(benchmark, turn)
