"""What the public functions refuse, and what they say then: eagerly and under torch.compile alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from gnas_ext import CSR, ops

if TYPE_CHECKING:
    from collections.abc import Callable

CSR_5 = CSR(torch.tensor([0, 2, 2, 5]), torch.tensor([0, 3, 1, 1, 2]), None, (3, 4))
X = torch.ones(4, 6)
A = torch.ones(3, 6)

CASES: dict[str, tuple[type[Exception], str, Callable[[], torch.Tensor]]] = {
    "x has one dimension": (
        ValueError,
        "spmm: expected x of shape [cols, width], got [4]",
        lambda: ops.spmm(CSR_5, torch.ones(4)),
    ),
    "x has other rows": (
        ValueError,
        "spmm: expected x of shape [4, width] for a graph of shape [3, 4], got [3, 6]",
        lambda: ops.spmm(CSR_5, A),
    ),
    "x is of integers": (
        TypeError,
        "spmm: expected x in float32, float64, bfloat16 or float16, got torch.int64",
        lambda: ops.spmm(CSR_5, X.long()),
    ),
    "x is elsewhere": (
        ValueError,
        "spmm: x is on meta, the graph on cpu: move one with .to()",
        lambda: ops.spmm(CSR_5, X.to("meta")),
    ),
    "the weights have another dtype": (
        TypeError,
        "spmm: expected weight in x's dtype torch.float64, got torch.float32: use csr.to(dtype=...)",
        lambda: ops.spmm(CSR_5.with_weight(torch.ones(5)), X.double()),
    ),
    "reduce is unknown": (
        ValueError,
        "spmm: expected reduce in sum, mean, max, min, got 'add'",
        lambda: ops.spmm(CSR_5, X, "add"),  # type: ignore[arg-type]
    ),
    "a has one dimension": (
        ValueError,
        "sddmm: expected a of shape [rows, width], got [3]",
        lambda: ops.sddmm(CSR_5, torch.ones(3), X),
    ),
    "b is of integers": (
        TypeError,
        "sddmm: expected b in float32, float64, bfloat16 or float16, got torch.int32",
        lambda: ops.sddmm(CSR_5, A, X.int()),
    ),
    "a and b differ in dtype": (
        TypeError,
        "sddmm: expected a and b in one dtype, got torch.float32 and torch.float64",
        lambda: ops.sddmm(CSR_5, A, X.double()),
    ),
    "a has other rows": (
        ValueError,
        "sddmm: expected a of shape [3, 6], got [4, 6]",
        lambda: ops.sddmm(CSR_5, X, X),
    ),
    "b has other rows": (
        ValueError,
        "sddmm: expected b of shape [4, width] for a graph of shape [3, 4], got [3, 6]",
        lambda: ops.sddmm(CSR_5, A, A),
    ),
    "b is elsewhere": (
        ValueError,
        "sddmm: b is on meta, the graph on cpu: move one with .to()",
        lambda: ops.sddmm(CSR_5, A, X.to("meta")),
    ),
    "columns are negative": (
        ValueError,
        "transpose: expected cols of 0 or more, got -1",
        lambda: ops.transpose(CSR_5.indptr, CSR_5.indices, -1)[0],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_says_what_was_expected_and_what_came(case: str) -> None:
    kind, message, call = CASES[case]
    with pytest.raises(kind) as error:
        call()
    assert str(error.value) == message


@pytest.mark.parametrize("case", ["x has one dimension", "x has other rows", "x is of integers", "reduce is unknown"])
def test_refuses_the_same_when_compiled(case: str) -> None:
    _, message, call = CASES[case]
    torch.compiler.reset()
    with pytest.raises(Exception, match="spmm: expected") as error:
        torch.compile(call, fullgraph=True, backend="eager")()
    assert message.split(", got")[0] in str(error.value)
