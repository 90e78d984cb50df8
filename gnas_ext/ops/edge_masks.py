"""Which edges stay? Masks by score, by rank in a row, and at random; packed, a bit an edge, for the kernels.

Masks are plain tensors: bool [nnz], so that they combine with & and |, or packed, uint8 [ceil(nnz / 8)].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

import gnas_ext._native  # noqa: F401  (registers the ops)
from gnas_ext.ops.prune import keep_largest

if TYPE_CHECKING:
    from gnas_ext.graph.csr import CSR

# Eight bytes of 0 or 1 as one number, times this, have their bits in the highest byte, the first one lowest.
_GATHER = 0x0102040810204080


def pack_mask(mask: Tensor) -> Tensor:
    """A bit an entry, little-endian: entry e is bit e % 8 of byte e // 8.

    Args:
        mask: bool, [nnz].

    Returns:
        uint8, [ceil(nnz / 8)]; bits beyond the last entry are zero.

    Raises:
        ValueError: mask has another shape.
        TypeError: mask is not of bool.
    """
    if mask.dtype != torch.bool:
        raise TypeError(f"pack_mask: expected mask in bool, got {mask.dtype}")
    if mask.dim() != 1:
        raise ValueError(f"pack_mask: expected mask of shape [nnz], got {list(mask.shape)}")
    nnz = mask.shape[0]
    whole = torch.cat([mask, mask.new_zeros(-nnz % 8)])
    return ((whole.view(torch.int64) * _GATHER) >> 56).to(torch.uint8)


def unpack_mask(mask: Tensor, nnz: int) -> Tensor:
    """The reverse of `pack_mask`: bool, [nnz].

    Raises:
        ValueError: mask is not of shape [ceil(nnz / 8)].
        TypeError: mask is not of uint8.
    """
    if mask.dtype != torch.uint8:
        raise TypeError(f"unpack_mask: expected mask in uint8, got {mask.dtype}")
    if mask.dim() != 1 or mask.shape[0] != (nnz + 7) // 8:
        raise ValueError(
            f"unpack_mask: expected mask of shape [{(nnz + 7) // 8}] for {nnz} bits, got {list(mask.shape)}"
        )
    bits = torch.arange(8, dtype=torch.uint8, device=mask.device)
    return ((mask.unsqueeze(1) >> bits) & 1).flatten()[:nnz].bool()


def edge_mask(scores: Tensor, keep: float | None = None, threshold: float | None = None) -> Tensor:
    """The edges with the largest scores, or those that reach a threshold.

    By magnitude: scores = csr.stored_weight.abs(); by a learned score: that score.

    Args:
        scores: [nnz], in the order of the stored weights.
        keep: from 0 to 1, the share of all edges that stays: exactly round(keep * nnz); among equals the earlier one.
        threshold: edges with this score or more stay. One of keep and threshold is given.

    Returns:
        bool, [nnz].

    Raises:
        ValueError: scores has another shape, keep is out of range, both or neither are given, or, with keep, a score is
            NaN.
    """
    if scores.dim() != 1:
        raise ValueError(f"edge_mask: expected scores of shape [nnz], got {list(scores.shape)}")
    if (keep is None) == (threshold is None):
        raise ValueError("edge_mask: expected one of keep and threshold")
    scores = scores.detach()
    if threshold is not None:
        return scores >= threshold
    assert keep is not None
    if not 0 <= keep <= 1:
        raise ValueError(f"edge_mask: expected keep from 0 to 1, got {keep}")
    return keep_largest(scores, fraction=keep)


def topk_per_row(csr: CSR, scores: Tensor, k: int) -> Tensor:
    """The k edges of each row with the largest scores; among equals the earlier one.

    Args:
        csr: graph of shape [rows, cols].
        scores: [nnz], in the order of the stored weights; NaN is above all.
        k: edges a row, at most.

    Returns:
        bool, [nnz], in the order of the stored weights, as `spmm_masked` and `csr.masked` take it; rows of k edges or
        fewer stay whole.

    Raises:
        ValueError: scores has another shape, or k is negative.
    """
    if scores.shape != (csr.nnz,):
        raise ValueError(f"topk_per_row: expected scores of shape [{csr.nnz}], got {list(scores.shape)}")
    if k < 0:
        raise ValueError(f"topk_per_row: expected k of 0 or more, got {k}")
    scores = scores.detach()
    if scores.dtype not in (torch.float32, torch.float64):
        scores = scores.float() if scores.is_floating_point() else scores.double()
    edge = csr.edge
    mask: Tensor = torch.ops.gnas_ext.topk_rows(csr.indptr, scores if edge is None else scores.index_select(0, edge), k)
    return mask if edge is None else torch.empty_like(mask).index_copy(0, edge.long(), mask)


def edge_dropout_mask(
    edges: CSR | int,
    p: float,
    seed: int,
    stream: int = 0,
    undirected: bool = False,
    device: torch.device | str | None = None,
) -> Tensor:
    """Each edge is dropped with probability p, on its own: hand the mask to `spmm_masked`.

    Args:
        edges: the graph, or how many edges there are.
        p: from 0 to 1; kept weights are not scaled: multiply by 1 / (1 - p) where the expectation is to stay.
        seed: 64 bits; the same seed and stream give the same mask at any number of threads, at every instruction set
            and on CUDA.
        stream: 64 bits, such as the step of training, or its number times the number of layers plus the layer's.
        undirected: both directions of an edge share a fate, as in a symmetric graph of users and items, which stays
            symmetric then; entries between the same two nodes too. Needs the graph, of shape [n, n].
        device: where the mask is made, if edges is a number; the CPU by default.

    Returns:
        uint8, [ceil(nnz / 8)], packed, in the order of the stored weights.

    Raises:
        ValueError: p is out of range, the number of edges is negative or 2^34 or more, or undirected was asked of
            something else than a graph of shape [n, n].

    The draw of edge e is number e of a stream of Philox4x32-10 (Salmon et al., 2011), of 32 bits; where undirected, it
    is a function of the two nodes.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"edge_dropout_mask: expected p from 0 to 1, got {p}")
    nnz = edges if isinstance(edges, int) else edges.nnz
    if not 0 <= nnz < 1 << 34:
        raise ValueError(f"edge_dropout_mask: expected 0 to 2^34 - 1 edges, got {nnz}")
    seed, stream = signed(seed), signed(stream)
    if not undirected:
        like = torch.empty(0, device=device) if isinstance(edges, int) else edges.indptr
        return cast("Tensor", torch.ops.gnas_ext.edge_dropout(like, nnz, p, seed, stream))
    if isinstance(edges, int) or edges.rows != edges.cols:
        got = "a number" if isinstance(edges, int) else f"shape {list(edges.shape)}"
        raise ValueError(f"edge_dropout_mask: undirected needs a graph of shape [n, n], got {got}")
    # A transpose reads its weights where the graph has them, and pairs draw alike in both.
    stored = edges if edges.edge is None else edges.t()
    return cast(
        "Tensor", torch.ops.gnas_ext.edge_dropout_pairs(stored.indptr, stored.indices, stored.cols, p, seed, stream)
    )


