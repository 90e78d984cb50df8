"""Who moves the embeddings, and which rows? All, or those of the batch alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch.nn import Parameter

    from gnas_ext.models.lightgcn import LightGCN
    from gnas_ext.train.options import TrainOptions


class RowwiseAdagrad(torch.optim.Optimizer):
    """Adagrad with one sum of squares a row, for sparse gradients: a row that is not touched costs nothing.

    Gupta, Bengio and Weston, 2014, Training highly multiclass classifiers; as in FBGEMM. State is 4 bytes a row.

    Args:
        params: tables, [rows, width].
        lr: learning rate.
        eps: keeps the first step finite.
    """

    def __init__(self, params: Sequence[Parameter], lr: float, eps: float = 1e-10) -> None:
        super().__init__(params, {"lr": lr, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Moves the rows that have a gradient."""
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is None:
                    continue
                gradient = table.grad.coalesce()
                rows, values = gradient.indices()[0], gradient.values()
                if "squares" not in self.state[table]:
                    self.state[table]["squares"] = torch.zeros(len(table))
                squares = self.state[table]["squares"]
                seen = squares[rows] + values.square().mean(1)
                squares[rows] = seen
                table[rows] -= group["lr"] * values / (seen.sqrt() + group["eps"])[:, None]


def optimizers(net: LightGCN, options: TrainOptions, extra: Parameter | None) -> list[torch.optim.Optimizer]:
    """Those that train a net, and a weight beside it, at a rate of 0.01 at least.

    Raises:
        ValueError: rows of the batch alone are to be moved, but a step of this net moves all.
    """
    groups: list[dict[str, Any]] = [] if extra is None else [{"params": [extra], "lr": max(options.lr, 0.01)}]
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    if options.optimizer == "adam":
        return [torch.optim.Adam([{"params": trained, "lr": options.lr}, *groups], fused=True)]
    if net.hops or net.item_graph is not None:
        raise ValueError(
            f"fit: expected optimizer 'adam' with hops or an item graph, in which every row has a gradient, "
            f"got {options.optimizer!r}"
        )
    tables = [table for table in (net.user, net.item) if table.requires_grad]
    kind = torch.optim.SparseAdam if options.optimizer == "lazy_adam" else RowwiseAdagrad
    found: list[torch.optim.Optimizer] = [kind(tables, lr=options.lr)]
    return [*found, torch.optim.Adam(groups)] if groups else found
