"""How does an op get derivatives that also work inside torch.func, forward and backward, nested or not?

`torch.library.register_autograd` does the same for a plain backward, but under `torch.func.grad` it fails (torch 2.13),
and forward-mode derivatives come out as zeros without an error. Here the kernel differentiates at the one level that
the dispatcher has reached, as torch's own ops do; and what has no forward mode refuses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd.function import _SingleLevelFunction

if TYPE_CHECKING:
    from collections.abc import Callable

forward_ad: Any = torch.autograd.forward_ad
_library: Any = torch.library.Library("gnas_ext", "FRAGMENT")  # type: ignore[no-untyped-call]


def register_autograd(
    name: str,
    backward: Callable[..., Any],
    *,
    setup_context: Callable[[Any, tuple[Any, ...], Any], None],
    jvp: Callable[..., Any] | None = None,
) -> None:
    """Registers the derivatives of torch.ops.gnas_ext.<name>.

    Args:
        name: the op; all its arguments are positional, without defaults.
        backward: as for `torch.library.register_autograd`.
        setup_context: likewise.
        jvp: forward mode: a function of (inputs, tangents, output) that returns the tangent of the output; None among
            the tangents stands for zero. `linear` makes one. Without it forward mode is refused.
    """
    op = getattr(torch.ops.gnas_ext, name).default

    def run(keyset: Any, args: tuple[Any, ...]) -> Any:
        with torch._C._AutoDispatchBelowAutograd():
            return op.redispatch(keyset & torch._C._after_autograd_keyset, *args)

    def forward(ctx: Any, *args: Any) -> Any:
        *inputs, keyset = args
        # torch turns both modes off in here; outer levels of torch.func need them.
        with torch.enable_grad(), forward_ad._set_fwd_grad_enabled(True):
            output = run(keyset, tuple(inputs))
        setup_context(ctx, tuple(inputs), output)
        if forward_ad._current_level >= 0:
            ctx.set_materialize_grads(False)  # None for the tangent of what has none, not zeros
            ctx.for_jvp = inputs, output
        return output

    def backward_of(ctx: Any, *grads: Any) -> Any:
        result = backward(ctx, *grads)
        return (*result, None) if isinstance(result, tuple) else (result, None)

    def jvp_of(ctx: Any, *tangents: Any) -> Any:
        inputs, output = ctx.for_jvp
        del ctx.for_jvp
        if jvp is None:
            raise NotImplementedError(
                f"{name}: forward-mode derivatives are not implemented; use reverse mode (backward, torch.func.grad, "
                "vjp, jacrev)"
            )
        with forward_ad._set_fwd_grad_enabled(True):
            return jvp([_primal(value) for value in inputs], tangents[:-1], output)

    function: Any = type(
        f"gnas_ext_{name}",
        (_SingleLevelFunction,),
        {"forward": staticmethod(forward), "backward": staticmethod(backward_of), "jvp": staticmethod(jvp_of)},
    )

    def kernel(keyset: Any, *args: Any) -> Any:
        backwards = torch.is_grad_enabled() and torch._C._any_requires_grad(*args)
        if not backwards and (forward_ad._current_level < 0 or not _any_tangent(args)):
            return run(keyset, args)
        if not torch._C._are_functorch_transforms_active():
            return function.apply(*args, keyset)
        with enable_single_level_autograd_function():
            return function.apply(*args, keyset)

    _library.impl(name, kernel, "Autograd", with_keyset=True)


def linear(name: str, *positions: int) -> Callable[..., Any]:
    """Forward mode of an op that is linear in each of the arguments at `positions`."""
    op = getattr(torch.ops.gnas_ext, name)

    def jvp(inputs: list[Any], tangents: tuple[Tensor | None, ...], output: Tensor) -> Tensor | None:
        total: Tensor | None = None
        for position in positions:
            if tangents[position] is not None:
                part = op(*inputs[:position], tangents[position], *inputs[position + 1 :])
                total = part if total is None else total + part
        return total

    return jvp


def wanted(*values: Tensor | None) -> bool:
    """Whether a derivative of a call with these values may be asked for: by backward, forward mode or torch.func."""
    if torch.is_grad_enabled():
        for value in values:  # not any(): a generator costs as much as all the rest
            if value is not None and value.requires_grad:
                return True
    return not torch.compiler.is_compiling() and (
        forward_ad._current_level >= 0 or torch._C._are_functorch_transforms_active()
    )


def _any_tangent(args: tuple[Any, ...]) -> bool:
    return any(isinstance(a, Tensor) and forward_ad.unpack_dual(a, level=0).tangent is not None for a in args)


def _primal(value: Any) -> Any:
    return forward_ad.unpack_dual(value, level=0).primal if isinstance(value, Tensor) else value
