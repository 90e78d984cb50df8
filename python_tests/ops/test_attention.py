"""attention and gat: values and gradients against a message an edge, masks, hubs, and what is refused."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext import CSR, ops
from gnas_ext.ops import reference
from python_tests import graphs
from python_tests.emulated import refused
from python_tests.ops.oracle import DTYPES, INDEX_TYPES, with_index
from python_tests.ops.samples import CORRUPT

if TYPE_CHECKING:
    from collections.abc import Callable

# heads, dim, dim_v: whole registers, several heads a register, and neither.
SHAPES = ((1, 1, 1), (1, 64, 64), (2, 15, 17), (8, 2, 2), (8, 8, 4), (4, 16, 32), (3, 63, 5), (17, 4, 3), (2, 128, 9))
FEW = ((1, 16, 16), (8, 8, 2), (3, 5, 17))
Call = tuple["Callable[..., torch.Tensor]", "Callable[..., torch.Tensor]", list[torch.Tensor]]


def numbers(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def attention_of(csr: CSR, heads: int, dim: int, dim_v: int) -> Call:
    tensors = [numbers(1, csr.rows, heads, dim), numbers(2, csr.cols, heads, dim), numbers(3, csr.cols, heads, dim_v)]

    def by(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        return lambda graph, q, k, v, bias: function(graph, q, k, v, bias=bias)

    return by(ops.attention), by(reference.attention), [*tensors, numbers(4, csr.nnz, heads)]


def gat_of(csr: CSR, heads: int, dim: int, dim_v: int) -> Call:
    tensors = [numbers(1, csr.rows, heads, dim), numbers(2, csr.cols, heads, dim_v)]
    return ops.gat, reference.gat, [*tensors, numbers(3, heads, dim) / dim**0.5, numbers(4, heads, dim_v) / dim_v**0.5]


OPS = {"attention": attention_of, "gat": gat_of}


def gat_with_rounded_products(csr: CSR, *sides: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """reference.gat from the products a node that `dtype` holds: about 0, rounding decides on which side they are."""

    def product(x: torch.Tensor, att: torch.Tensor) -> torch.Tensor:
        exact = (x * att).sum(-1)
        return exact + ((x.to(dtype) * att.to(dtype)).sum(-1).double() - exact).detach()

    x_dst, x_src, att_dst, att_src = sides
    before = product(x_dst, att_dst)[csr.row_index().long()] + product(x_src, att_src)[csr.indices.long()]
    share = reference.segment_softmax(csr, torch.nn.functional.leaky_relu(before, 0.2))
    messages = share.unsqueeze(2) * x_src[csr.indices.long()]
    return messages.new_zeros(csr.rows, *x_src.shape[1:]).index_add(0, csr.row_index().long(), messages)


def check(op: str, csr: CSR, shape: tuple[int, int, int], dtype: torch.dtype, backend: torch.device) -> None:
    """Values and gradients. Where types are narrow, both begin with the same rounded numbers."""
    ours, theirs, exact = OPS[op](csr, *shape)
    tensors = [t.to(dtype) for t in exact]
    mine = [t.to(backend, copy=True).requires_grad_() for t in tensors]
    wide = [t.double().requires_grad_() for t in tensors]
    if op == "gat":
        theirs = partial(gat_with_rounded_products, dtype=dtype)
    out, expected = ours(csr.to(backend), *mine), theirs(csr, *wide)
    assert out.dtype == dtype
    sensitivity = numbers(9, *expected.shape).to(dtype)
    got = [out, *torch.autograd.grad(out, mine, sensitivity.to(backend))]
    right = [expected, *torch.autograd.grad(expected, wide, sensitivity.double())]
    most = max(int(side.degree().max()) if side.rows else 0 for side in (csr, csr.t()))
    eps = torch.finfo(torch.float64 if dtype == torch.float64 else torch.float32).eps
    # gat's numbers a node, and their gradients, are rounded to the dtype between two ops.
    steps = torch.finfo(dtype).eps * (64 if op == "gat" else 4) + eps * (64 + 4 * most)
    for name, value, oracle in zip(("out", *"abcd"), got, right, strict=True):
        size = 1 + (float(oracle.abs().max()) if oracle.numel() else 0.0)
        # The gradients of gat's two vectors are sums over all nodes, which cancel.
        size *= 1 + (csr.rows + csr.cols) ** 0.5 if op == "gat" and name in "cd" else 1
        error = (value.cpu().double() - oracle).abs()
        assert (error <= steps * size).all(), (op, shape, dtype, name, float(error.max()))


@pytest.mark.parametrize("op", OPS)
def test_matches_the_reference(backend: torch.device, graph: CSR, op: str) -> None:
    for number, shape in enumerate(SHAPES):
        check(op, with_index(graph, INDEX_TYPES[number % 2]), shape, torch.float64, backend)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", OPS)
def test_matches_the_reference_in_every_type(backend: torch.device, op: str, dtype: torch.dtype) -> None:
    for index in INDEX_TYPES:
        for shape in (*FEW, (4, 16, 16), (17, 4, 3)):
            check(op, with_index(graphs.make("random"), index), shape, dtype, backend)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("graph", graphs.LARGE, indirect=True)
@pytest.mark.parametrize("op", OPS)
def test_matches_the_reference_where_cuts_divide_rows(backend: torch.device, graph: CSR, op: str) -> None:
    for dtype, shape in zip((torch.float32, torch.float64, torch.bfloat16), FEW, strict=True):
        check(op, graph, shape, dtype, backend)
        check(op, graph.t(), shape, dtype, backend)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", OPS)
def test_matches_the_reference_where_rows_are_taken_in_pieces(
    backend: torch.device, op: str, dtype: torch.dtype
) -> None:
    csr = graphs.make(graphs.HUBS)
    for number, shape in enumerate(((4, 4, 4), (4, 16, 16), (2, 64, 64), (5, 24, 8), (1, 128, 128), (3, 5, 17))):
        check(op, with_index(csr, INDEX_TYPES[number % 2]), shape, dtype, backend)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=60),
    st.sampled_from(SHAPES),
    st.sampled_from(sorted(OPS)),
)
def test_matches_the_reference_on_any_graph(
    entries: list[tuple[int, int]], shape: tuple[int, int, int], op: str
) -> None:
    row, col = torch.tensor(entries, dtype=torch.int64).reshape(-1, 2).T
    check(op, CSR.from_coo(row, col, None, (9, 9)), shape, torch.float64, torch.device("cpu"))


def small() -> CSR:
    """Duplicates, rows and columns without an entry, and few enough entries for gradcheck."""
    row, col = torch.tensor([4, 1, 1, 0, 4, 4, 2, 1, 4, 0]), torch.tensor([0, 3, 3, 1, 4, 2, 0, 1, 4, 0])
    return CSR.from_coo(row, col, None, (6, 5))


@pytest.mark.parametrize("view", [False, True])
@pytest.mark.parametrize("op", OPS)
def test_derivatives(backend: torch.device, op: str, view: bool) -> None:
    csr = (small().t() if view else small()).to(backend)
    ours, _, tensors = OPS[op](csr, 2, 3, 2)
    inputs = tuple(t.to(backend).requires_grad_() for t in tensors)
    assert torch.autograd.gradcheck(partial(ours, csr), inputs)
    assert torch.autograd.gradgradcheck(partial(ours, csr), inputs)


@pytest.mark.parametrize("op", OPS)
def test_third_derivatives(op: str) -> None:
    csr = small()
    ours, _, tensors = OPS[op](csr, 1, 2, 2)

    def first(*inputs: torch.Tensor) -> torch.Tensor:
        out = ours(csr, *inputs).pow(2).sum()
        return torch.autograd.grad(out, inputs[0], create_graph=True)[0]

    assert torch.autograd.gradgradcheck(first, tuple(t.requires_grad_() for t in tensors))


def test_one_head_needs_no_dimension(backend: torch.device) -> None:
    csr = graphs.make("random").to(backend)
    q, k, v = (t.float().to(backend) for t in attention_of(csr, 1, 6, 5)[2][:3])
    flat = ops.attention(csr, q.squeeze(1), k.squeeze(1), v.squeeze(1))
    assert torch.equal(flat, ops.attention(csr, q, k, v).squeeze(1))
    x_dst, x_src, att_dst, att_src = (t.float().to(backend) for t in gat_of(csr, 1, 6, 5)[2])
    flat = ops.gat(csr, x_dst.squeeze(1), x_src.squeeze(1), att_dst.squeeze(0), att_src.squeeze(0))
    assert torch.equal(flat, ops.gat(csr, x_dst, x_src, att_dst, att_src).squeeze(1))


def test_a_bias_an_entry_serves_all_heads(backend: torch.device) -> None:
    csr = graphs.make("random").to(backend)
    q, k, v, bias = (t.to(backend) for t in attention_of(csr, 4, 6, 5)[2])
    for graph in (csr, CSR(*csr.transposed_structure()[:2], None, (csr.cols, csr.rows)).t()):
        one = bias[:, 0].clone().requires_grad_()
        out = ops.attention(graph, q, k, v, bias=one)
        assert torch.equal(out, ops.attention(graph, q, k, v, bias=bias[:, :1].expand(-1, 4)))
        (got,) = torch.autograd.grad(out.square().sum(), one)
        again = one.detach().clone().requires_grad_()
        (expected,) = torch.autograd.grad(reference.attention(graph, q, k, v, bias=again).square().sum(), again)
        torch.testing.assert_close(got, expected)


def test_is_torchs_attention_where_all_edges_are_there(backend: torch.device) -> None:
    full = CSR(torch.arange(0, 8 * 11 + 1, 11), torch.arange(11).repeat(8), None, (8, 11)).to(backend)
    q, k, v, bias = (t.to(backend) for t in attention_of(full, 3, 7, 5)[2])
    mask = bias.view(8, 11, 3).permute(2, 0, 1)
    query, key, value = (side.transpose(0, 1) for side in (q, k, v))
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(0, 1)
    torch.testing.assert_close(ops.attention(full, q, k, v, bias=bias), expected)


@pytest.mark.parametrize("name", ["random", "one_hub", "hubs"])
@pytest.mark.parametrize("heads", [1, 3, 8])
def test_minus_infinity_masks(backend: torch.device, heads: int, name: str) -> None:
    csr = graphs.make(name)
    q, k, v, bias = attention_of(csr, heads, 4, 4)[2]
    masked = numbers(5, csr.nnz, heads) < 0
    masked[csr.row_index() % 3 == 0] = True
    tensors = [t.float().to(backend).requires_grad_() for t in (q, k, v, bias.masked_fill(masked, -torch.inf))]
    out = ops.attention(csr.to(backend), tensors[0], tensors[1], tensors[2], bias=tensors[3])
    torch.testing.assert_close(
        out.cpu(),
        reference.attention(csr, q, k, v, bias=bias.masked_fill(masked, -torch.inf)).float(),
        rtol=1e-3,
        atol=1e-4,
    )
    assert (out[::3] == 0).all()
    gradients = torch.autograd.grad(out.sum(), tensors)
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)
    assert (gradients[3].cpu()[masked] == 0).all()


@pytest.mark.parametrize("op", OPS)
def test_scores_of_any_size(backend: torch.device, op: str) -> None:
    for name in ("random", "one_hub"):
        csr = graphs.make(name)
        ours, theirs, tensors = OPS[op](csr, 2, 4, 4)
        for size in (1e4, -1e4, 1e18):
            tensors = [tensors[0] * size, *tensors[1:]]
            got = ours(csr.to(backend), *(t.to(backend) for t in tensors)).cpu()
            assert got.isfinite().all()
            torch.testing.assert_close(got, theirs(csr, *tensors), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("heads", [1, 3, 8])
def test_nan_stays_in_its_rows_and_head(backend: torch.device, op: str, heads: int) -> None:
    csr = graphs.make("random")
    ours, _, tensors = OPS[op](csr, heads, 4, 4)
    tensors[1][3, heads // 2, 0] = torch.nan  # a key, or a source
    got = ours(csr.to(backend), *(t.float().to(backend) for t in tensors)).cpu().isnan()
    touched = torch.zeros(csr.rows, heads, dtype=torch.bool)
    touched[csr.row_index()[csr.indices == 3], heads // 2] = True
    assert touched.any()
    assert torch.equal(got, touched.unsqueeze(2).expand_as(got))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("graph", graphs.LARGE, indirect=True)
def test_results_do_not_depend_on_the_threads(backend: torch.device, graph: CSR, dtype: torch.dtype) -> None:
    if backend.type != "cpu":
        pytest.skip("threads are the CPU's")

    def everything() -> list[torch.Tensor]:
        results = []
        for op in OPS.values():
            ours, _, exact = op(graph, 3, 5, 5)
            tensors = [t.to(dtype).requires_grad_() for t in exact]
            out = ours(graph, *tensors)
            results += [out, *torch.autograd.grad(out.square().sum(), tensors)]
        return results

    alone = everything()
    for threads in (2, 3):
        torch.set_num_threads(threads)
        for got, expected in zip(everything(), alone, strict=True):
            assert torch.equal(got, expected)


@pytest.mark.parametrize("op", ["attention", "attention_backward", "gat", "gat_backward"])
@pytest.mark.parametrize("wrong", [-1, 5])
def test_a_place_out_of_range(backend: torch.device, op: str, wrong: int) -> None:
    if backend.type != "cpu":
        pytest.skip("on CUDA the kernel traps, which ends the process's context")
    edge = torch.tensor([4, 3, wrong, 1, 0])
    with pytest.raises(RuntimeError, match=refused(f"{op}: entry 2 of the graph is out of bounds")):
        CORRUPT[op](torch.tensor([0, 2, 2, 5]), torch.tensor([0, 3, 1, 1, 2]), edge, torch.ones(4, 6))


@pytest.mark.parametrize("op", ["attention_backward", "gat_backward"])
def test_a_transpose_that_is_none(op: str) -> None:
    x, q, one = torch.ones(4, 6), torch.ones(3, 6), torch.ones(3, 1)
    graph = (torch.tensor([0, 2, 2, 5]), torch.tensor([0, 3, 1, 1, 2]), None)
    sides: tuple[Any, ...] = (q, x, x, None, 1, 1.0) if op == "attention_backward" else (one, x[:, :1], x, 0.2)
    t_indptr, t_indices = torch.tensor([0, 1, 3, 4, 5]), torch.tensor([0, 2, 2, 2, 0])
    for t, message in (
        ((t_indptr[:-1], t_indices[:4], None), "expected a transpose of 4 rows and 5 entries"),
        ((t_indptr, torch.tensor([0, 2, 3, 2, 0]), None), "entry 2 of the graph is out of bounds"),
        ((t_indptr, t_indices, torch.tensor([0, 1, 2, 3, 5])), "entry 4 of the graph is out of bounds"),
        ((t_indptr.flip(0), t_indices, None), r"indptr\[0\] is 5, expected 0"),
        ((t_indptr.int(), t_indices.int(), None), "of the graph's index type"),
    ):
        with pytest.raises(RuntimeError, match=refused(message)):
            getattr(torch.ops.gnas_ext, op)(*graph, *sides, q, one, q, *t)


CSR_5 = CSR(torch.tensor([0, 2, 2, 5]), torch.tensor([0, 3, 1, 1, 2]), None, (3, 4))
Q, K, ATT = torch.ones(3, 2, 6), torch.ones(4, 2, 6), torch.ones(2, 6)
REFUSED: dict[str, tuple[type[Exception], Callable[[], torch.Tensor]]] = {
    "attention: the graph has weights, which it does not use: pass csr.with_weight(None)": (
        ValueError,
        lambda: ops.attention(CSR_5.with_weight(torch.ones(5)), Q, K, K),
    ),
    "attention: expected q, k and v all of shape [nodes, dim] or all of shape [nodes, heads, dim], got [3, 2, 6], "
    "[4, 6] and [4, 6]": (ValueError, lambda: ops.attention(CSR_5, Q, K[:, 0], K[:, 0])),
    "attention: q has 2 heads, k 1 and v 2": (ValueError, lambda: ops.attention(CSR_5, Q, K[:, :1], K)),
    "attention: expected q, k and v in one dtype, got torch.float32, torch.float64 and torch.float32": (
        TypeError,
        lambda: ops.attention(CSR_5, Q, K.double(), K),
    ),
    "attention: expected q of 3 rows, one a row of the graph, got 4": (
        ValueError,
        lambda: ops.attention(CSR_5, K, K, K),
    ),
    "attention: expected k of 4 rows for a graph of shape [3, 4], got [3, 2, 6]": (
        ValueError,
        lambda: ops.attention(CSR_5, Q, Q, Q),
    ),
    "attention: expected bias of shape [5] or [5, 2], got [4]": (
        ValueError,
        lambda: ops.attention(CSR_5, Q, K, K, bias=torch.ones(4)),
    ),
    "attention: expected bias in q's dtype torch.float32, got torch.float64": (
        TypeError,
        lambda: ops.attention(CSR_5, Q, K, K, bias=torch.ones(5).double()),
    ),
    "attention: k is on meta, the graph on cpu: move one with .to()": (
        ValueError,
        lambda: ops.attention(CSR_5, Q, K.to("meta"), K),
    ),
    "gat: the graph has weights, which it does not use: pass csr.with_weight(None)": (
        ValueError,
        lambda: ops.gat(CSR_5.with_weight(torch.ones(5)), Q, K, ATT, ATT),
    ),
    "gat: expected att_src of shape [2, 6], got [6]": (ValueError, lambda: ops.gat(CSR_5, Q, K, ATT, ATT[0])),
    "gat: expected att_dst in x_dst's dtype torch.float32, got torch.float64": (
        TypeError,
        lambda: ops.gat(CSR_5, Q, K, ATT.double(), ATT),
    ),
    "gat: expected x_dst of 3 rows, one a row of the graph, got 4": (
        ValueError,
        lambda: ops.gat(CSR_5, K, K, ATT, ATT),
    ),
    "gat: expected x_src of 4 rows for a graph of shape [3, 4], got [3, 2, 6]": (
        ValueError,
        lambda: ops.gat(CSR_5, Q, Q, ATT, ATT),
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_says_what_was_expected_and_what_came(message: str) -> None:
    kind, call = REFUSED[message]
    with pytest.raises(kind) as error:
        call()
    assert str(error.value) == message


@pytest.mark.parametrize("op", OPS)
def test_compiles_in_one_graph(op: str) -> None:
    csr = graphs.make("random").to()
    csr.transposed_structure()
    ours, _, exact = OPS[op](csr, 2, 3, 3)
    tensors = [t.requires_grad_() for t in exact]

    def step(*inputs: torch.Tensor) -> torch.Tensor:
        return ours(csr, *(torch.tanh(t) for t in inputs)).square().sum()

    torch.compiler.reset()
    got = torch.compile(step, fullgraph=True, dynamic=True, backend="aot_eager")(*tensors)
    expected = step(*tensors)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(torch.autograd.grad(got, tensors), torch.autograd.grad(expected, tensors))


def test_takes_what_autocast_gives() -> None:
    """Linear layers give bfloat16 under autocast; the ops keep it and add up in float32."""
    csr = graphs.make("random")
    x = numbers(0, csr.rows, 8).float()
    query, key, value = (torch.nn.Linear(8, 8) for _ in range(3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = ops.attention(csr, query(x), key(x[: csr.cols]), value(x[: csr.cols]))
        assert out.dtype == torch.bfloat16
        out.sum().backward()  # type: ignore[no-untyped-call]
    assert query.weight.grad is not None
    assert query.weight.grad.dtype == torch.float32
    assert query.weight.grad.isfinite().all()


def test_memory_is_of_edges_by_heads() -> None:
    rows, degree, width = 300, 400, 512
    csr = CSR(torch.arange(0, rows * degree + 1, degree), torch.arange(rows * degree) % 7, None, (rows, 7))
    q, k, v = (numbers(s, n, width).float().requires_grad_() for s, n in ((1, rows), (2, 7), (3, 7)))
    with torch.profiler.profile(profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        ops.attention(csr, q, k, v).sum().backward()  # type: ignore[no-untyped-call]
    largest = max(event.cpu_memory_usage for event in profile.events() or [])
    assert 0 < largest < csr.nnz * width  # a quarter of one tensor of edges × width
