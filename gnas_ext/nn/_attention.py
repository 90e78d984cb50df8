"""Graph attention whose weights are wanted one by one: for dropout on them, for edge features, or to be returned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

from gnas_ext.ops.sddmm import sddmm
from gnas_ext.ops.segment_softmax import segment_softmax
from gnas_ext.ops.spmm import spmm

if TYPE_CHECKING:
    from torch import Tensor

    from gnas_ext.graph.csr import CSR


def attention_weights(csr: CSR, a_dst: Tensor, a_src: Tensor, a_edge: Tensor | None, negative_slope: float) -> Tensor:
    """The softmax over each row's entries of leaky_relu(a_dst[row] + a_src[column] + a_edge).

    Args:
        csr: [targets, sources].
        a_dst: [targets, heads].
        a_src: [sources, heads].
        a_edge: [nnz, heads] in the order of the entries, or None.
        negative_slope: of the leaky ReLU.

    Returns:
        [nnz, heads]; computed in float32 at least, in a_src's dtype.
    """
    score = sddmm(csr, a_dst, a_src, "add")
    if a_edge is not None:
        score = score + a_edge
    score = functional.leaky_relu(score, negative_slope)
    return segment_softmax(csr, score)


def attend(csr: CSR, alpha: Tensor, x: Tensor) -> Tensor:
    """out[i, h] = sum over the entries e of row i of alpha[e, h] * x[column, h]; [targets, heads, dim]."""
    return spmm(csr.with_weight(alpha), x)
