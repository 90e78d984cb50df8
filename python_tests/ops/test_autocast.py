"""Under autocast the ops run in the precision that matmuls run in, whatever mixture of types comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from gnas_ext import ops
from python_tests import graphs
from python_tests.ops.oracle import REDUCES

if TYPE_CHECKING:
    from gnas_ext.ops.sddmm import Pairing
    from gnas_ext.ops.spmm import Reduce

LOW = (torch.bfloat16, torch.float16)


@pytest.mark.parametrize("low", LOW)
@pytest.mark.parametrize("reduce", REDUCES)
def test_spmm(backend: torch.device, reduce: Reduce, low: torch.dtype) -> None:
    csr = graphs.make("random").to(backend)
    weight = torch.randn(csr.nnz, device=backend, requires_grad=True)
    x = torch.randn(csr.cols, 8, device=backend, requires_grad=True)
    expected = ops.spmm(csr.with_weight(weight.to(low)), x.to(low), reduce)
    sensitivity = torch.randn(csr.rows, 8, device=backend).to(low)
    slopes = torch.autograd.grad(expected, (weight, x), sensitivity)
    with torch.autocast(backend.type, low):
        mixtures = ((weight, x), (weight, x.to(low)), (weight.to(torch.bfloat16), x), (weight.to(low), x.to(low)))
        results = [ops.spmm(csr.with_weight(one), other, reduce) for one, other in mixtures]
    for out in (results[0], results[1], results[3]):
        assert out.dtype == low
        assert torch.equal(out, expected)
        got = torch.autograd.grad(out, (weight, x), sensitivity)
        for ours, theirs in zip(got, slopes, strict=True):
            assert ours.dtype == torch.float32
            assert torch.equal(ours, theirs)
    assert results[2].dtype == low


def test_sddmm(backend: torch.device) -> None:
    csr = graphs.make("random").to(backend)
    a, b = torch.randn(csr.rows, 8, device=backend), torch.randn(csr.cols, 8, device=backend)
    expected = ops.sddmm(csr, a.bfloat16(), b.bfloat16())
    with torch.autocast(backend.type, torch.bfloat16):
        for one, other in ((a, b), (a.bfloat16(), b), (a, b.bfloat16()), (a, b.half())):
            out = ops.sddmm(csr, one, other)
            assert out.dtype == torch.bfloat16
            assert other.dtype == torch.float16 or torch.equal(out, expected)


@pytest.mark.parametrize("op", ["add", "mul"])
def test_elementwise_takes_the_widest_as_torch_does(backend: torch.device, op: Pairing) -> None:
    csr = graphs.make("random").to(backend)
    a, b = torch.randn(csr.rows, 8, device=backend), torch.randn(csr.cols, 8, device=backend)
    with torch.autocast(backend.type, torch.bfloat16):
        assert torch.equal(ops.sddmm(csr, a, b.bfloat16(), op), ops.sddmm(csr, a, b.bfloat16().float(), op))
        assert ops.sddmm(csr, a.bfloat16(), b.bfloat16(), op).dtype == torch.bfloat16


def test_raw_calls(backend: torch.device) -> None:
    csr = graphs.make("random").to(backend)
    weight, x = torch.randn(csr.nnz, device=backend), torch.randn(csr.cols, 8, device=backend)
    graph, none = (csr.indptr, csr.indices), (None, None, None)
    native = torch.ops.gnas_ext
    with torch.autocast(backend.type, torch.bfloat16):
        out, arg = native.spmm_arg(*graph, weight, x.bfloat16(), "max", *none)
        results = [
            out,
            native.spmm(*graph, None, weight, x.bfloat16(), "sum", *none),
            native.spmm_select(*graph, None, weight.bfloat16(), x, torch.zeros(x.shape, dtype=arg.dtype), *none)
            if backend.type == "cpu"
            else out,
            native.sddmm(*graph, None, x[:1].expand(csr.rows, -1), x.bfloat16(), None, 0, *none),
        ]
    assert {result.dtype for result in results} == {torch.bfloat16}


def test_out(backend: torch.device) -> None:
    csr = graphs.make("random").to(backend)
    x = torch.randn(csr.cols, 8, device=backend)
    out = torch.empty(csr.rows, 8, dtype=torch.bfloat16, device=backend)
    with torch.autocast(backend.type, torch.bfloat16):
        assert torch.equal(ops.spmm(csr, x, out=out), ops.spmm(csr, x.bfloat16()))


def test_float64_stays_as_it_does_for_a_matmul(backend: torch.device) -> None:
    csr = graphs.make("random").to(backend)
    x = torch.randn(csr.cols, 8, dtype=torch.float64, device=backend)
    with torch.autocast(backend.type, torch.bfloat16):
        assert torch.equal(ops.spmm(csr, x), ops.spmm(csr, x))
        assert ops.spmm(csr, x).dtype == torch.float64
        with torch.autocast(backend.type, enabled=False):
            assert ops.spmm(csr, x.float()).dtype == torch.float32


def test_compiled() -> None:
    csr = graphs.make("random")
    weight, x = torch.randn(csr.nnz, requires_grad=True), torch.randn(csr.cols, 8)

    def step(weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return ops.spmm(csr.with_weight(weight), x * 2).float().sum()

    torch.compiler.reset()
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(weight, x), step(weight, x))
    ours, theirs = (torch.autograd.grad(f(weight, x), weight)[0] for f in (compiled, step))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("low", LOW)
def test_attention(backend: torch.device, low: torch.dtype) -> None:
    csr = graphs.make("random").to(backend).with_weight(None)
    q, k, v = (torch.randn(n, 2, 8, device=backend, requires_grad=True) for n in (csr.rows, csr.cols, csr.cols))
    bias = torch.randn(csr.nnz, device=backend)
    expected = ops.attention(csr, q.to(low), k.to(low), v.to(low), bias=bias.to(low))
    with torch.autocast(backend.type, low):
        results = [ops.attention(csr, q, k.to(low), v, bias=bias), ops.attention(csr, q.to(low), k, v, bias=bias)]
    for out in results:
        assert out.dtype == low
        assert torch.equal(out, expected)
        slopes = torch.autograd.grad(out.float().sum(), (q, k, v))
        for slope, right in zip(
            slopes, torch.autograd.grad(expected.float().sum(), (q, k, v), retain_graph=True), strict=True
        ):
            assert slope.dtype == torch.float32
            assert torch.equal(slope, right)


@pytest.mark.parametrize("low", LOW)
def test_gat(backend: torch.device, low: torch.dtype) -> None:
    csr = graphs.make("random").to(backend).with_weight(None)
    x_dst, x_src = (torch.randn(n, 2, 8, device=backend) for n in csr.shape)
    att_dst, att_src = torch.randn(2, 2, 8, device=backend)
    expected = ops.gat(csr, x_dst.to(low), x_src.to(low), att_dst.to(low), att_src.to(low))
    with torch.autocast(backend.type, low):
        out = ops.gat(csr, x_dst, x_src.to(low), att_dst, att_src)
    assert out.dtype == low
    assert torch.equal(out, expected)
