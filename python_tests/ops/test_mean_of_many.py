"""The mean of more entries than a number of half precision can count, and its gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from gnas_ext import CSR, ops

if TYPE_CHECKING:
    from collections.abc import Callable

    Mean = Callable[[torch.Tensor], torch.Tensor]

MANY = 70_000
# Its gradient is one in a thousand.
SENSITIVITY = MANY / 1_000


def of(kind: str, device: torch.device) -> Mean:
    """A mean of all rows of x, [1, width], in one of its forms."""
    csr = CSR(torch.tensor([0, MANY]), torch.arange(MANY), None, (1, MANY)).to(device)
    index = torch.zeros(MANY, dtype=torch.int64, device=device)
    forms: dict[str, Mean] = {
        "spmm": lambda x: ops.spmm(csr, x, "mean"),
        "spmm_masked": lambda x: ops.spmm_masked(csr, x, torch.ones(MANY, dtype=torch.bool, device=device), "mean"),
        "spmm_blocks": lambda x: ops.spmm_blocks(
            csr, x, torch.ones(1, 1, dtype=torch.bool, device=device), reduce="mean"
        ),
        "segment_reduce": lambda x: ops.segment_reduce(x, csr.indptr, "mean"),
        "scatter": lambda x: ops.scatter(x, index, 1, "mean"),
        "scatter planned": lambda x: ops.scatter(x, index, 1, "mean", ops.ScatterPlan(index, 1)),
        "index_reduce": lambda x: ops.index_reduce(x[:1], index[1:], x[1:], "mean"),
    }
    return forms[kind]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "kind", ["spmm", "spmm_masked", "spmm_blocks", "segment_reduce", "scatter", "scatter planned", "index_reduce"]
)
def test_it_is_divided_by_their_number(backend: torch.device, kind: str, dtype: torch.dtype) -> None:
    x = torch.full((MANY, 3), 1.5, dtype=dtype, device=backend, requires_grad=True)
    mean = of(kind, backend)(x)
    assert mean.tolist() == [[1.5] * 3]
    (slope,) = torch.autograd.grad(mean, x, torch.full_like(mean, SENSITIVITY))
    torch.testing.assert_close(slope, torch.full_like(slope, 1e-3), rtol=1e-2, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_mean_is_there_where_the_sum_is_not(dtype: torch.dtype) -> None:
    large = torch.finfo(dtype).max
    x, index = torch.full((1, 2), large, dtype=dtype), torch.zeros(3, dtype=torch.int64)
    mean = ops.index_reduce(x, index, torch.full((3, 2), large, dtype=dtype), "mean")
    if dtype == torch.float16:
        assert mean.tolist() == [[large] * 2]
    one, small = torch.ones(1, 1, dtype=dtype), torch.full((512, 1), 2.0**-9, dtype=dtype)
    assert ops.index_reduce(one, torch.zeros(512, dtype=torch.int64), small).item() == 2
