"""What does `torch.func.vmap` make of an op: a batch of what, in one call or in several?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


def register_vmap(name: str, rule: Callable[..., tuple[Any, Any]], **batched: int) -> None:
    """Registers how torch.ops.gnas_ext.<name> runs over a batch.

    Args:
        name: the op.
        rule: takes the batch size, then the op's arguments, where those in `batched` have the batch as their first
            dimension or, if they have none, are as they came; returns the outputs and the dimension of the batch in
            each. `in_turn` makes one.
        batched: the arguments that may be batched, and where each stands. Others are refused: a batch of graphs is one
            graph of many parts.
    """

    def checked(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Any, Any]:
        if any(dim is not None and at not in batched.values() for at, dim in enumerate(in_dims)):
            raise NotImplementedError(
                f"{name}: vmap goes over {' and '.join(batched)}; for a batch of graphs make one graph of them"
            )
        moved = [arg if dim is None else arg.movedim(dim, 0) for arg, dim in zip(args, in_dims, strict=True)]
        return rule(info.batch_size, [dim is not None for dim in in_dims], *moved)

    torch.library.register_vmap(f"gnas_ext::{name}", checked)


def in_turn(name: str) -> Callable[..., tuple[Any, Any]]:
    """A call for each element of the batch."""
    op = getattr(torch.ops.gnas_ext, name)

    def rule(size: int, batched: list[bool], *args: Any) -> tuple[Any, Any]:
        calls = [op(*(arg[at] if b else arg for arg, b in zip(args, batched, strict=True))) for at in range(size)]
        if isinstance(calls[0], tuple):
            return tuple(torch.stack(parts) for parts in zip(*calls, strict=True)), (0,) * len(calls[0])
        return torch.stack(calls), 0

    return rule


def side_by_side(x: Tensor, size: int, batched: bool, heads: int = 1) -> Tensor:
    """[size, n, heads * dim], or without the batch, as [n, heads * size * dim]: each head has the whole batch."""
    if not batched:
        x = x.expand(size, *x.shape)
    n, width = x.shape[1:]
    return x.reshape(size, n, heads, width // heads).permute(1, 2, 0, 3).flatten(1)


def apart(x: Tensor, size: int, heads: int = 1) -> Tensor:
    """The reverse: [n, heads * size * dim] as [size, n, heads * dim]."""
    n, width = x.shape
    return x.reshape(n, heads, size, width // (heads * size)).permute(2, 0, 1, 3).flatten(2)
