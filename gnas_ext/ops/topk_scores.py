"""Which items does each user get? Scores, what was seen left out, and the best k, in one pass."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

import gnas_ext._native  # noqa: F401  (registers the op)
from gnas_ext.ops._entries import FLOATS, INDEX_TYPES
from gnas_ext.ops.quantized_rows import QuantizedRows, check_quantized

if TYPE_CHECKING:
    from gnas_ext.graph.csr import CSR

    Best = tuple[Tensor, Tensor]

_WIDEST_CODES = 131_071
_MOST_ITEMS = 2**31 - 1


def topk_scores(
    users: Tensor | QuantizedRows,
    items: Tensor | QuantizedRows,
    k: int,
    exclude: CSR | None = None,
    allow: Tensor | None = None,
    chunk: int | None = None,
    bias: Tensor | None = None,
) -> Best:
    """The k items with the largest scores for each user; the score is the dot product of their rows, plus a bias.

    Users × items is never in memory, but for a bias, which is the caller's: a block of users meets a few items at a
    time, and only what is above the user's k-th best so far leaves the registers. Where hundreds of float32 users meet
    thousands of items on a CPU with AVX512-VNNI, int8 codes of the rows come first: most scores are shown by them not
    to be above, and only the others are computed. The result is the same in every bit; the codes take width + 8 bytes a
    user and an item meanwhile.

    Args:
        users: [n, width], float32, float64, bfloat16 or float16; or QuantizedRows of 8 bits, symmetric.
        items: [items, width], likewise: the same dtype, or QuantizedRows too.
        k: how many; may exceed the number of items.
        exclude: graph of shape [n, items]: row i is what user i does not get. Weights are not looked at; columns may
            come in any order and more than once, but in ascending order nothing is copied.
        allow: the only items that may be chosen: bool [items], or their numbers, int32 or int64, in any order.
            None: all.
        chunk: how many users a thread works on at a time; by default as many as fit in its cache. The results do not
            depend on it, the memory does: about chunk * (4 * width + 16 * k) bytes a thread, and
            128 * chunk for a bias.
        bias: [n, items], what is added to each score: what another model says, say, or `prior.expand(n, -1)` for a
            number an item. float32 (float64 beside float64 rows). Of any strides: nothing is copied. -inf is "never",
            as in a score.

    Returns:
        values [n, k], float32 (float64 for float64), the largest first, and columns [n, k], int64. Of equal scores the
        smaller item comes first. Where no item is left, the value is -inf and the column -1; a score of -inf means
        "never", so such an item is not chosen. On CUDA, and under torch.compile, a user of whose scores one is NaN has
        NaN for all values and -1 for all columns: to look at them here would be to wait for the GPU in each call.

    Raises:
        ValueError: a shape or device does not fit, rows are affine or not of 8 bits, or on the CPU a score is NaN (the
            message names the user; what `exclude` names is looked at too, what `allow` leaves out is not).
        TypeError: a dtype is another one, or users and items differ in it.
        IndexError: a number in `allow` is not that of an item.

    Sums run in float32 (float64 for float64), in the order of the columns, whatever the batch: results repeat exactly
    at any number of threads; the bias is added last. Of int8 rows the sum is the exact whole number, at most 131,071
    columns wide, and the score is user scale * (item scale * sum) + bias in float32, each step rounded: the same at
    every instruction set. There is no gradient: which items are chosen is a choice; the scores of those can be computed
    anew where one is needed.
    """
    left, right = _parts(users), _parts(items)
    if isinstance(users, QuantizedRows) != isinstance(items, QuantizedRows):
        raise TypeError(
            "topk_scores: expected users and items both as tensors or both as QuantizedRows, got "
            f"{type(users).__name__} and {type(items).__name__}: use quantize_rows or dequantize_rows on one"
        )
    for name, side in (("users", users), ("items", items)):
        if isinstance(side, QuantizedRows) and side.bits != 8:
            raise ValueError(f"topk_scores: expected {name} of 8 bits, got {side.bits}")
        if isinstance(side, QuantizedRows) and side.zero is not None:
            raise ValueError(
                f"topk_scores: expected symmetric {name}, got rows with a zero: quantise them symmetrically"
            )
    if chunk is not None and chunk < 1:
        raise ValueError(f"topk_scores: expected chunk of at least 1, got {chunk}")
    if exclude is not None and exclude.shape != (left[0].shape[0], right[0].shape[0]):
        raise ValueError(
            f"topk_scores: expected exclude of shape [{left[0].shape[0]}, {right[0].shape[0]}], got "
            f"{list(exclude.shape)}"
        )
    seen = (None, None) if exclude is None else (exclude.indptr, exclude.indices)
    other = None if bias is None else bias.detach()
    arguments = (*left, *right, *seen, _numbers(allow, right[0]), k, chunk or 0, other)
    _check(*arguments)
    best: Best = torch.ops.gnas_ext.topk_scores(*arguments)
    if k > 0 and best[0].device.type == "cpu" and not torch.compiler.is_compiling():
        _refuse_nan(best[0])
    return best


def _parts(side: Tensor | QuantizedRows) -> tuple[Tensor, Tensor | None]:
    if isinstance(side, QuantizedRows):
        return side.codes.contiguous(), side.scale.detach().contiguous()
    return side.detach(), None


def _numbers(allow: Tensor | None, items: Tensor) -> Tensor | None:
    """What may be chosen, ascending."""
    if allow is None:
        return None
    if allow.device != items.device:
        raise ValueError(f"topk_scores: allow is on {allow.device}, items on {items.device}: move one with .to()")
    if allow.dtype == torch.bool:
        if allow.shape != items.shape[:1]:
            raise ValueError(f"topk_scores: expected allow of shape [{items.shape[0]}], got {list(allow.shape)}")
        return allow.nonzero().squeeze(1)
    if allow.dtype not in INDEX_TYPES:
        raise TypeError(f"topk_scores: expected allow in bool, int32 or int64, got {allow.dtype}")
    if allow.dim() != 1:
        raise ValueError(f"topk_scores: expected allow of shape [count], got {list(allow.shape)}")
    numbers: Tensor = torch.unique(allow.long())
    if not torch.compiler.is_compiling() and numbers.numel():
        for number in (int(numbers[0]), int(numbers[-1])):
            if not 0 <= number < items.shape[0]:
                raise IndexError(f"topk_scores: allow names item {number}, but there are {items.shape[0]}")
    return numbers


def _refuse_nan(values: Tensor) -> None:
    # A user with a NaN has nothing else in its row; the largest number of any with a NaN is NaN.
    first = values[:, 0]
    if len(first) and math.isnan(first.amax().item()):
        nan = first.isnan()
        raise ValueError(f"topk_scores: a score of user {int(nan.nonzero()[0])} is NaN: are its rows finite?")


def _check(
    users: Tensor,
    user_scale: Tensor | None,
    items: Tensor,
    item_scale: Tensor | None,
    exclude_indptr: Tensor | None,
    exclude_indices: Tensor | None,
    allow: Tensor | None,
    k: int,
    chunk: int,
    bias: Tensor | None = None,
) -> None:
    """What topk_scores refuses."""
    for name, side, scale in (("users", users, user_scale), ("items", items, item_scale)):
        if side.dim() != 2:
            raise ValueError(f"topk_scores: expected {name} of shape [rows, width], got {list(side.shape)}")
        if scale is not None:
            check_quantized("topk_scores", side, scale, None, 8, side.shape[1])
            if side.shape[1] > _WIDEST_CODES:
                raise ValueError(
                    f"topk_scores: expected at most {_WIDEST_CODES} columns of int8, whose sums fit in int32, got "
                    f"{side.shape[1]}"
                )
        elif side.dtype not in FLOATS:
            raise TypeError(
                f"topk_scores: expected {name} in float32, float64, bfloat16 or float16, or as QuantizedRows, got "
                f"{side.dtype}"
            )
    if users.dtype != items.dtype:
        raise TypeError(f"topk_scores: expected users and items in one dtype, got {users.dtype} and {items.dtype}")
    if users.shape[1] != items.shape[1]:
        raise ValueError(f"topk_scores: users and items differ in width: {list(users.shape)} and {list(items.shape)}")
    if items.shape[0] > _MOST_ITEMS:
        raise ValueError(f"topk_scores: expected at most {_MOST_ITEMS} items, got {items.shape[0]}")
    if bias is not None:
        score = _score_type(users)
        if bias.dtype != score:
            raise TypeError(f"topk_scores: expected bias in {score} beside {users.dtype} rows, got {bias.dtype}")
        if bias.shape != (users.shape[0], items.shape[0]):
            raise ValueError(
                f"topk_scores: expected bias of shape [{users.shape[0]}, {items.shape[0]}], got {list(bias.shape)}"
            )
    for name, other in (("items", items), ("exclude", exclude_indptr), ("bias", bias)):
        if other is not None and other.device != users.device:
            raise ValueError(f"topk_scores: {name} is on {other.device}, users on {users.device}: move one with .to()")
    if isinstance(k, int) and k < 0:
        raise ValueError(f"topk_scores: expected k of 0 or more, got {k}")


def _score_type(users: Tensor) -> torch.dtype:
    return torch.float64 if users.dtype == torch.float64 else torch.float32


def _topk_scores_out(
    users: Tensor,
    user_scale: Tensor | None,
    items: Tensor,
    item_scale: Tensor | None,
    exclude_indptr: Tensor | None,
    exclude_indices: Tensor | None,
    allow: Tensor | None,
    k: int,
    chunk: int,
    bias: Tensor | None = None,
) -> Best:
    """The contract of topk_scores: what is refused, and what comes out. The fake kernel is this function."""
    _check(users, user_scale, items, item_scale, exclude_indptr, exclude_indices, allow, k, chunk, bias)
    shape = (users.shape[0], k)
    return users.new_empty(shape, dtype=_score_type(users)), users.new_empty(shape, dtype=torch.int64)


torch.library.register_fake("gnas_ext::topk_scores", _topk_scores_out)
