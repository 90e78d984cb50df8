"""Entries of rows at random: which neighbours does each node of a batch hear?"""

from __future__ import annotations

import torch
from torch import Tensor

import gnas_ext._native  # noqa: F401  (registers the op)


def sample_neighbors(
    indptr: Tensor,
    indices: Tensor,
    nodes: Tensor,
    fanout: int,
    replace: bool = False,
    seed: int = 0,
    family: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Draws entries of some rows, each entry of a row as likely as another.

    Args:
        indptr: [rows + 1], int32 or int64.
        indices: [nnz], same dtype.
        nodes: [count], same dtype: the rows to draw from; a row may come twice and draws anew.
        fanout: entries a row, at most; -1 for all.
        replace: an entry may be drawn twice, so that every row with an entry gets `fanout` of them, in the order of
            the draws. Without it a row of `fanout` entries or fewer is taken whole, and entries keep their order.
        seed: 64 bits; the same seed gives the same entries at any number of threads and on CUDA.
        family: 32 bits that keep two uses of one seed apart, such as two hops.

    Returns:
        indptr [count + 1] and indices [drawn] of the drawn entries, and edge [drawn]: where each stands in the graph.

    Raises:
        ValueError: a shape or device does not fit, or fanout is below -1, or -1 with replacement.
        TypeError: nodes has another dtype than indptr.
        RuntimeError: a node is no row of the graph.

    The draws of row i of the batch are the stream (seed, family, i) of Philox4x32-10 (Salmon et al., 2011); sets are
    drawn by Floyd's algorithm (Bentley and Floyd, 1987). Allocates what comes out, so it asks the device for its size.
    """
    if nodes.dim() != 1:
        raise ValueError(f"sample_neighbors: expected nodes of shape [count], got {list(nodes.shape)}")
    if nodes.dtype != indptr.dtype:
        raise TypeError(f"sample_neighbors: expected nodes in the graph's {indptr.dtype}, got {nodes.dtype}")
    if nodes.device != indptr.device:
        raise ValueError(
            f"sample_neighbors: nodes is on {nodes.device}, the graph on {indptr.device}: move one with .to()"
        )
    if fanout < -1 or (fanout == -1 and replace):
        raise ValueError(f"sample_neighbors: expected a fanout of 0 or more, or -1 without replace, got {fanout}")
    rows = len(indptr) - 1
    if len(nodes) and not 0 <= int(nodes.min()) <= int(nodes.max()) < rows:
        wrong = int(((nodes < 0) | (nodes >= rows)).nonzero()[0])
        raise RuntimeError(f"sample_neighbors: nodes[{wrong}] is {int(nodes[wrong])}, but the graph has {rows} rows")
    begin = nodes.long()
    count = indptr[begin + 1] - indptr[begin]
    if replace:
        count = torch.where(count > 0, fanout, 0)
    elif fanout >= 0:
        count = count.clamp(max=fanout)
    ends = count.cumsum(0)
    drawn = int(ends[-1]) if len(ends) else 0
    out_indptr = torch.cat([ends.new_zeros(1), ends]).to(indptr.dtype)
    if drawn > torch.iinfo(indptr.dtype).max:
        raise ValueError(f"sample_neighbors: {drawn} entries are too many for {indptr.dtype}: use int64 indices")
    out, edge = torch.ops.gnas_ext.sample_neighbors(indptr, indices, nodes, out_indptr, drawn, replace, seed, family)
    return out_indptr, out, edge


def _sample_neighbors_fake(
    indptr: Tensor,
    indices: Tensor,
    nodes: Tensor,
    out_indptr: Tensor,
    drawn: int,
    replace: bool,
    seed: int,
    family: int,
) -> tuple[Tensor, Tensor]:
    return indices.new_empty(drawn), indices.new_empty(drawn)


torch.library.register_fake("gnas_ext::sample_neighbors", _sample_neighbors_fake)
