"""Who moves the embeddings, and which rows? All, or those of the batch alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from gnas_ext.models.int8_factors import Int8Factors
from gnas_ext.ops.embedding_update import embedding_update_int8
from gnas_ext.ops.quantize_rows import dequantize_rows
from gnas_ext.ops.quantized_rows import QuantizedRows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor
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


class Int8Adagrad(torch.optim.Optimizer):
    """Row-wise Adagrad on tables whose only copy is int8 (`ops.embedding_update_int8`), rounded at random.

    Rows are asked for with `rows`, are float32 leaves of the graph, and are written back by `step`.

    Args:
        lr: learning rate.
        generator: of the roundings.
    """

    def __init__(self, lr: float, generator: torch.Generator) -> None:
        # Tables are no parameters of torch's, which have gradients of their own size; schedules need a group.
        super().__init__([torch.nn.Parameter(torch.empty(0))], {"lr": lr})
        self._generator = generator
        self._squares: dict[int, Tensor] = {}
        self._asked: dict[int, tuple[QuantizedRows, list[Tensor], list[Tensor]]] = {}

    def rows(self, table: QuantizedRows, index: Tensor) -> Tensor:
        """Some rows in float32, [len(index), width], which `step` moves by their gradient."""
        found = dequantize_rows(QuantizedRows(table.codes[index], table.scale[index], None, 8, table.width))
        _, indices, leaves = self._asked.setdefault(id(table), (table, [], []))
        indices.append(index)
        leaves.append(found.requires_grad_())
        return found

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Nothing to do: rows are asked for anew in each step, and their gradients are theirs."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Moves the rows that were asked for since the last step."""
        for name, (table, indices, leaves) in self._asked.items():
            if name not in self._squares:  # once: a step costs what its batch costs
                self._squares[name] = torch.zeros(table.rows)
            seed = int(torch.randint(2**62, (1,), generator=self._generator))
            grads = [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves]
            lr = self.param_groups[0]["lr"]
            embedding_update_int8(table, torch.cat(indices), torch.cat(grads), self._squares[name], lr, seed=seed)
        self._asked.clear()


def optimizers(
    net: LightGCN | Int8Factors, options: TrainOptions, extra: Parameter | None, generator: torch.Generator
) -> list[torch.optim.Optimizer]:
    """Those that train a net, and a weight beside it, at a rate of 0.01 at least; the first one moves the rows.

    Raises:
        ValueError: rows of the batch alone are to be moved, but a step of this net moves all; or the net's rows are
            int8 and the optimizer's are not, or the other way round.
    """
    groups: list[dict[str, Any]] = [] if extra is None else [{"params": [extra], "lr": max(options.lr, 0.01)}]
    if isinstance(net, Int8Factors) or options.optimizer == "int8_adagrad":
        if not isinstance(net, Int8Factors) or options.optimizer != "int8_adagrad":
            raise ValueError(
                f"fit: expected optimizer 'int8_adagrad' for Int8Factors and for nothing else, got "
                f"{options.optimizer!r} for {type(net).__name__}"
            )
        first: list[torch.optim.Optimizer] = [Int8Adagrad(options.lr, generator)]
        return [*first, torch.optim.Adam(groups)] if groups else first
    return _of_floats(net, options, groups)


def _of_floats(net: LightGCN, options: TrainOptions, groups: list[dict[str, Any]]) -> list[torch.optim.Optimizer]:
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
