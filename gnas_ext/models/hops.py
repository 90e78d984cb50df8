"""How much of each hop reaches a node? Layers and their combination as polynomials of the graph.

With the graph A, the first embeddings x[0], a loop s and a residual r, the layers of LightGCN and its neighbours are

    x[k + 1] = (1 - r) (A + s) / (1 + s) x[k] + r x[0]

and what scores is a weighted sum of them. All of it is linear in A, so it is one polynomial, which `ops.propagate`
applies in one call: LightGCN (He et al., 2020) has s = r = 0 and equal shares, APPNP (Gasteiger et al., 2019) scores
with the last layer and r above 0, or, which is the same without an end, with shares r (1 - r)^k.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

Combine = Literal["mean", "last", "halving", "pagerank", "learned", "concat"]


def shares(combine: Combine, hops: int, restart: float = 0.2) -> list[float]:
    """How much each layer counts, [hops + 1], the first embeddings first; all together 1.

    Args:
        combine: "mean": all alike, which "learned" begins with; "last": the last alone; "halving": each half of the one
            before; "pagerank": restart (1 - restart)^k, the last what is left.
        hops: layers beside the first embeddings.
        restart: of "pagerank", above 0 and up to 1.
    """
    if combine == "last":
        return [0.0] * hops + [1.0]
    if combine == "halving":
        parts = [0.5**hop for hop in range(hops + 1)]
        return [part / sum(parts) for part in parts]
    if combine == "pagerank":
        return [restart * (1 - restart) ** hop for hop in range(hops)] + [(1 - restart) ** hops]
    return [1 / (hops + 1)] * (hops + 1)


def layers(hops: int, loop: float = 0.0, residual: float = 0.0) -> Tensor:
    """Row k: layer k as a polynomial of A, the constant first; [hops + 1, hops + 1], float32."""
    rows = torch.zeros(hops + 1, hops + 1)
    rows[0, 0] = 1
    for hop in range(hops):
        rows[hop + 1] = rows[hop] * loop
        rows[hop + 1, 1:] += rows[hop, :-1]
        rows[hop + 1] *= (1 - residual) / (1 + loop)
        rows[hop + 1, 0] += residual
    return rows


def check(combine: str, hops: int, restart: float, loop: float, residual: float) -> None:
    """ValueError where a value is none or out of range."""
    if combine not in get_args(Combine):
        raise ValueError(f"LightGCN: expected combine in {', '.join(get_args(Combine))}, got {combine!r}")
    if hops < 0:
        raise ValueError(f"LightGCN: expected hops of 0 or more, got {hops}")
    if not (0 < restart <= 1 and loop >= 0 and 0 <= residual < 1):
        raise ValueError(
            "LightGCN: expected restart above 0 and up to 1, loop of 0 or more and residual of 0 or more and below 1, "
            f"got {restart}, {loop} and {residual}"
        )
