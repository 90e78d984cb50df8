"""Message passing over a table in few bits: what does each row's neighbourhood add up to, read as codes?

Two ops share a room and have each other as gradients: `spmm_quantized` is linear in the weights and, straight through
the rounding, in the float master rows; its gradient to the weights is `sddmm_quantized`, a dot product an edge, whose
own gradients are `spmm_quantized` and `spmm`. So gradients of any order exist, and nothing of edges x width does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast, get_args, overload

import torch
from torch import Tensor

import gnas_ext._native  # noqa: F401  (registers the ops)
from gnas_ext.ops._autograd import linear, register_autograd, wanted
from gnas_ext.ops.quantized_rows import QuantizedRows, check_quantized
from gnas_ext.ops.spmm import of_sums, transposed

if TYPE_CHECKING:
    from gnas_ext.graph.csr import CSR

QuantizedReduce = Literal["sum", "mean"]


@overload
def spmm_quantized(
    csr: CSR, rows: QuantizedRows, reduce: QuantizedReduce = ..., master: Tensor | None = ..., out_bits: None = ...
) -> Tensor: ...
@overload
def spmm_quantized(
    csr: CSR, rows: QuantizedRows, reduce: QuantizedReduce = ..., master: Tensor | None = ..., *, out_bits: Literal[8]
) -> QuantizedRows: ...


def spmm_quantized(
    csr: CSR,
    rows: QuantizedRows,
    reduce: QuantizedReduce = "sum",
    master: Tensor | None = None,
    out_bits: int | None = None,
) -> Tensor | QuantizedRows:
    """Adds up each row's neighbours, read as codes: out[i] = sum of weight[e] * rows[indices[e]].

    Args:
        csr: graph of shape [rows, cols]; edge weights in float32, [nnz], or none (all ones).
        rows: what the neighbours are, [cols, width], 8, 4 or 2 bits, with or without zeros.
        reduce: "sum", or "mean", the sum over the number of edges. (The max or min of rows with scales of their own
            would take all that dequantising takes: dequantise and use `spmm`.)
        master: the float32 rows that the codes were made of, [cols, width]; they get the gradient as if nothing had
            been rounded (straight through), and their values are not read.
        out_bits: 8 to have the result quantised again in the same pass, symmetric, to the nearest, as
            `quantize_rows(out, 8)` does, so that hops stay in int8; only where no gradient is wanted.

    Returns:
        [rows, width], float32; with out_bits, the `QuantizedRows` of it. Rows without edges are zero.

        Against the sum over the rows before they were quantised (to the nearest, none of them beyond the codes), each
        entry of row i is off by at most sum over its edges of |weight[e]| * scale[indices[e]] / 2, and the rounding
        of the float32 sums.

    Raises:
        ValueError: csr.cols differs from rows' number, the weights have heads, master has another shape, devices
            differ, reduce or out_bits is another one, or out_bits would need a gradient.
        TypeError: the weights or master are not float32.
        RuntimeError: out_bits, and a row of the result is not finite.

    Gradients of any order flow to the weights and to master. Repeats exactly, whatever the number of threads.
    """
    weight = csr.stored_weight
    table = (rows.codes, rows.scale, rows.zero)
    graph = (csr.indptr, csr.indices, csr.edge)
    shape = _check(*graph, weight, *table, master, rows.bits, rows.width, reduce)
    if csr.cols != rows.rows:
        raise ValueError(
            f"spmm_quantized: expected {csr.cols} quantised rows for a graph of shape {list(csr.shape)}, got "
            f"{rows.rows}"
        )
    wants_gradient = wanted(weight, master)
    if out_bits is None:
        t = csr.transposed_structure() if wants_gradient else (None, None, None)
        out = torch.ops.gnas_ext.spmm_quantized(*graph, weight, *table, master, rows.bits, rows.width, reduce, *t)
        return cast("Tensor", out)
    if out_bits != 8:
        raise ValueError(f"spmm_quantized: expected out_bits of 8 or None, got {out_bits}")
    if wants_gradient:
        raise ValueError(
            "spmm_quantized: out_bits has no gradient: quantise the float32 result, or call under torch.no_grad()"
        )
    codes, scale = torch.ops.gnas_ext.spmm_requantized(*graph, weight, *table, rows.bits, rows.width, reduce)
    return QuantizedRows(codes, scale, None, 8, shape[1])


def _check(
    indptr: Tensor,
    indices: Tensor,
    edge: Tensor | None,
    weight: Tensor | None,
    codes: Tensor,
    scale: Tensor,
    zero: Tensor | None,
    master: Tensor | None,
    bits: int,
    width: int,
    reduce: str,
) -> tuple[Any, int]:
    """The contract of spmm_quantized: what is refused, and the shape that comes out. The fake kernels are this."""
    op = "spmm_quantized"
    check_quantized(op, codes, scale, zero, bits, width)
    if reduce not in get_args(QuantizedReduce):
        raise ValueError(
            f"{op}: expected reduce in {', '.join(get_args(QuantizedReduce))}, got {reduce!r}: for max and min "
            "dequantise and use spmm"
        )
    if codes.device != indptr.device:
        raise ValueError(f"{op}: rows are on {codes.device}, the graph on {indptr.device}: move one with .to()")
    if weight is not None:
        if weight.dtype != torch.float32:
            raise TypeError(f"{op}: expected weight in float32, got {weight.dtype}: use csr.to(dtype=torch.float32)")
        if weight.shape != indices.shape:
            raise ValueError(
                f"{op}: expected weight of shape [{indices.shape[0]}], one an edge, got {list(weight.shape)}"
            )
    if master is not None:
        if master.dtype != torch.float32:
            raise TypeError(f"{op}: expected master in float32, got {master.dtype}")
        if master.shape != (codes.shape[0], width):
            raise ValueError(f"{op}: expected master of shape [{codes.shape[0]}, {width}], got {list(master.shape)}")
        if master.device != codes.device:
            raise ValueError(f"{op}: master is on {master.device}, rows on {codes.device}: move one with .to()")
    return indptr.shape[0] - 1, width


def _fake(*arguments: Any) -> Tensor:
    codes = arguments[4]
    return cast("Tensor", codes.new_empty(_check(*arguments[:11]), dtype=torch.float32))


def _requantized_fake(*arguments: Any) -> tuple[Tensor, Tensor]:
    codes = arguments[4]
    master = None
    shape = _check(*(*arguments[:7], master, *arguments[7:]))
    return codes.new_empty(shape, dtype=torch.int8), codes.new_empty(shape[0], dtype=torch.float32)


def _sddmm_fake(
    indptr: Tensor,
    indices: Tensor,
    edge: Tensor | None,
    a: Tensor,
    codes: Tensor,
    scale: Tensor,
    zero: Tensor | None,
    master: Tensor | None,
    bits: int,
    width: int,
    *_: Any,
) -> Tensor:
    shape = _check(indptr, indices, edge, None, codes, scale, zero, master, bits, width, "sum")
    if a.shape != shape:
        raise ValueError(f"sddmm_quantized: expected a of shape [{shape[0]}, {width}], got {list(a.shape)}")
    if a.dtype != torch.float32:
        raise TypeError(f"sddmm_quantized: expected a in float32, got {a.dtype}")
    return a.new_empty(indices.shape[0])


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, bits, width, reduce, t_indptr, t_indices, t_edge = inputs
    ctx.save_for_backward(*tensors, t_indptr, t_indices, t_edge)
    ctx.kind = bits, width
    ctx.reduce = reduce


def _backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    indptr, indices, edge, weight, codes, scale, zero, master, *kept = ctx.saved_tensors
    if ctx.reduce == "mean":
        grad = of_sums(grad, indptr)
    t = transposed(indptr, indices, edge, codes.shape[0], tuple(kept))
    grad_weight = grad_master = None
    if ctx.needs_input_grad[3]:
        grad_weight = torch.ops.gnas_ext.sddmm_quantized(
            indptr, indices, edge, grad, codes, scale, zero, master, *ctx.kind, *t
        )
    if ctx.needs_input_grad[7]:
        grad_master = torch.ops.gnas_ext.spmm(*t, weight, grad, "sum", indptr, indices, edge)
    return None, None, None, grad_weight, None, None, None, grad_master, None, None, None, None, None, None


def _jvp(inputs: list[Any], tangents: tuple[Tensor | None, ...], output: Tensor) -> Tensor | None:
    total = cast("Tensor | None", linear("spmm_quantized", 3)(inputs, tangents, output))
    if tangents[7] is not None:  # straight through: as if the rows were the master's
        indptr, indices, edge, weight = inputs[:4]
        part = torch.ops.gnas_ext.spmm(indptr, indices, edge, weight, tangents[7], inputs[10], *inputs[11:])
        total = part if total is None else total + part
    return total


def _save_sddmm(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, bits, width, t_indptr, t_indices, t_edge = inputs
    ctx.save_for_backward(*tensors, t_indptr, t_indices, t_edge)
    ctx.kind = bits, width


def _sddmm_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    indptr, indices, edge, a, codes, scale, zero, master, *kept = ctx.saved_tensors
    t = transposed(indptr, indices, edge, codes.shape[0], tuple(kept))
    grad_a = grad_master = None
    if ctx.needs_input_grad[3]:
        grad_a = torch.ops.gnas_ext.spmm_quantized(
            indptr, indices, edge, grad, codes, scale, zero, master, *ctx.kind, "sum", *t
        )
    if ctx.needs_input_grad[7]:
        grad_master = torch.ops.gnas_ext.spmm(*t, grad, a, "sum", indptr, indices, edge)
    return None, None, None, grad_a, None, None, None, grad_master, None, None, None, None, None


def _sddmm_jvp(inputs: list[Any], tangents: tuple[Tensor | None, ...], output: Tensor) -> Tensor | None:
    total = cast("Tensor | None", linear("sddmm_quantized", 3)(inputs, tangents, output))
    if tangents[7] is not None:
        indptr, indices, edge, a = inputs[:4]
        part = torch.ops.gnas_ext.sddmm(indptr, indices, edge, a, tangents[7], None, 0, *inputs[10:])
        total = part if total is None else total + part
    return total


torch.library.register_fake("gnas_ext::spmm_quantized", _fake)
torch.library.register_fake("gnas_ext::spmm_requantized", _requantized_fake)
torch.library.register_fake("gnas_ext::sddmm_quantized", _sddmm_fake)
register_autograd("spmm_quantized", _backward, setup_context=_save, jvp=_jvp)
register_autograd("sddmm_quantized", _sddmm_backward, setup_context=_save_sddmm, jvp=_sddmm_jvp)
