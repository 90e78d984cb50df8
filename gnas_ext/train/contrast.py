"""Are nodes still told apart when they are blurred? InfoNCE of embeddings with noise.

SimGCL (Yu et al., 2022, Are graph augmentations necessary?) carries the embeddings over the graph twice more, with
noise in each hop, and asks that a node's two views be nearer to each other than to other nodes'. XSimGCL (Yu et al.,
2023) carries them once, with noise, scores with that, and contrasts it with its own first hop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from gnas_ext.models.int8_factors import Int8Factors
from gnas_ext.ops.gather_rows import gather_rows
from gnas_ext.train.softmax import softmax_loss

if TYPE_CHECKING:
    from torch import Tensor

    from gnas_ext.models.lightgcn import LightGCN
    from gnas_ext.train.options import TrainOptions


def check_contrast(net: LightGCN | Int8Factors, options: TrainOptions) -> None:
    """ValueError where the two sides of the contrast would be one, or of two widths."""
    if options.contrast != "none" and net.hops == 0:
        raise ValueError(f"fit: expected hops of 1 or more with contrast {options.contrast!r}, got 0")
    if isinstance(net, Int8Factors):
        return
    if options.contrast == "layers" and (net.combine == "concat" or (net.combine == "last" and net.hops == 1)):
        raise ValueError(
            "fit: expected combine other than 'concat', and other than 'last' with 1 hop, with contrast 'layers', got "
            f"{net.combine!r} and {net.hops}"
        )


def scored_and_views(net: LightGCN, options: TrainOptions) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
    """What scores, and the two views of it that are contrasted, all [nodes, width]; None without contrast."""
    if options.contrast == "none":
        return net.nodes(), None
    noise = options.contrast_noise
    if options.contrast == "views":
        one, two = (net.combined(net.layers(noise)) for _ in range(2))
        return net.nodes(), (one, two)
    layers = net.layers(noise)
    found = net.combined(layers)
    return found, (found, layers[1])


def info_nce(views: tuple[Tensor, Tensor], nodes: Tensor, temperature: float) -> Tensor:
    """How surprising it is that two views of a node belong together.

    Args:
        views: [all nodes, width], twice.
        nodes: those that are told apart, [n], int64, none twice.
        temperature: of the cosines.

    Returns:
        The mean over the nodes, a scalar.
    """
    one, two = (functional.normalize(gather_rows(view, nodes)) for view in views)
    own = torch.arange(len(nodes))
    one = one / temperature
    return softmax_loss(one, (one * two).sum(1), two, (own, own))
