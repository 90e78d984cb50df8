"""Which part of a large graph does a batch need? Neighbours drawn at random, over one hop or several."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from gnas_ext.graph.csr import CSR, Structure
from gnas_ext.ops.sample_neighbors import sample_neighbors as draw

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class Neighbors(NamedTuple):
    """Drawn entries of some rows.

    Attributes:
        csr: [len(nodes), cols], with the weights of the drawn entries; gradients flow to the graph's.
        edge: [csr.nnz], where each entry stands among the graph's.
    """

    csr: CSR
    edge: Tensor


class Sample(NamedTuple):
    """A batch and what it hears.

    Attributes:
        nodes: [n], the graph's names of all nodes: the seeds, then those that each hop found, ascending.
        blocks: one graph a hop. Hop h has a row for each node known before it, the first `blocks[h].rows` of `nodes`,
            and a column for each node known after it, the first `blocks[h].cols`.
        edges: for each block, [nnz], where its entries stand among the graph's.
    """

    nodes: Tensor
    blocks: list[CSR]
    edges: list[Tensor]


def sample_neighbors(csr: CSR, nodes: Tensor, fanout: int, replace: bool = False, seed: int = 0) -> Neighbors:
    """Draws neighbours of some nodes, each neighbour of a node as likely as another.

    Args:
        csr: graph of shape [rows, cols].
        nodes: [count], int32 or int64, the rows to draw from; a row may come twice and draws anew.
        fanout: neighbours a node, at most; -1 for all.
        replace: a neighbour may be drawn twice, so that every node with a neighbour gets `fanout` of them. Without it
            a row of `fanout` entries or fewer is taken whole, and entries keep their order.
        seed: 64 bits; the same seed gives the same entries at any number of threads and on CUDA.

    Returns:
        The drawn entries as a graph of shape [count, cols], and where each one stands.

    Raises:
        ValueError: nodes is not one-dimensional or elsewhere, or fanout is below -1, or -1 with replacement.
        RuntimeError: a node is no row of the graph.

    Row i of the batch draws from stream i of a counter-based generator (Philox4x32-10; Salmon et al., 2011).
    """
    return _draw(csr, nodes, fanout, replace, seed, 0)


def sample_subgraph(csr: CSR, seeds: Tensor, fanouts: Sequence[int], replace: bool = False, seed: int = 0) -> Sample:
    """Draws neighbours of the seeds, then of all nodes known so far, and so on: the batch of GraphSAGE.

    A model runs from the last hop to the first, and ends with a row for each seed:

        sample = sample_subgraph(graph, seeds, [10, 5], seed=step)
        x = features[sample.nodes]
        for layer, block in zip(layers, reversed(sample.blocks)):
            x = layer(block, x)  # [block.cols, width] -> [block.rows, width]

    Args:
        csr: graph of shape [n, n]: the columns of a row are the nodes that it hears.
        seeds: [batch], int32 or int64, each node once.
        fanouts: neighbours a node at each hop, at most; -1 for all.
        replace: as `sample_neighbors` has it.
        seed: likewise; each hop draws from numbers of its own.

    Raises:
        ValueError: the graph is not square, or a seed comes twice.
        RuntimeError: a seed is no node of the graph.

    Source: Hamilton, Ying and Leskovec, 2017, algorithm 2.
    """
    if csr.rows != csr.cols:
        raise ValueError(f"sample_subgraph: expected a graph of shape [n, n], got {list(csr.shape)}")
    nodes = seeds.to(csr.indptr.dtype)
    if len(nodes) != len(torch.unique(nodes)):
        raise ValueError("sample_subgraph: expected each seed once: pass torch.unique(seeds)")
    blocks, edges = [], []
    place = torch.full((csr.cols,), -1, dtype=csr.indptr.dtype, device=csr.device)
    for hop, fanout in enumerate(fanouts):
        drawn, edge = _draw(csr, nodes, fanout, replace, seed, hop)
        place[nodes.long()] = torch.arange(len(nodes), dtype=place.dtype, device=csr.device)
        new = torch.unique(drawn.indices[place[drawn.indices.long()] < 0])
        place[new.long()] = torch.arange(len(nodes), len(nodes) + len(new), dtype=place.dtype, device=csr.device)
        nodes = torch.cat([nodes, new])
        local = Structure(drawn.indptr, place[drawn.indices.long()], None)
        blocks.append(CSR._unchecked(local, drawn.stored_weight, (drawn.rows, len(nodes)), {}))
        edges.append(edge)
    return Sample(nodes, blocks, edges)


def _draw(csr: CSR, nodes: Tensor, fanout: int, replace: bool, seed: int, family: int) -> Neighbors:
    nodes = nodes.to(csr.indptr.dtype)
    indptr, indices, edge = draw(csr.indptr, csr.indices, nodes, fanout, replace, seed, family)
    structure = Structure(indptr, indices, None)
    return Neighbors(CSR._unchecked(structure, weight_of(csr, edge), (len(nodes), csr.cols), {}), edge)


def weight_of(csr: CSR, edge: Tensor) -> Tensor | None:
    """The weights of some entries, or none."""
    if csr.stored_weight is None:
        return None
    return csr.stored_weight.index_select(0, edge if csr.edge is None else csr.edge.index_select(0, edge))
