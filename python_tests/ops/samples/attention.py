from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from python_tests.ops.samples._inputs import NOTHING, inputs

if TYPE_CHECKING:
    from python_tests.ops.samples import Corrupt, Samples

native = torch.ops.gnas_ext


def attention(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    _, graph, t, edge, weight, a, x = inputs(index, dtype, device)
    bias = weight.detach().unsqueeze(1).repeat(1, 2).requires_grad_()
    return [
        (*graph, None, a, x, x.detach()[:, :4].requires_grad_(), None, 2, 0.5, *t),
        (*graph, None, a, x, x, bias, 2, 0.5, *t),
        (*graph, edge, a.detach(), x.detach(), x.detach(), bias.detach(), 2, 1.0, *NOTHING),
    ]


def attention_backward(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    calls = []
    for *call, t_indptr, t_indices, t_edge in attention(index, dtype, device):
        if t_indptr is None:
            continue
        out, lse = native.attention(*(v.detach() if isinstance(v, torch.Tensor) else v for v in call), *NOTHING)
        grad = out.flip(0).requires_grad_()
        calls.append((*call, out, lse, grad, t_indptr, t_indices, t_edge))
    return calls


def gat(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    _, graph, t, edge, _, a, x = inputs(index, dtype, device)
    a_dst, a_src = (side.detach()[:, :3].contiguous().requires_grad_() for side in (a, x))
    return [
        (*graph, None, a_dst, a_src, x, 0.2, *t),
        (*graph, edge, a_dst.detach(), a_src.detach(), x.detach(), 0.1, *NOTHING),
    ]


def gat_backward(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    *call, t_indptr, t_indices, t_edge = gat(index, dtype, device)[0]
    out, lse = native.gat(*(v.detach() if isinstance(v, torch.Tensor) else v for v in call), *NOTHING)
    return [(*call, out, lse, out.flip(0).requires_grad_(), t_indptr, t_indices, t_edge)]


def rows(indptr: torch.Tensor, x: torch.Tensor, width: int) -> torch.Tensor:
    return x.new_ones(max(len(indptr) - 1, 0), width)


def corrupt_attention(p: torch.Tensor, i: torch.Tensor, e: torch.Tensor | None, x: torch.Tensor) -> Any:
    return native.attention(p, i, e, rows(p, x, x.shape[1]), x, x, None, 1, 1.0, *NOTHING)


def corrupt_gat(p: torch.Tensor, i: torch.Tensor, e: torch.Tensor | None, x: torch.Tensor) -> Any:
    return native.gat(p, i, e, rows(p, x, 1), x[:, :1], x, 0.2, *NOTHING)


def a_transpose(p: torch.Tensor, i: torch.Tensor) -> tuple[Any, ...]:
    return torch.tensor([0, 2, 3, 4, 5]).to(p.dtype), torch.zeros(5).to(p.dtype), None


def corrupt_attention_backward(p: torch.Tensor, i: torch.Tensor, e: torch.Tensor | None, x: torch.Tensor) -> Any:
    q = rows(p, x, x.shape[1])
    return native.attention_backward(p, i, e, q, x, x, None, 1, 1.0, q, rows(p, x, 1), q, *a_transpose(p, i))


def corrupt_gat_backward(p: torch.Tensor, i: torch.Tensor, e: torch.Tensor | None, x: torch.Tensor) -> Any:
    out, ones = rows(p, x, x.shape[1]), rows(p, x, 1)
    return native.gat_backward(p, i, e, ones, x[:, :1], x, 0.2, out, ones, out, *a_transpose(p, i))


SAMPLES: dict[str, Samples] = {
    "attention": attention,
    "attention_backward": attention_backward,
    "gat": gat,
    "gat_backward": gat_backward,
}
CORRUPT: dict[str, Corrupt] = {
    "attention": corrupt_attention,
    "attention_backward": corrupt_attention_backward,
    "gat": corrupt_gat,
    "gat_backward": corrupt_gat_backward,
}
