"""Message passing in whole numbers: int8 codes times int8 weights, added up in int32 without any rounding."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

import gnas_ext._native  # noqa: F401  (registers the ops)

if TYPE_CHECKING:
    from gnas_ext.graph.csr import CSR


def spmm_int32(csr: CSR, codes: Tensor, weight: Tensor) -> Tensor:
    """Adds up each row's neighbours, exactly: out[i] = sum of weight[e] * codes[indices[e]].

    Args:
        csr: graph of shape [rows, cols]; its own weights are not read.
        codes: [cols, width], int8.
        weight: [nnz], int8, in the order of csr.indices.

    Returns:
        [rows, width], int32. Rows without edges are zero.

    Raises:
        ValueError: codes or weight has another shape, or devices differ.
        TypeError: codes or weight is not int8.
        RuntimeError: the sum of a row, which is named, may not fit int32. Up to 131,071 edges always fit; beyond that
            the weights of a row, without their signs, may add up to 16,777,215.

    No gradient: these are whole numbers. Repeats exactly, everywhere.
    """
    _spmm_int32_out(csr.indptr, csr.indices, weight, codes)
    if csr.cols != codes.shape[0]:
        raise ValueError(
            f"spmm_int32: expected codes of shape [{csr.cols}, width] for a graph of shape {list(csr.shape)}, got "
            f"{list(codes.shape)}"
        )
    return cast("Tensor", torch.ops.gnas_ext.spmm_int32(csr.indptr, csr.indices, weight, codes))


def _spmm_int32_out(indptr: Tensor, indices: Tensor, weight: Tensor, codes: Tensor) -> Tensor:
    """The contract of spmm_int32: what is refused, and what comes out. The fake kernel is this function."""
    if codes.dim() != 2:
        raise ValueError(f"spmm_int32: expected codes of shape [cols, width], got {list(codes.shape)}")
    if weight.shape != indices.shape:
        raise ValueError(
            f"spmm_int32: expected weight of shape [{indices.shape[0]}], one an edge, got {list(weight.shape)}"
        )
    for name, part in (("codes", codes), ("weight", weight)):
        if part.dtype != torch.int8:
            raise TypeError(f"spmm_int32: expected {name} in int8, got {part.dtype}")
        if part.device != indptr.device:
            raise ValueError(
                f"spmm_int32: {name} is on {part.device}, the graph on {indptr.device}: move one with .to()"
            )
    return codes.new_empty(indptr.shape[0] - 1, codes.shape[1], dtype=torch.int32)


torch.library.register_fake("gnas_ext::spmm_int32", _spmm_int32_out)