def packed(op: str, mask: Tensor, nnz: int) -> Tensor:
    """A mask in either form, packed; refuses one of another length."""
    if mask.dtype != torch.bool:
        return mask
    if mask.dim() != 1 or mask.shape[0] != nnz:
        raise ValueError(f"{op}: expected mask of shape [{nnz}] in bool, or packed, got {list(mask.shape)}")
    return pack_mask(mask)


def signed(number: int) -> int:
    """64 bits as torch takes them."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


def _dropout_fake(like: Tensor, nnz: int, p: float, seed: int, stream: int) -> Tensor:
    return like.new_empty((nnz + 7) // 8, dtype=torch.uint8)


def _pairs_fake(indptr: Tensor, indices: Tensor, cols: int, p: float, seed: int, stream: int) -> Tensor:
    return indptr.new_empty((indices.shape[0] + 7) // 8, dtype=torch.uint8)


torch.library.register_fake("gnas_ext::edge_dropout", _dropout_fake)
torch.library.register_fake("gnas_ext::edge_dropout_pairs", _pairs_fake)


def _topk_fake(indptr: Tensor, scores: Tensor, k: int) -> Tensor:
    return scores.new_empty(scores.shape, dtype=torch.bool)


def _topk_cuda(indptr: Tensor, scores: Tensor, k: int) -> Tensor:
    rows = torch.arange(len(indptr) - 1, device=scores.device)
    row = torch.repeat_interleave(rows, indptr.diff().long(), output_size=len(scores))
    by_score = torch.argsort(scores, descending=True, stable=True)
    # Stable again: by row, and by score within it.
    order = by_score[torch.argsort(row[by_score], stable=True)]
    mask = torch.empty(len(scores), dtype=torch.bool, device=scores.device)
    mask[order] = torch.arange(len(scores), device=scores.device) - indptr.long()[row] < k
    return mask


torch.library.register_fake("gnas_ext::topk_rows", _topk_fake)
torch.library.impl("gnas_ext::topk_rows", "CUDA", _topk_cuda)
