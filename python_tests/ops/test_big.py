"""Element offsets beyond 2^31: allocates for real, so it runs only where GNAS_BIG=1 asks for it (5 GB)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import torch

from gnas_ext import CSR, ops
from python_tests.ops.oracle import INDEX_TYPES, REDUCES

if TYPE_CHECKING:
    from gnas_ext.ops.spmm import Reduce

pytestmark = pytest.mark.skipif(os.environ.get("GNAS_BIG") != "1", reason="allocates 5 GB; GNAS_BIG=1 runs it")

NODES, WIDTH = 1_100_000, 2_000
# Two of the last rows of x begin beyond 2^31 elements; the one before 2^31 shows an offset that wrapped around.
SEEN = torch.tensor([NODES - 1, NODES - 7, 5, NODES - 1])


def few_rows(index: torch.dtype) -> CSR:
    return CSR(
        torch.tensor([0, 3, 3, 4], dtype=index), SEEN.to(index), torch.tensor([1.0, 2, 4, 8]).bfloat16(), (3, NODES)
    )


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    values = torch.zeros(NODES, WIDTH, dtype=torch.bfloat16)  # pages that nobody writes cost nothing
    assert values.numel() > 2**31
    values[SEEN] = (torch.arange(4 * WIDTH).reshape(4, WIDTH) % 251 - 125).bfloat16()
    return values


@pytest.mark.parametrize("index", INDEX_TYPES)
@pytest.mark.parametrize("reduce", REDUCES)
def test_features_beyond(x: torch.Tensor, reduce: Reduce, index: torch.dtype) -> None:
    near = CSR(torch.tensor([0, 3, 3, 4]), torch.arange(4), torch.tensor([1.0, 2, 4, 8]).bfloat16(), (3, 4))
    assert torch.equal(ops.spmm(few_rows(index), x, reduce), ops.spmm(near, x[SEEN], reduce))


@pytest.mark.parametrize("index", INDEX_TYPES)
def test_scores_beyond(x: torch.Tensor, index: torch.dtype) -> None:
    near = CSR(torch.tensor([0, 3, 3, 4]), torch.arange(4), None, (3, 4))
    a = (torch.arange(3 * WIDTH).reshape(3, WIDTH) % 7 - 3).bfloat16()
    assert torch.equal(ops.sddmm(few_rows(index), a, x), ops.sddmm(near, a, x[SEEN]))


@pytest.mark.parametrize("index", INDEX_TYPES)
def test_an_output_beyond(index: torch.dtype) -> None:
    indptr = torch.zeros(NODES + 1, dtype=index)
    indptr[6:] = 1
    indptr[NODES - 1 :] = 2
    indptr[NODES] = 3
    csr = CSR(indptr, torch.tensor([0, 1, 2], dtype=index), None, (NODES, 3))
    features = (torch.arange(3 * WIDTH).reshape(3, WIDTH) % 251 - 125).bfloat16()
    out = ops.spmm(csr, features)
    assert out.numel() > 2**31
    assert torch.equal(out[[5, NODES - 2, NODES - 1]], features)
    assert not out[:5].any()
    assert not out[6 : NODES - 2].any()
