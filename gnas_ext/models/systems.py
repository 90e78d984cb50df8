"""Many small linear systems at once, whatever was done to torch's threads."""

from __future__ import annotations

import torch
from torch import Tensor

# `torch.linalg.solve` shares a batch among threads, and MKL shares each matrix above some 150 rows among threads too.
# After `torch.set_num_threads` both do, and wait for each other for ever (pytorch/pytorch#142815).
_SHARED_ABOVE = 128


def solve_each(matrix: Tensor, wanted: Tensor) -> Tensor:
    """The x of ``matrix[i] @ x[i] = wanted[i]``, [n, width].

    Args:
        matrix: symmetric and positive definite, [n, width, width], float32 or float64.
        wanted: [n, width].
    """
    if matrix.shape[1] <= _SHARED_ABOVE:
        solved: Tensor = torch.linalg.solve(matrix, wanted)
        return solved
    # One matrix after the other, each among all threads.
    factor, failed = torch.linalg.cholesky_ex(matrix)
    solved = torch.cholesky_solve(wanted[:, :, None], factor)[:, :, 0]
    # Rounding may have made one indefinite.
    for place in failed.nonzero()[:, 0].tolist():
        solved[place] = torch.linalg.solve(matrix[place], wanted[place])
    return solved
