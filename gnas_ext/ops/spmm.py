"""Message passing: what does each row's neighbourhood add up to?

Four ops share one room. `spmm` sums, averages, or takes the max or min; `spmm_out` does so into memory that is there;
`spmm_arg` takes the max or min and says which edge won; `spmm_select` sums over winning edges only, which is what the
gradient of `spmm_arg` needs. Each of them but `spmm_out`, and `sddmm`, is linear in its tensors, and their gradients
are these same ops on the transpose: so gradients of any order exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import torch
from torch import Tensor

import gnas_ext._native  # noqa: F401  (registers the ops)
from gnas_ext.ops._autocast import lowered, register_autocast
from gnas_ext.ops._autograd import linear, register_autograd, wanted
from gnas_ext.ops._direct import below_autograd, unwatched
from gnas_ext.ops.transpose import transpose

if TYPE_CHECKING:
    from gnas_ext.graph.csr import CSR

Reduce = Literal["sum", "mean", "max", "min"]

_native_spmm = torch.ops.gnas_ext.spmm.default
_FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def spmm(csr: CSR, x: Tensor, reduce: Reduce = "sum", out: Tensor | None = None) -> Tensor:
    """Reduces over each row's neighbours, weighted by edge: out[i] = reduce of weight[e] * x[indices[e]].

    Args:
        csr: graph of shape [rows, cols]; edge weights in x's dtype, [nnz] or [nnz, heads], or none (all ones).
        x: features, [cols, width] or [cols, heads, dim], float32, float64, bfloat16 or float16.
        reduce: "sum"; "mean", the sum over the number of edges; "max" or "min", where the first of equal values wins
            and NaN wins over all.
        out: where the result is written and what is returned, contiguous, of the result's shape and dtype, on x's
            device, no part of an input; only where no gradient is wanted.

    Returns:
        [rows, width] or [rows, heads, dim], x's dtype; sums run in float32 (float64 for float64). Rows without edges
        are zero.

    Raises:
        ValueError: x has another shape, csr.cols differs from x's rows, weights and x differ in heads, devices differ,
            reduce is unknown, or out does not fit or would need a gradient.
        TypeError: x's dtype is none of the above, or the weights have another one.

    Gradients of any order flow to x and to the weights. Repeats exactly, whatever the number of threads.
    """
    weight = csr.stored_weight
    plain = x.dim() == 2 and len(x) == csr.shape[1] and (weight is None or weight.dim() == 1)
    if plain and out is None and unwatched(x, weight):
        try:
            with below_autograd():
                return cast(
                    "Tensor", _native_spmm(csr.indptr, csr.indices, csr.edge, weight, x, reduce, None, None, None)
                )
        except RuntimeError:
            _check(csr, weight, x, reduce)  # says it better where the arguments are at fault
            raise
    weight, x = lowered(x.device, weight, x)
    # Only a backward needs the transpose, and winners.
    wants_gradient = wanted(x, weight)
    _check(csr, weight, x, reduce)
    flat = x.flatten(1) if x.dim() == 3 else x
    if out is not None:
        if wants_gradient:
            raise ValueError("spmm: out has no gradient: leave it out, or call under torch.no_grad()")
        _check_out(out, (csr.rows, *x.shape[1:]), x)
        torch.ops.gnas_ext.spmm_out(
            csr.indptr, csr.indices, csr.edge, weight, flat, reduce, out.view(csr.rows, flat.shape[1])
        )
        return out
    if wants_gradient and reduce in ("max", "min"):
        if csr.edge is not None:
            csr = csr.with_weight(csr.weight)  # winners are counted in the order of the entries
            (weight,) = lowered(x.device, csr.stored_weight)
        result, _ = torch.ops.gnas_ext.spmm_arg(
            csr.indptr, csr.indices, weight, flat, reduce, *csr.transposed_structure()
        )
    elif wants_gradient:
        result = torch.ops.gnas_ext.spmm(
            csr.indptr, csr.indices, csr.edge, weight, flat, reduce, *csr.transposed_structure()
        )
    else:
        result = torch.ops.gnas_ext.spmm(csr.indptr, csr.indices, csr.edge, weight, flat, reduce, None, None, None)
    return cast("Tensor", result.view(-1, *x.shape[1:]) if x.dim() == 3 else result)


def _check(csr: CSR, weight: Tensor | None, x: Tensor, reduce: str) -> None:
    if weight is not None and weight.dim() == 2 and (x.dim() != 3 or weight.shape[1] != x.shape[1]):
        raise ValueError(
            f"spmm: expected x of shape [{csr.cols}, {weight.shape[1]}, dim] for weights of {weight.shape[1]} heads, "
            f"got {list(x.shape)}"
        )
    _spmm_out(csr.indptr, csr.indices, csr.edge, weight, x.flatten(1) if x.dim() == 3 else x, reduce)
    if csr.cols != x.shape[0]:
        raise ValueError(
            f"spmm: expected x of shape [{csr.cols}, width] for a graph of shape {list(csr.shape)}, got {list(x.shape)}"
        )


def _check_out(out: Tensor, shape: tuple[int, ...], x: Tensor) -> None:
    if out.shape != shape or not out.is_contiguous():
        raise ValueError(f"spmm: expected a contiguous out of shape {list(shape)}, got {list(out.shape)}")
    if out.dtype != x.dtype:
        raise TypeError(f"spmm: expected out in x's dtype {x.dtype}, got {out.dtype}")
    if out.device != x.device:
        raise ValueError(f"spmm: out is on {out.device}, x on {x.device}: move one with .to()")
    if out.requires_grad and torch.is_grad_enabled():
        raise ValueError("spmm: out requires a gradient, which it cannot have: pass out.detach()")


def _spmm_out(
    indptr: Tensor, indices: Tensor, edge: Tensor | None, weight: Tensor | None, x: Tensor, reduce: str
) -> tuple[Any, int]:
    """The contract of spmm: what is refused, and the shape that comes out. The fake kernels are this function."""
    if reduce not in get_args(Reduce):
        raise ValueError(f"spmm: expected reduce in {', '.join(get_args(Reduce))}, got {reduce!r}")
    if x.dim() != 2:
        raise ValueError(f"spmm: expected x of shape [cols, width], got {list(x.shape)}")
    if x.dtype not in _FLOATS:
        raise TypeError(f"spmm: expected x in float32, float64, bfloat16 or float16, got {x.dtype}")
    if x.device != indptr.device:
        raise ValueError(f"spmm: x is on {x.device}, the graph on {indptr.device}: move one with .to()")
    if weight is not None:
        if weight.dtype != x.dtype:
            raise TypeError(f"spmm: expected weight in x's dtype {x.dtype}, got {weight.dtype}: use csr.to(dtype=...)")
        if weight.dim() not in (1, 2) or weight.shape[0] != indices.shape[0]:
            raise ValueError(
                f"spmm: expected weight of shape [{indices.shape[0]}] or [{indices.shape[0]}, heads], got "
                f"{list(weight.shape)}"
            )
        if weight.dim() == 2 and (weight.shape[1] == 0 or x.shape[1] % weight.shape[1] != 0):
            raise ValueError(
                f"spmm: expected a width that is a multiple of the {weight.shape[1]} heads of weight, got {x.shape[1]}"
            )
    return indptr.shape[0] - 1, x.shape[1]


def _spmm_fake(
    indptr: Tensor, indices: Tensor, edge: Tensor | None, weight: Tensor | None, x: Tensor, reduce: str, *_: Any
) -> Tensor:
    return x.new_empty(_spmm_out(indptr, indices, edge, weight, x, reduce))


def _spmm_into_fake(
    indptr: Tensor,
    indices: Tensor,
    edge: Tensor | None,
    weight: Tensor | None,
    x: Tensor,
    reduce: str,
    out: Tensor,
) -> None:
    _check_out(out, _spmm_out(indptr, indices, edge, weight, x, reduce), x)


def _spmm_arg_fake(
    indptr: Tensor, indices: Tensor, weight: Tensor | None, x: Tensor, reduce: str, *_: Any
) -> tuple[Tensor, Tensor]:
    if reduce not in ("max", "min"):
        raise ValueError(f"spmm_arg: expected reduce max or min, got {reduce!r}")
    shape = _spmm_out(indptr, indices, None, weight, x, reduce)
    return x.new_empty(shape), indptr.new_empty(shape)


def _spmm_select_fake(
    indptr: Tensor, indices: Tensor, edge: Tensor | None, weight: Tensor | None, x: Tensor, select: Tensor, *_: Any
) -> Tensor:
    if select.shape != x.shape:
        raise ValueError(f"spmm_select: expected select of x's shape {list(x.shape)}, got {list(select.shape)}")
    return x.new_empty(_spmm_out(indptr, indices, edge, weight, x, "sum"))


def transposed(
    indptr: Tensor,
    indices: Tensor,
    edge: Tensor | None,
    cols: int,
    kept: tuple[Tensor | None, Tensor | None, Tensor | None],
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The transpose for a backward: the one that the caller kept, or, for raw calls without it, a new one."""
    if kept[0] is not None and kept[1] is not None:
        return kept[0], kept[1], kept[2]
    t_indptr, t_indices, t_edge = transpose(indptr, indices, cols)
    return t_indptr, t_indices, t_edge if edge is None else edge[t_edge]


