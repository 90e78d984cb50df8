"""Features of senders and of receivers: the same nodes, or the two sides of a bipartite graph?"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

if TYPE_CHECKING:
    from gnas_ext.nn._edges import Flow


class Pair(NamedTuple):
    """What sends, what receives (None: nothing is known of it), and how many receive."""

    source: Tensor
    target: Tensor | None
    targets: int

    @property
    def sources(self) -> int:
        """How many send."""
        return self.source.shape[-2]


def pair_of(layer: str, x: Tensor | tuple[Tensor, Tensor | None], size: tuple[int, int] | None, flow: Flow) -> Pair:
    """PyG's x, a tensor or a pair (sources, targets or None), with its `size`, (sources, targets)."""
    source: Tensor
    target: Tensor | None
    if isinstance(x, Tensor):
        source = target = x
    else:
        if flow != "source_to_target":
            raise ValueError(f"{layer}: a pair of features sends from the first to the second; flip edge_index instead")
        source, target = x
    known = (source.shape[-2], None if target is None else target.shape[-2])
    if size is not None:
        for name, expected, got in zip(("sources", "targets"), size, known, strict=True):
            if got is not None and expected != got:
                raise ValueError(f"{layer}: size asks for {expected} {name}, but x has {got}")
    targets = known[1]
    if targets is None:
        targets = known[0] if size is None else size[1]
    return Pair(source, target, targets)
