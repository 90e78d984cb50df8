"""Do the ops keep torch's contracts: schema, fake kernel, autograd, torch.compile?"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import torch
from torch.library import opcheck

from gnas_ext import CSR, ops
from python_tests import graphs
from python_tests.ops.oracle import INDEX_TYPES, REDUCES
from python_tests.ops.samples import SAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from gnas_ext.ops.spmm import Reduce

# Torch's own, from inside opcheck.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated")


def registered() -> set[str]:
    names: list[str] = torch._C._dispatch_get_all_op_names()
    return {name.removeprefix("gnas_ext::") for name in names if name.startswith("gnas_ext::")}


def test_every_op_has_samples() -> None:
    assert registered() == set(SAMPLES)


@pytest.mark.parametrize("index", INDEX_TYPES)
@pytest.mark.parametrize("op", SAMPLES)
def test_opcheck(op: str, index: torch.dtype) -> None:
    for arguments in SAMPLES[op](index, torch.float64, torch.device("cpu")):
        opcheck(getattr(torch.ops.gnas_ext, op).default, arguments)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_the_fake_kernel_says_what_comes_out(dtype: torch.dtype) -> None:
    for op, samples in SAMPLES.items():
        for arguments in samples(torch.int32, dtype, torch.device("cpu")):
            opcheck(getattr(torch.ops.gnas_ext, op).default, arguments, test_utils="test_faketensor")


def compiled(function: Callable[..., torch.Tensor], backend: str) -> Callable[..., torch.Tensor]:
    torch.compiler.reset()
    return torch.compile(function, fullgraph=True, dynamic=True, backend=backend)


def layer(csr: CSR, reduce: Reduce, weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """A use of spmm and sddmm in which x is what the graph receives from something else."""
    hidden = torch.tanh(x)
    out = ops.spmm(csr.with_weight(weight), hidden, reduce)
    return torch.relu(out).sum() + ops.sddmm(csr, out, hidden).sin().sum()


def check_compiled(csr: CSR, reduce: Reduce, backend: str) -> None:
    step = compiled(partial(layer, csr, reduce), backend)
    for width in (3, 21):
        weight = torch.linspace(-1, 1, csr.nnz, dtype=torch.float64, requires_grad=True)
        x = torch.linspace(-2, 2, csr.cols * width, dtype=torch.float64).reshape(-1, width).requires_grad_()
        got, expected = step(weight, x), layer(csr, reduce, weight, x)
        torch.testing.assert_close(got, expected)
        ours, theirs = (torch.autograd.grad(out, (weight, x)) for out in (got, expected))
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("reduce", REDUCES)
def test_compiles_in_one_graph(reduce: Reduce) -> None:
    csr = graphs.make("random").to()
    csr.transposed_structure()
    check_compiled(csr, reduce, "aot_eager")


def test_compiles_with_inductor_while_the_transpose_is_not_kept_yet() -> None:
    csr = CSR(*graphs.make("random").transposed_structure()[:2])
    check_compiled(csr, "mean", "inductor")
    assert csr._kept
