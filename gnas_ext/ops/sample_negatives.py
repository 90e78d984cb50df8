"""Items that a user has nothing to do with, at random: what is a model to rank below the known ones?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

import gnas_ext._native  # noqa: F401  (registers the op)
from gnas_ext.ops.edge_masks import signed

if TYPE_CHECKING:
    from gnas_ext.graph.csr import CSR


def sample_negatives(
    users: Tensor,
    count: int,
    known: CSR | int,
    cumulative: Tensor | None = None,
    seed: int = 0,
    family: int = 0,
) -> Tensor:
    """Draws items for each user, each on its own: evenly or by weight, and none of those the user is known to have.

    Args:
        users: [batch], int32 or int64: rows of `known`; a user may come twice and draws anew.
        count: items a user.
        known: graph of shape [users, items], in users' dtype: row i is what user i never gets. Columns ascend in each
            row and none comes twice (`graph.coalesce` makes it so); weights are not looked at. Or the number of
            items, where any may come.
        cumulative: int64, [items]: running sums of the items' weights, whole numbers of 0 or more, such as
            `counts.cumsum(0)` for popularity; an item is drawn as often as its share of what is left says. For other
            shares round a multiple: `(2**30 * counts**0.75).long().cumsum(0)`. None: all items alike.
        seed: 64 bits; the same seed gives the same items at any number of threads and on CUDA.
        family: 32 bits that keep two uses of one seed apart. A step of training has a seed, or a family, of its own.

    Returns:
        [batch, count] in users' dtype, with replacement. A user who knows all items (or all with a weight) gets -1.

    Raises:
        ValueError: a shape, device or number does not fit, or the columns of a row do not ascend. That is looked at
            once a graph, which keeps the answer, and not under torch.compile.
        TypeError: a dtype is another one.
        RuntimeError: a user is no row of `known`.

    Draw d = i * count + j has numbers of its own from Philox4x32-10 (Salmon et al., 2011): the d % 4-th word of block 0
    of stream d // 4, and where that is not enough the words of blocks 1 + d % 4, 5 + d % 4, … Whole numbers decide, so
    the shares are exact. Evenly, one number and a binary search in the user's row say which. By weight, a known item is
    drawn again, 16 times at most; then a number below the weight that is left and a walk over the row say which. That
    `cumulative` never falls is not looked at: where it does, the shares are others, but nothing is read out of bounds.
    """
    if isinstance(known, int):
        indptr, indices, items = None, None, known
    else:
        indptr, indices, items = known.indptr, known.indices, known.cols
    arguments = (users, indptr, indices, cumulative, items, count, signed(seed), family)
    _sample_negatives_out(*arguments)
    if not isinstance(known, int) and not torch.compiler.is_compiling():
        if not known.ascends():
            raise ValueError(
                "sample_negatives: expected known with ascending columns in a row, and none twice: use graph.coalesce"
            )
        _check_users(users, known.rows)
    out: Tensor = torch.ops.gnas_ext.sample_negatives(*arguments)
    return out


def _check_users(users: Tensor, rows: int) -> None:
    if not len(users):
        return
    low, high = torch.aminmax(users)
    if int(low) < 0 or int(high) >= rows:
        wrong = int(((users < 0) | (users >= rows)).nonzero()[0])
        raise RuntimeError(f"sample_negatives: users[{wrong}] is {int(users[wrong])}, but known has {rows} rows")


def _sample_negatives_out(
    users: Tensor,
    indptr: Tensor | None,
    indices: Tensor | None,
    cumulative: Tensor | None,
    items: int,
    count: int,
    seed: int,
    family: int,
) -> Tensor:
    """The contract of sample_negatives: what is refused, and what comes out. The fake kernel is this function."""
    if users.dim() != 1:
        raise ValueError(f"sample_negatives: expected users of shape [batch], got {list(users.shape)}")
    if users.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"sample_negatives: expected users in int32 or int64, got {users.dtype}")
    if indptr is not None:
        if indptr.dtype != users.dtype:
            raise TypeError(f"sample_negatives: expected users in known's {indptr.dtype}, got {users.dtype}")
        if indptr.device != users.device:
            raise ValueError(
                f"sample_negatives: users is on {users.device}, known on {indptr.device}: move one with .to()"
            )
    if items < 0 or items > torch.iinfo(users.dtype).max:
        raise ValueError(f"sample_negatives: expected a number of items that {users.dtype} holds, got {items}")
    if cumulative is not None:
        if cumulative.dtype != torch.int64:
            raise TypeError(f"sample_negatives: expected cumulative in int64, got {cumulative.dtype}")
        if cumulative.shape != (items,):
            raise ValueError(f"sample_negatives: expected cumulative of shape [{items}], got {list(cumulative.shape)}")
        if cumulative.device != users.device:
            raise ValueError(
                f"sample_negatives: users is on {users.device}, cumulative on {cumulative.device}: move one with .to()"
            )
    if count < 0:
        raise ValueError(f"sample_negatives: expected count of 0 or more, got {count}")
    if not 0 <= family < 1 << 32:
        raise ValueError(f"sample_negatives: expected family of 0 to 2^32 - 1, got {family}")
    return users.new_empty(users.shape[0], count)


torch.library.register_fake("gnas_ext::sample_negatives", _sample_negatives_out)
