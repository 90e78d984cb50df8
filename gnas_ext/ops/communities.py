"""Communities: which nodes are more with one another than with the rest?"""

from __future__ import annotations

import torch
from torch import Tensor

import gnas_ext._native  # noqa: F401  (registers the op)


def communities(indptr: Tensor, indices: Tensor, most: int, rounds: int = 5) -> Tensor:
    """A label a node, by label propagation with bounded sizes.

    Args:
        indptr: [n + 1], int32 or int64.
        indices: [nnz], same dtype, each below n.
        most: nodes that a community may have.
        rounds: times that every node may change, at most.

    Returns:
        [n], the index dtype: the number of some node. Nodes without neighbours keep their own.

    Raises:
        ValueError: most is below 1, or rounds is negative.
        RuntimeError: an index is out of range, or indptr is not that of nnz entries.

    Source: Raghavan, Albert and Kumara, 2007; bounded as Ugander and Backstrom, 2013. Nodes choose in their order, on
    one thread, so the result repeats exactly; a graph on CUDA is taken to the CPU.
    """
    _communities_out(indptr, indices, most, rounds)
    label: Tensor = torch.ops.gnas_ext.communities(indptr, indices, most, rounds)
    return label


def _communities_out(indptr: Tensor, indices: Tensor, most: int, rounds: int) -> Tensor:
    """The contract of communities: what is refused, and what comes out. The fake kernel is this function."""
    if most < 1 or rounds < 0:
        raise ValueError(f"communities: expected most of 1 or more and rounds of 0 or more, got {most} and {rounds}")
    return indptr.new_empty(indptr.shape[0] - 1)


def _communities_cuda(indptr: Tensor, indices: Tensor, most: int, rounds: int) -> Tensor:
    label: Tensor = torch.ops.gnas_ext.communities(indptr.cpu(), indices.cpu(), most, rounds)
    return label.to(indptr.device)


torch.library.register_fake("gnas_ext::communities", _communities_out)
torch.library.impl("gnas_ext::communities", "CUDA", _communities_cuda)
