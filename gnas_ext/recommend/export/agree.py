"""Does what was written score as we do? Compared on a sample of users before it is handed over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from gnas_ext.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gnas_ext.models.base import Model

SAMPLE = 128
# Of the largest score of a user: other orders of the same sums in float32 differ by less.
TOLERANCE = 1e-4
_BLOCK_BYTES = 24 << 20


def sampled(model: Model) -> list[NDArray[np.int32]]:
    """Codes of users to compare, evenly spaced, the first and the last among them, in blocks whose scores are small."""
    users = np.unique(np.linspace(0, model.n_users - 1, min(SAMPLE, model.n_users)).astype(np.int32))
    step = max(1, _BLOCK_BYTES // (4 * model.n_items))
    return [users[first : first + step] for first in range(0, len(users), step)]


def check(form: str, ours: torch.Tensor, theirs: torch.Tensor) -> None:
    """InputError unless two tensors of scores, [n, items], are the same but for rounding."""
    if theirs.shape != ours.shape or theirs.dtype != torch.float32:
        raise InputError(
            f"export: {form} gives {theirs.dtype} {list(theirs.shape)}, expected float32 {list(ours.shape)}; not kept"
        )
    if not ours.isfinite().all():
        raise InputError(f"export: the model's own scores are not finite, so {form} cannot be compared; not kept")
    if not ours.numel():
        return
    unit = ours.abs().amax(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    # NaN and infinities are differences, too.
    off = ((theirs - ours).abs() / unit).nan_to_num(torch.inf, torch.inf)
    if (largest := off.max().item()) > TOLERANCE:
        raise InputError(
            f"export: {form} scores a user otherwise by {largest:.2g} of the largest score, expected at most "
            f"{TOLERANCE:g}; not kept"
        )


def no_form(model: Model, form: str, kinds: str) -> InputError:
    """What to raise where a kind of model has no such form."""
    return InputError(
        f"export: a {type(model).__name__} has no {form} form ({kinds} have); its lists can be exported: --to parquet"
    )
