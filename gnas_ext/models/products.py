"""How does every row score every other, so that training repeats exactly for any number of threads?

BLAS cuts a long sum into one part a thread, and the last bits depend on how many there are. The gradient of a batch's
scores sums over the whole batch; here it is summed in fixed parts that BLAS leaves whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import pad

if TYPE_CHECKING:
    from torch import Tensor

# Terms of a sum that one call adds up; seen to be left whole for any shape and up to 16 threads.
TERMS = 256
# Columns of a whole register. MKL on AMD's processors takes a rest of fewer in an order that depends on where its
# threads divide the columns: 17 columns differ between 1 and 3 threads, 32 do not.
_COLUMNS = 16
# Of few rows, 5 to 7 and 9 to 11 are summed in an order that depends on the threads too; multiples of 4 are not.
_FEW_ROWS, _ROWS = 12, 4


def dot_products(left: Tensor, right: Tensor) -> Tensor:
    """<left[i], right[j]> for all pairs.

    Args:
        left: [n, width].
        right: [m, width].

    Returns:
        [n, m]. Gradients flow to both, once.
    """
    products: Tensor = _DotProducts.apply(left, right)  # type: ignore[no-untyped-call]
    return products


class _DotProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor) -> Tensor:
        ctx.save_for_backward(left, right)
        return product(left, right.T)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        left, right = ctx.saved_tensors
        return product(gradient, right), product(gradient.T, left)


def product(left: Tensor, right: Tensor) -> Tensor:
    """The product left @ right, [n, m], without gradients; the same for any number of threads."""
    rows, columns = left.shape[0], right.shape[1]
    if rows < _FEW_ROWS and rows % _ROWS:
        left = pad(left, (0, 0, 0, -rows % _ROWS))
    if columns % _COLUMNS:
        right = pad(right, (0, -columns % _COLUMNS))
    out = left.new_zeros(left.shape[0], right.shape[1])
    _add_parts(out, left, right)
    return out[:rows, :columns]


def add_product(out: Tensor, left: Tensor, right: Tensor) -> None:
    """Adds left @ right to out, [n, m], in place; as `product`."""
    rows, columns = out.shape
    if columns % _COLUMNS or (rows < _FEW_ROWS and rows % _ROWS):
        out += product(left, right)
    else:
        _add_parts(out, left, right)


def _add_parts(out: Tensor, left: Tensor, right: Tensor) -> None:
    for part, terms in zip(torch.split(left, TERMS, 1), torch.split(right, TERMS), strict=True):
        out.addmm_(part, terms)


def a_row(number: Tensor, rows: int) -> Tensor:
    """A number once a row, [rows, 1]. Its gradient is summed in parts that do not depend on the number of threads."""
    blocks = -(-rows // TERMS)
    return number.expand(blocks)[:, None].expand(blocks, TERMS).reshape(-1)[:rows, None]
