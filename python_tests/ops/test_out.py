"""Results into memory that is there: the same numbers, in that memory, or a refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from gnas_ext import ops
from python_tests import graphs
from python_tests.ops.oracle import DTYPES, REDUCES

if TYPE_CHECKING:
    from gnas_ext import CSR
    from gnas_ext.ops.spmm import Reduce


def weighted() -> CSR:
    csr = graphs.make("random")
    return csr.with_weight(torch.linspace(-1, 1, csr.nnz))


@pytest.mark.parametrize("reduce", REDUCES)
@pytest.mark.parametrize("graph", ["random", "isolated", "one_hub", "empty", "zero_rows"], indirect=True)
def test_is_the_same(backend: torch.device, graph: CSR, reduce: Reduce) -> None:
    csr, x = graph.to(backend), torch.randn(graph.cols, 37).to(backend)
    out = torch.full((graph.rows, 37), torch.nan, device=backend)
    assert ops.spmm(csr, x, reduce, out=out) is out
    assert torch.equal(out, ops.spmm(csr, x, reduce))


@pytest.mark.parametrize("dtype", DTYPES)
def test_in_every_type_with_heads(dtype: torch.dtype) -> None:
    csr = weighted().to(dtype=dtype)
    x = torch.randn(csr.cols, 4, 5).to(dtype)
    out = torch.empty(csr.rows, 4, 5, dtype=dtype)
    assert torch.equal(ops.spmm(csr, x, out=out), ops.spmm(csr, x))


def test_part_of_a_larger_tensor() -> None:
    csr, x = weighted(), torch.randn(70, 8)
    storage = torch.zeros(csr.rows + 2, 8)
    ops.spmm(csr, x, out=storage[1:-1])
    assert torch.equal(storage[1:-1], ops.spmm(csr, x))
    assert not storage[0].any()
    assert not storage[-1].any()


def test_the_largest_needs_no_winners_without_a_gradient() -> None:
    """The value is the one that the gradient's forward gives."""
    csr, x = weighted(), torch.randn(70, 40)
    for reduce in ("max", "min"):
        assert torch.equal(ops.spmm(csr, x, reduce), ops.spmm(csr, x.clone().requires_grad_(), reduce).detach())
        leaf = x.clone().requires_grad_()
        raw = torch.ops.gnas_ext.spmm(csr.indptr, csr.indices, None, None, leaf, reduce, None, None, None)
        with pytest.raises(RuntimeError, match=f"spmm: the gradient of {reduce} needs the winners: call spmm_arg"):
            raw.sum().backward()


def test_what_is_refused() -> None:
    csr, x = weighted(), torch.randn(70, 8)
    cases: list[tuple[type[Exception], str, Any, Any]] = [
        (ValueError, r"a contiguous out of shape \[90, 8\], got \[90, 9\]", x, torch.empty(90, 9)),
        (ValueError, r"a contiguous out of shape \[90, 8\], got \[90, 8\]", x, torch.empty(8, 90).T),
        (TypeError, "out in x's dtype torch.float32, got torch.float64", x, torch.empty(90, 8).double()),
        (ValueError, "out is on meta, x on cpu", x, torch.empty(90, 8, device="meta")),
        (ValueError, "out has no gradient", x.clone().requires_grad_(), torch.empty(90, 8)),
        (ValueError, "out requires a gradient", x, torch.empty(90, 8, requires_grad=True)),
    ]
    for kind, message, features, out in cases:
        with pytest.raises(kind, match=f"spmm: .*{message}"):
            ops.spmm(csr, features, out=out)


def test_memory_that_is_read_as_well_is_refused() -> None:
    csr = weighted()
    storage = torch.randn(90 * 8 + 70 * 8)
    x = storage[: 70 * 8].view(70, 8)
    with pytest.raises(RuntimeError, match="spmm_out: out shares memory with an input"):
        ops.spmm(csr, x, out=storage[70 * 8 - 1 : -1].view(90, 8))
    ops.spmm(csr, x, out=storage[70 * 8 :].view(90, 8))  # beside it is fine
    weight = torch.zeros(90 * 8)
    with pytest.raises(RuntimeError, match="spmm_out: out shares memory with an input"):
        ops.spmm(csr.with_weight(weight[:600]), x, out=weight.view(90, 8))
