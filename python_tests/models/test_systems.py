from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from gnas_ext.models.systems import solve_each


def systems(count: int, width: int) -> tuple[Tensor, Tensor]:
    rows = torch.randn(count, width, width)
    return rows @ rows.mT / width + torch.eye(width), torch.randn(count, width)


@pytest.mark.parametrize("width", [1, 3, 128, 129, 200])
@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_each_system_is_solved(count: int, width: int) -> None:
    matrix, wanted = systems(count, width)
    found = solve_each(matrix, wanted)
    assert found.shape == (count, width)
    for a, b, x in zip(matrix, wanted, found, strict=True):
        np.testing.assert_allclose(x, np.linalg.solve(a.double(), b.double()), atol=2e-4)


def test_one_that_rounding_made_indefinite_is_solved_too() -> None:
    matrix, wanted = systems(3, 150)
    matrix[1].diagonal()[4] = -1.0
    found = solve_each(matrix, wanted)
    np.testing.assert_allclose(found[1], np.linalg.solve(matrix[1].double(), wanted[1].double()), atol=2e-3)
    torch.testing.assert_close(found[::2], solve_each(matrix[::2], wanted[::2]))


WIDE = """
import torch
from gnas_ext.models.systems import solve_each
torch.set_num_threads(2)
rows = torch.randn(50, 160, 160)
matrix, wanted = rows @ rows.mT / 160 + torch.eye(160), torch.randn(50, 160)
off = (matrix @ solve_each(matrix, wanted)[:, :, None])[:, :, 0] - wanted
assert float(off.abs().max()) < 1e-3
"""


def test_wide_ones_end_after_the_number_of_threads_was_set() -> None:
    """With `torch.linalg.solve` it takes for ever, or fails, on processors for which MKL shares them among threads."""
    subprocess.run([sys.executable, "-c", WIDE], check=True, timeout=100)