def gather_winners(indices: Tensor, weight: Tensor | None, x: Tensor, arg: Tensor) -> Tensor:
    """out[i, f] = weight[e, head of f] * x[indices[e], f] for e = arg[i, f]; zero where that is -1. Plain torch."""
    if indices.shape[0] == 0:
        return x.new_zeros(arg.shape)
    winner = arg.clamp(min=0).long()
    value = x.gather(0, indices[winner].long())
    if weight is not None and weight.dim() == 1:
        value = value * weight[winner]
    elif weight is not None:
        head = torch.arange(weight.shape[1], device=x.device).repeat_interleave(x.shape[1] // weight.shape[1])
        value = value * weight[winner, head]
    return torch.where(arg < 0, torch.zeros_like(value), value)


def of_sums(grad: Tensor, indptr: Tensor) -> Tensor:
    """The gradient of each row's sum, from that of its mean."""
    return over(grad, indptr[1:] - indptr[:-1])


def over(x: Tensor, counts: Tensor) -> Tensor:
    """Each row by how many entries it has, [rows, width] by [rows]; rows without any stay.

    Not in half precision: float16 ends at 65,504, and bfloat16 counts to 256.
    """
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    return (x / counts.clamp(min=1).to(wide).unsqueeze(1)).to(x.dtype)


def heads_of(weight: Tensor | None) -> int:
    """The heads argument of sddmm whose result is a gradient of these weights."""
    return weight.shape[1] if weight is not None and weight.dim() == 2 else 0


def _save_sum(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *graph, weight, x, reduce = inputs[:6]
    # The values of x are a factor of the weights' gradient alone; without one, they need not outlive the call.
    kept = x if ctx.needs_input_grad[3] else x.new_empty(x.shape[0], 0)
    _save(ctx, (*graph, weight, kept, reduce, *inputs[6:]), output)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*(value for value in inputs if not isinstance(value, str)))
    ctx.reduce = next((value for value in inputs if isinstance(value, str)), "sum")


def _refuse_extremes(reduce: str) -> None:
    if reduce in ("max", "min"):
        raise RuntimeError(f"spmm: the gradient of {reduce} needs the winners: call spmm_arg")


def _spmm_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    indptr, indices, edge, weight, x, *kept = ctx.saved_tensors
    _refuse_extremes(ctx.reduce)
    if ctx.reduce == "mean":
        grad = of_sums(grad, indptr)
    t = transposed(indptr, indices, edge, x.shape[0], tuple(kept))
    grad_weight = grad_x = None
    if ctx.needs_input_grad[3]:
        grad_weight = torch.ops.gnas_ext.sddmm(indptr, indices, edge, grad, x, None, heads_of(weight), *t)
    if ctx.needs_input_grad[4]:
        grad_x = torch.ops.gnas_ext.spmm(*t, weight, grad, "sum", indptr, indices, edge)
    return None, None, None, grad_weight, grad_x, None, None, None, None


def _spmm_jvp(inputs: list[Any], tangents: tuple[Tensor | None, ...], output: Tensor) -> Tensor | None:
    _refuse_extremes(inputs[5])
    return cast("Tensor | None", linear("spmm", 3, 4)(inputs, tangents, output))


def _save_arg(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    indptr, indices, weight, x, _, *kept = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(indptr, indices, weight, x, output[1], *kept)


def _spmm_arg_backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Any, ...]:
    indptr, indices, weight, x, arg, *kept = ctx.saved_tensors
    t = transposed(indptr, indices, None, x.shape[0], tuple(kept))
    grad_weight = grad_x = None
    if ctx.needs_input_grad[2]:
        grad_weight = torch.ops.gnas_ext.sddmm(indptr, indices, None, grad, x, arg, heads_of(weight), *t)
    if ctx.needs_input_grad[3]:
        grad_x = torch.ops.gnas_ext.spmm_select(*t, weight, grad, arg, indptr, indices, None)
    return None, None, grad_weight, grad_x, None, None, None, None


def _spmm_arg_jvp(
    inputs: list[Any], tangents: tuple[Tensor | None, ...], output: tuple[Tensor, Tensor]
) -> tuple[Tensor, None]:
    (_, indices, weight, x, *_), arg = inputs, output[1]
    total = x.new_zeros(arg.shape)
    if tangents[2] is not None:
        total = total + gather_winners(indices, tangents[2], x, arg)
    if tangents[3] is not None:
        total = total + gather_winners(indices, weight, tangents[3], arg)
    return total, None


def _spmm_select_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    t_indptr, t_indices, t_edge, weight, x, select, indptr, indices, edge = ctx.saved_tensors
    if indptr is None or edge is not None:
        raise RuntimeError(
            "spmm_select: its gradient needs the graph that `select` counts the edges of; pass it as t_indptr and "
            "t_indices, without t_edge"
        )
    grad_weight = grad_x = None
    if ctx.needs_input_grad[3]:
        grad_weight = torch.ops.gnas_ext.sddmm(
            indptr, indices, None, x, grad, select, heads_of(weight), t_indptr, t_indices, t_edge
        )
    if ctx.needs_input_grad[4]:
        grad_x = gather_winners(indices, weight, grad, select)
    return None, None, None, grad_weight, grad_x, None, None, None, None


torch.library.register_fake("gnas_ext::spmm", _spmm_fake)
torch.library.register_fake("gnas_ext::spmm_out", _spmm_into_fake)
torch.library.register_fake("gnas_ext::spmm_arg", _spmm_arg_fake)
torch.library.register_fake("gnas_ext::spmm_select", _spmm_select_fake)
register_autograd("spmm", _spmm_backward, setup_context=_save_sum, jvp=_spmm_jvp)
register_autograd("spmm_arg", _spmm_arg_backward, setup_context=_save_arg, jvp=_spmm_arg_jvp)
register_autograd("spmm_select", _spmm_select_backward, setup_context=_save, jvp=linear("spmm_select", 3, 4))
register_autocast("spmm")
register_autocast("spmm_arg")
register_autocast("spmm_select")
