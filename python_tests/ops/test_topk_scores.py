"""topk_scores: against all scores and a stable sort."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext import _C, CSR, ops
from gnas_ext.ops import reference
from gnas_ext.ops.quantized_rows import QuantizedRows
from python_tests.emulated import EMULATED
from python_tests.ops.oracle import INDEX_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
WIDTHS = (0, 1, 2, 15, 17, 63, 64, 100)
# Items and users around the sizes of tiles and panels, and enough of both for blocks and ranges.
SHAPES = ((0, 7), (1, 1), (3, 0), (1, 5000), (19, 33), (100, 300))


@pytest.fixture(params=[False, True], ids=["no vnni", "vnni"])
def vnni(request: pytest.FixtureRequest) -> Iterator[None]:
    before = _C.vnni()
    try:
        _C.set_vnni(request.param)
    except ValueError:
        pytest.skip("this machine does not offer AVX512-VNNI")
    yield
    _C.set_vnni(before)


def whole(seed: int, *shape: int) -> torch.Tensor:
    """Small whole numbers: sums are exact in every dtype, and many are equal."""
    return torch.randint(-3, 4, shape, generator=torch.Generator().manual_seed(seed)).float()


def quantized(seed: int, rows: int, width: int, low: int = -128) -> QuantizedRows:
    random = torch.Generator().manual_seed(seed)
    codes = torch.randint(low, 128, (rows, width), generator=random, dtype=torch.int8)
    # Few scales, so that scores of different sums are equal too; some are 0.
    scale = torch.randint(0, 5, (rows,), generator=random) / 4
    return QuantizedRows(codes, scale, None, 8, width)


def some_of(rows: int, cols: int, index: torch.dtype = torch.int64) -> CSR:
    """Every third item or so; the first user has seen nothing, the last one everything."""
    seen = torch.rand(rows, cols, generator=torch.Generator().manual_seed(1)) < 0.3
    seen[:1] = False
    seen[1:][-1:] = True
    row, col = seen.nonzero().to(index).T.contiguous()
    return CSR.from_coo(row, col, None, (rows, cols))


def check(users: Any, items: Any, k: int, exclude: CSR | None, allow: torch.Tensor | None, **more: Any) -> None:
    values, columns = ops.topk_scores(users, items, k, exclude, allow, **more)
    expected_values, expected_columns = reference.topk_scores(users, items, k, exclude, allow)
    assert torch.equal(columns.cpu(), expected_columns)
    assert torch.equal(values.cpu(), expected_values)


@pytest.mark.parametrize("dtype", DTYPES)
def test_is_a_product_a_mask_and_a_stable_sort(backend: torch.device, dtype: torch.dtype) -> None:
    if backend.type != "cpu":
        pytest.skip("the oracle is on the CPU; test_cuda_agrees compares")
    for width in WIDTHS:
        for rows, cols in SHAPES:
            users, items = whole(1, rows, width).to(dtype), whole(2, cols, width).to(dtype)
            check(users, items, 20, None, None)
            check(users, items, 7, some_of(rows, cols), None)


def laid_out(bias: torch.Tensor) -> list[torch.Tensor]:
    """The same numbers: a user's side by side, an item's side by side, apart, and one for all."""
    wide = torch.full((2 * bias.shape[0], 3 * bias.shape[1] + 1), torch.nan, dtype=bias.dtype, device=bias.device)
    apart = wide[::2, 1::3]
    apart.copy_(bias)
    return [bias, bias.T.contiguous().T, apart]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_bias_is_added_whatever_its_strides(backend: torch.device, dtype: torch.dtype) -> None:
    score = torch.float64 if dtype == torch.float64 else torch.float32
    for width in (0, 3, 17):
        for rows, cols in SHAPES:
            users, items = whole(1, rows, width).to(dtype), whole(2, cols, width).to(dtype)
            bias = 4 * whole(3, rows, cols).to(score)
            bias[:, ::5] = -torch.inf
            allow = torch.arange(cols // 2, cols)
            for exclude, allowed in ((None, None), (some_of(rows, cols), None), (some_of(rows, cols), allow)):
                expected_values, expected_columns = reference.topk_scores(users, items, 7, exclude, allowed, bias)
                seen = None if exclude is None else exclude.to(backend)
                there = None if allowed is None else allowed.to(backend)
                for one in laid_out(bias.to(backend)):
                    values, columns = ops.topk_scores(users.to(backend), items.to(backend), 7, seen, there, bias=one)
                    assert torch.equal(columns.cpu(), expected_columns)
                    assert torch.equal(values.cpu(), expected_values)
            one = bias[:1].expand(rows, cols)
            expected = reference.topk_scores(users, items, 7, bias=one)
            assert torch.equal(ops.topk_scores(users, items, 7, bias=one)[1], expected[1])


def test_a_bias_that_is_nan_is_refused_with_the_user(backend: torch.device) -> None:
    bias = torch.zeros(9, 5000, device=backend)
    bias[4, 3210] = torch.nan
    users, items = torch.ones(9, 3, device=backend), torch.ones(5000, 3, device=backend)
    if backend.type == "cpu":
        with pytest.raises(ValueError, match="topk_scores: a score of user 4 is NaN"):
            ops.topk_scores(users, items, 3, bias=bias)
    values, _ = torch.ops.gnas_ext.topk_scores(users, None, items, None, None, None, None, 3, 0, bias)
    assert values.isnan().any(1).tolist() == [user == 4 for user in range(9)]


@pytest.mark.usefixtures("vnni")
def test_int8_is_bit_equal_to_int64(backend: torch.device) -> None:
    if backend.type != "cpu":
        pytest.skip("the oracle is on the CPU; test_cuda_agrees compares")
    for width in WIDTHS:
        for rows, cols in SHAPES:
            users, items = quantized(1, rows, width), quantized(2, cols, width)
            check(users, items, 20, None, None)
            check(users, items, 7, some_of(rows, cols), None)


@pytest.mark.usefixtures("vnni")
@pytest.mark.parametrize("width", [0, 3, 17, 64, 130])
def test_a_bias_beside_int8_is_added_to_the_rounded_score(backend: torch.device, width: int) -> None:
    random = torch.Generator().manual_seed(3)
    for rows, cols in (*SHAPES, (19, 5000)):
        users, items = quantized(1, rows, width), quantized(2, cols, width)
        users.scale.mul_(torch.randn(rows, generator=random))  # any sign, and zeros
        bias = 1000 * torch.randn(rows, cols, generator=random)
        bias[:, ::5] = -torch.inf
        for_all = bias[:1].expand(rows, cols)
        allow = torch.arange(cols // 2, cols)
        for exclude, allowed in ((None, None), (some_of(rows, cols), None), (some_of(rows, cols), allow)):
            seen = None if exclude is None else exclude.to(backend)
            there = None if allowed is None else allowed.to(backend)
            for k, added in product((7, 100), (bias, for_all)):
                expected_values, expected_columns = reference.topk_scores(users, items, k, exclude, allowed, added)
                for one in laid_out(bias.to(backend)) if added is bias else [for_all.to(backend)]:
                    values, columns = ops.topk_scores(users.to(backend), items.to(backend), k, seen, there, bias=one)
                    assert torch.equal(columns.cpu(), expected_columns)
                    assert torch.equal(values.cpu(), expected_values)


@pytest.mark.usefixtures("vnni")
@pytest.mark.parametrize("width", [64, 1500])
def test_the_largest_codes(width: int) -> None:
    """-128 times -128, and the largest sums of both signs."""
    rows = torch.tensor([[-128], [127], [0]], dtype=torch.int8).expand(3, width).contiguous()
    both = QuantizedRows(rows, torch.ones(3), None, 8, width)
    values, columns = ops.topk_scores(both, both, 3)
    assert values[0].tolist() == [128.0 * 128 * width, 0.0, -128.0 * 127 * width]
    assert columns[0].tolist() == [0, 2, 1]
    assert columns[1].tolist() == [1, 2, 0]


def test_cuda_agrees(backend: torch.device) -> None:
    if backend.type == "cpu":
        pytest.skip("compares CUDA with the CPU")
    exclude, allow = some_of(30, 3000), torch.arange(0, 3000, 2)
    cases: list[tuple[Any, Any]] = [
        *((whole(1, 30, 17).to(dtype), whole(2, 3000, 17).to(dtype)) for dtype in DTYPES),
        (quantized(1, 30, 64), quantized(2, 3000, 64)),
        (quantized(1, 30, 15), quantized(2, 3000, 15)),
    ]
    for users, items in cases:
        for k in (1, 20, 1000, 4000):
            expected = ops.topk_scores(users, items, k, exclude, allow)
            got = ops.topk_scores(users.to(backend), items.to(backend), k, exclude.to(backend), allow.to(backend))
            assert torch.equal(got[0].cpu(), expected[0])
            assert torch.equal(got[1].cpu(), expected[1])


@pytest.mark.parametrize("k", [0, 1, 2, 63, 64, 65, 200, 1000, 1500])
@pytest.mark.parametrize("index", INDEX_TYPES)
def test_any_k_up_to_the_catalogue_and_beyond(backend: torch.device, k: int, index: torch.dtype) -> None:
    if backend.type != "cpu":
        pytest.skip("the oracle is on the CPU; test_cuda_agrees compares")
    for dtype in (torch.float32, torch.float64):
        users, items = whole(3, 30, 5).to(dtype), whole(4, 1200, 5).to(dtype)
        check(users, items, k, some_of(30, 1200, index), None)
    check(quantized(3, 30, 5), quantized(4, 1200, 5), k, some_of(30, 1200, index), None)


def test_scores_that_rise_and_fall_with_the_item() -> None:
    """Each item is better than all before, or worse: the most and the fewest candidates."""
    one = torch.ones(2, 1)
    for slope in (1.0, -1.0, 0.0):
        items = slope * torch.arange(9000.0).unsqueeze(1)
        for k in (20, 300):
            check(one, items, k, None, None)


@pytest.mark.parametrize("k", [20, 100])
def test_a_range_that_has_just_k_items_or_only_equal_ones(k: int) -> None:
    """Ranges of the catalogue tell each other what k items reach."""
    one, items = torch.ones(1, 1), torch.full((6000, 1), -torch.inf)
    items[:k] = torch.arange(float(k)).unsqueeze(1)
    items[5000:5003] = 7
    check(one, items, k, None, None)
    for number in (0.0, -0.0, -1.0, 1.0, -3.4028234e38):
        check(one, torch.full((6000, 1), number), k, None, None)
        check(one.double(), torch.full((6000, 1), number).double(), k, None, None)


@pytest.mark.parametrize("k", [20, 100, 600])
def test_one_user_and_many_items(backend: torch.device, k: int) -> None:
    """Scores that spread evenly or not, a few far above the others, and many equal ones: CUDA looks at their range."""
    random = torch.Generator().manual_seed(4)
    normal = torch.randn(40_000, 1, generator=random)
    few = torch.rand(40_000, 1, generator=random) < 0.001
    for items in (normal, (9 * normal).exp(), normal.round(), torch.where(few, 1e30, 1e-30 * normal), few.float()):
        for one in (torch.ones(1, 1), -torch.ones(3, 1)):
            expected_values, expected_columns = reference.topk_scores(one, items, k)
            values, columns = ops.topk_scores(one.to(backend), items.to(backend), k)
            assert torch.equal(columns.cpu(), expected_columns)
            assert torch.equal(values.cpu(), expected_values)


def test_allow_restricts_the_catalogue() -> None:
    users, items, exclude = whole(5, 20, 9), whole(6, 700, 9), some_of(20, 700)
    numbers = torch.tensor([699, 3, 5, 4, 4, 0, 350])
    mask = torch.zeros(700, dtype=torch.bool)
    mask[numbers] = True
    for allow in (numbers, numbers.int(), mask, ~mask, torch.ones_like(mask), torch.zeros_like(mask), numbers[:0]):
        check(users, items, 6, exclude, allow)
        check(quantized(5, 20, 9), quantized(6, 700, 9), 6, exclude, allow)


def test_excluded_columns_in_any_order_and_twice() -> None:
    exclude = CSR(torch.tensor([0, 5, 5]), torch.tensor([4, 1, 1, 0, 4]), None, (2, 6))
    check(whole(7, 2, 3), whole(8, 6, 3), 6, exclude, None)


@pytest.mark.parametrize("bits", [None, 8])
def test_neither_threads_nor_chunks_change_a_bit(bits: int | None) -> None:
    random = torch.Generator().manual_seed(0)
    users, items = torch.randn(200, 33, generator=random), torch.randn(6000, 33, generator=random)

    def found_by(some: torch.Tensor, chunk: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        if bits is None:
            return ops.topk_scores(some, items, 30, chunk=chunk)
        return ops.topk_scores(ops.quantize_rows(some, bits), ops.quantize_rows(items, bits), 30, chunk=chunk)

    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found += [found_by(users, chunk) for chunk in (None, 1, 5, 64, 1000)]
    finally:
        torch.set_num_threads(before)
    # A score does not depend on who else is in the batch either.
    parts = [found_by(some) for some in torch.split(users, 7)]
    found.append((torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])))
    for values, columns in found[1:]:
        assert torch.equal(columns, found[0][1])
        assert torch.equal(values, found[0][0])


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_rows(data: st.DataObject) -> None:
    rows, cols, width = (data.draw(st.integers(0, most)) for most in (18, 70, 5))
    number = st.integers(-2, 2)
    users, items = (
        torch.tensor(data.draw(st.lists(number, min_size=n * width, max_size=n * width))).reshape(n, width)
        for n in (rows, cols)
    )
    pairs = data.draw(st.lists(st.tuples(st.integers(0, 17), st.integers(0, 69)), max_size=60))
    pairs = [pair for pair in pairs if pair[0] < rows and pair[1] < cols]
    row, col = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T.contiguous()
    exclude = CSR.from_coo(row, col, None, (rows, cols))
    allow = torch.tensor(data.draw(st.lists(st.booleans(), min_size=cols, max_size=cols)), dtype=torch.bool)
    k = data.draw(st.integers(0, 80))
    check(users.float(), items.float(), k, exclude, allow)
    scale = torch.tensor(data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0, 1e-30]), min_size=88, max_size=88)))
    check(
        QuantizedRows(users.to(torch.int8), scale[:rows], None, 8, width),
        QuantizedRows(items.to(torch.int8), scale[rows : rows + cols], None, 8, width),
        k,
        exclude,
        allow,
    )


def test_random_numbers_within_rounding(backend: torch.device) -> None:
    random = torch.Generator().manual_seed(3)
    users, items = torch.randn(40, 100, generator=random), torch.randn(3000, 100, generator=random)
    values, columns = ops.topk_scores(users.to(backend), items.to(backend), 50)
    exact = users.double() @ items.double().T
    torch.testing.assert_close(values.cpu().double(), exact.gather(1, columns.cpu()), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(values.cpu().double(), exact.topk(50).values, rtol=1e-5, atol=1e-5)


def test_minus_infinity_means_never(backend: torch.device) -> None:
    users = torch.ones(1, 1, device=backend)
    items = torch.tensor([[-torch.inf], [torch.inf], [0.0], [-0.0], [torch.inf]], device=backend)
    values, columns = ops.topk_scores(users, items, 5)
    assert columns.tolist() == [[1, 4, 2, 3, -1]]
    assert values.tolist() == [[torch.inf, torch.inf, 0.0, 0.0, -torch.inf]]


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_is_refused_with_the_user(backend: torch.device, dtype: torch.dtype) -> None:
    for place in (0, 5, 4999):
        users, items = whole(1, 20, 4).to(backend, dtype), whole(2, 5000, 4).to(backend, dtype)
        users[:, 2] = 1
        users[:7, 2] = 0
        items[place, 2] = torch.inf  # times 0: NaN for the first seven
        users[0, 2] = 1
        if backend.type == "cpu":
            with pytest.raises(ValueError, match="topk_scores: a score of user 1 is NaN"):
                ops.topk_scores(users, items, 3)
        else:
            assert ops.topk_scores(users, items, 3)[0][1].isnan().all()
        # An item that may not be chosen is not looked at.
        ops.topk_scores(users, items, 3, allow=torch.arange(5000, device=backend) != place)
        # The op itself marks the row.
        values, columns = torch.ops.gnas_ext.topk_scores(users, None, items, None, None, None, None, 3, 0)
        assert values.isnan().all(1).tolist() == [1 <= user < 7 for user in range(20)]
        assert (columns[1:7] == -1).all()
    scale = torch.tensor([1.0, torch.nan])
    rows = QuantizedRows(torch.ones(2, 3, dtype=torch.int8), scale, None, 8, 3)
    if backend.type == "cpu":
        with pytest.raises(ValueError, match="user 0 is NaN"):
            ops.topk_scores(rows.to(backend), rows.to(backend), 1)
    else:
        values, columns = ops.topk_scores(rows.to(backend), rows.to(backend), 1)
        assert values.isnan().all()
        assert columns.tolist() == [[-1], [-1]]


def test_no_gradient_and_no_graph() -> None:
    users, items = torch.randn(3, 4, requires_grad=True), torch.randn(9, 4, requires_grad=True)
    values, columns = ops.topk_scores(users, items, 2)
    assert not values.requires_grad
    torch.testing.assert_close((users.unsqueeze(1) * items[columns]).sum(2), values)


def test_compiles_in_one_graph() -> None:
    exclude = some_of(6, 50)

    def best(users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        values, columns = ops.topk_scores(users * 2, items, 4, exclude)
        return values.clamp(min=-9) + columns

    torch.compiler.reset()
    compiled = torch.compile(best, fullgraph=True, dynamic=True, backend="aot_eager")
    for width in (3, 21):
        users, items = whole(1, 6, width), whole(2, 50, width)
        assert torch.equal(compiled(users, items), best(users, items))


def test_says_what_was_expected_and_what_came() -> None:
    x, rows = torch.ones(3, 4), quantized(1, 3, 4)
    affine = QuantizedRows(rows.codes, rows.scale, rows.scale, 8, 4)
    four_bits = QuantizedRows(torch.zeros(3, 2, dtype=torch.uint8), torch.ones(3), None, 4, 4)
    wide = QuantizedRows(torch.zeros(1, 131_072, dtype=torch.int8), torch.ones(1), None, 8, 131_072)
    half, bias = x.bfloat16(), torch.ones(3, 3)
    cases: list[tuple[type[Exception], str, tuple[Any, ...]]] = [
        (ValueError, r"expected users of shape \[rows, width\], got \[4\]", (x[0], x, 1)),
        (TypeError, "expected items in float32, float64, bfloat16 or float16, or as QuantizedRows, got torch.int64",
         (x, x.long(), 1)),
        (TypeError, "users and items in one dtype, got torch.float32 and torch.float64", (x, x.double(), 1)),
        (TypeError, "both as tensors or both as QuantizedRows, got Tensor and QuantizedRows", (x, rows, 1)),
        (ValueError, r"differ in width: \[3, 4\] and \[3, 3\]", (x, x[:, :3], 1)),
        (ValueError, "expected symmetric items, got rows with a zero", (rows, affine, 1)),
        (ValueError, "expected users of 8 bits, got 4", (four_bits, four_bits, 1)),
        (ValueError, "at most 131071 columns of int8, whose sums fit in int32, got 131072", (wide, wide, 1)),
        (ValueError, "expected k of 0 or more, got -1", (x, x, -1)),
        (ValueError, "expected chunk of at least 1, got 0", (x, x, 1, None, None, 0)),
        (ValueError, r"expected exclude of shape \[3, 3\], got \[6, 50\]", (x, x, 1, some_of(6, 50))),
        (ValueError, r"expected allow of shape \[3\], got \[4\]", (x, x, 1, None, torch.ones(4, dtype=torch.bool))),
        (TypeError, "expected allow in bool, int32 or int64, got torch.float32", (x, x, 1, None, torch.ones(3))),
        (IndexError, "allow names item 3, but there are 3", (x, x, 1, None, torch.tensor([3]))),
        (IndexError, "allow names item -1, but there are 3", (x, x, 1, None, torch.tensor([-1]))),
        (ValueError, "items is on meta, users on cpu", (x, x.to("meta"), 1)),
        (ValueError, "bias is on meta, users on cpu", (x, x, 1, None, None, None, bias.to("meta"))),
        (ValueError, r"expected bias of shape \[3, 3\], got \[3, 2\]", (x, x, 1, None, None, None, bias[:, :2])),
        (TypeError, "bias in torch.float64 beside torch.float64 rows",
         (x.double(), x.double(), 1, None, None, None, bias)),
        (TypeError, "bias in torch.float32 beside torch.bfloat16 rows, got torch.bfloat16",
         (half, half, 1, None, None, None, half[:, :3])),
        (TypeError, "bias in torch.float32 beside torch.int8 rows, got torch.float64",
         (rows, rows, 1, None, None, None, bias.double())),
    ]  # fmt: skip
    for kind, message, arguments in cases:
        with pytest.raises(kind, match=message):
            ops.topk_scores(*arguments)


def test_raw_calls_are_refused_where_memory_would_be_at_risk() -> None:
    native = torch.ops.gnas_ext.topk_scores
    x, codes, scale = torch.ones(3, 4), torch.ones(3, 4, dtype=torch.int8), torch.ones(3)
    cases: list[tuple[Any, str]] = [
        ((x, None, x[:, :3], None, None, None, None, 1, 0), "differ in width"),
        ((x, None, x.double(), None, None, None, None, 1, 0), "in one dtype"),
        ((codes, None, codes, None, None, None, None, 1, 0), "float32, float64, bfloat16 or float16"),
        ((codes, scale, codes, None, None, None, None, 1, 0), "scales of both sides, or of none"),
        ((codes, scale[:2], codes, scale, None, None, None, 1, 0), r"expected scale of shape \[3\]"),
        ((x, None, x, None, None, None, None, -1, 0), "k and chunk of 0 or more"),
        ((x, None, x, None, None, None, None, 1, 0, x), r"expected bias of shape \[3, 3\]"),
        ((x, None, x, None, None, None, None, 1, 0, x[:, :3].double()), "in the scores' dtype"),
        ((codes, scale, codes, scale, None, None, None, 1, 0, x), r"expected bias of shape \[3, 3\]"),
        ((x, None, x, None, torch.tensor([0, 1]), torch.tensor([0]), None, 1, 0), r"exclude_indptr of shape \[4\]"),
        ((x, None, x, None, torch.tensor([0, 0, 0, 0]), None, None, 1, 0), "both exclude_indptr and exclude_indices"),
    ]
    if not EMULATED:  # CUDA's kernels look at the numbers, and trap
        cases += [
            ((x, None, x, None, None, None, torch.tensor([0, 3]), 1, 0), r"allow to ascend within 0 ... 2, got 3 at 1"),
            ((x, None, x, None, None, None, torch.tensor([1, 1]), 1, 0), r"allow to ascend within 0 ... 2, got 1 at 1"),
            ((x, None, x, None, None, None, torch.tensor([-1]), 1, 0), r"got -1 at 0"),
        ]
    for arguments, message in cases:
        with pytest.raises(RuntimeError, match=message):
            native(*arguments)
