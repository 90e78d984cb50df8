from __future__ import annotations

import numpy as np
import pytest
import torch

from gnas_ext.models import CodedModel, GroupedTable, PackedTable, ProductTable, Table
from gnas_ext.models.coded import pack_groups
from gnas_ext.ops.quantize_rows import dequantize_rows, quantize_rows
from python_tests.models.test_every_model import stored_bytes

WIDTHS = (1, 3, 2)


def product_table(rows: int, length: float = 0.0, seed: int = 0) -> ProductTable:
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(256, (rows, len(WIDTHS)), generator=generator, dtype=torch.uint8)
    return ProductTable(codes, torch.randn(256, sum(WIDTHS), generator=generator).half(), WIDTHS, length)


def decoded(table: ProductTable, row: int) -> list[float]:
    """A row, number by number."""
    found: list[float] = []
    for part, width in enumerate(table.widths):
        first = sum(table.widths[:part])
        found += [float(table.codebook[int(table.codes[row, part]), first + column]) for column in range(width)]
    return found


def test_a_product_row_is_the_vectors_that_its_codes_name() -> None:
    table = product_table(9)
    assert table.float().tolist() == [decoded(table, row) for row in range(9)]


def test_rows_of_a_length_have_it() -> None:
    table = product_table(9, length=2.5)
    torch.testing.assert_close(table.float().norm(dim=1), torch.full((9,), 2.5))
    expected = torch.tensor(decoded(table, 4))
    torch.testing.assert_close(table.float()[4], expected * 2.5 / expected.norm())


def test_a_codebook_of_int8_has_a_scale_a_column() -> None:
    whole = product_table(9)
    codebook = torch.arange(-128, 128, dtype=torch.int8)[:, None].expand(256, 6).contiguous()
    scale = torch.tensor([1.0, 0.5, 0.0, 2.0, 3.0, 4.0]).half()
    table = ProductTable(whole.codes, codebook, WIDTHS, codebook_scale=scale)
    expected = [
        [(int(row[part]) - 128) * float(scale[column]) for column, part in enumerate((0, 1, 1, 1, 2, 2))]
        for row in whole.codes
    ]
    assert table.float().tolist() == expected
    assert table.size_bytes() == whole.size_bytes() - 256 * 6 + 2 * 6


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_packed_rows_are_dequantised(bits: int) -> None:
    rows = quantize_rows(torch.randn(7, 5), bits, symmetric=bits != 2)
    assert torch.equal(PackedTable(rows).float(), dequantize_rows(rows))


def grouped(rows: int = 11) -> GroupedTable:
    """Groups 0 to 3: float32, two bits in fewer columns, one row for all, and a byte a part."""
    group = torch.tensor([0, 1, 2, 3] * rows)[:rows]
    counts = torch.bincount(group, minlength=4).tolist()
    tables = (
        Table(torch.randn(counts[0], 6)),
        PackedTable(quantize_rows(torch.randn(counts[1], 4), 2)),
        Table(torch.randn(1, 6)),
        product_table(counts[3]),
    )
    return GroupedTable(pack_groups(group), tables, rows)


def test_grouped_rows_are_those_of_their_tables() -> None:
    table = grouped()
    found = table.float()
    assert torch.equal(found[0::4], table.tables[0].float())
    assert torch.equal(found[1::4, :4], table.tables[1].float())
    assert not found[1::4, 4:].any()
    assert torch.equal(found[2::4], table.tables[2].float().expand(3, 6))
    assert torch.equal(found[3::4], table.tables[3].float())


@pytest.mark.parametrize(
    "table", [product_table(11, 1.0), PackedTable(quantize_rows(torch.randn(11, 6), 4)), grouped()]
)
def test_some_rows_are_those_of_all(table: ProductTable | PackedTable | GroupedTable) -> None:
    index = torch.tensor([3, 0, 3, 10])
    torch.testing.assert_close(table.float(index), table.float()[index])
    assert (len(table), table.width) == (11, 6)


@pytest.mark.parametrize("groups", [0, 1, 4, 5, 13])
def test_packed_groups_come_back(groups: int) -> None:
    group = torch.randint(4, (groups,))
    counts = torch.bincount(group, minlength=4).tolist()
    table = GroupedTable(pack_groups(group), tuple(Table(torch.zeros(count, 1)) for count in counts), groups)
    assert torch.equal(table.groups(), group)


def coded(prior: bool = True) -> CodedModel:
    return CodedModel(product_table(5), grouped(), Table(torch.randn(11, 1)) if prior else None)


@pytest.mark.parametrize("prior", [True, False])
def test_scores_are_dot_products_and_the_prior(prior: bool) -> None:
    model = coded(prior)
    users = np.array([4, 1], dtype=np.int32)
    expected = model.user.float()[users] @ model.item.float().T
    if model.prior is not None:
        expected = expected + model.prior.float().T
    torch.testing.assert_close(model.score(users), expected)


def test_the_best_are_those_of_the_scores() -> None:
    model = coded()
    users = np.arange(5, dtype=np.int32)
    values, items = model.best(users, 3, None)
    expected = model.score(users).topk(3)
    assert torch.equal(items, expected.indices)
    torch.testing.assert_close(values, expected.values)


def test_bytes_are_those_of_everything_stored() -> None:
    # Beside the tensors: 4 bytes for a length, 4 for each width, 8 for bits and width, as the artefact has them.
    numbers = (4 + 4 * 3) + (8 + 4 + 4 * 3)
    assert coded().size_bytes() == stored_parts(coded()) + numbers


def stored_parts(model: CodedModel) -> int:
    assert isinstance(model.item, GroupedTable)
    user, item = model.user, model.item
    assert isinstance(user, ProductTable)
    parts = [user, *item.tables, model.prior]
    return item.group.nbytes + sum(stored_bytes_of(part) for part in parts)


def stored_bytes_of(part: object) -> int:
    if isinstance(part, ProductTable):
        return part.codes.nbytes + part.codebook.nbytes
    return stored_bytes(part)


def test_what_does_not_fit_is_refused() -> None:
    good = product_table(3)
    with pytest.raises(TypeError, match="expected codes in uint8"):
        ProductTable(good.codes.int(), good.codebook, WIDTHS)
    with pytest.raises(ValueError, match=r"expected codes of shape \[n, 2\]"):
        ProductTable(good.codes, good.codebook, (3, 3))
    with pytest.raises(ValueError, match=r"expected a codebook of shape \[256, 7\]"):
        ProductTable(good.codes, good.codebook, (1, 3, 3))
    with pytest.raises(TypeError, match=r"or in int8 with a scale, got torch\.uint8 and torch\.int8 without a scale"):
        ProductTable(good.codes, good.codebook.to(torch.int8), WIDTHS)
    with pytest.raises(TypeError, match=r"torch\.float16 with a scale"):
        ProductTable(good.codes, good.codebook, WIDTHS, codebook_scale=torch.ones(6).half())
    with pytest.raises(ValueError, match=r"codebook_scale of shape \[6\] in float16, got \[5\]"):
        ProductTable(good.codes, good.codebook.to(torch.int8), WIDTHS, codebook_scale=torch.ones(5).half())
    with pytest.raises(ValueError, match="finite length"):
        ProductTable(good.codes, good.codebook, WIDTHS, float("nan"))
    with pytest.raises(ValueError, match="expected a table of 1 rows, or of 1 for all, for group 1, got 3"):
        GroupedTable(torch.tensor([0b0100], dtype=torch.uint8), (Table(torch.zeros(2, 1)), Table(torch.zeros(3, 1))), 3)
    with pytest.raises(ValueError, match="as wide as item rows, got 6 and 2"):
        CodedModel(good, Table(torch.zeros(4, 2)))
    with pytest.raises(ValueError, match=r"expected a prior of shape \[4, 1\]"):
        CodedModel(good, Table(torch.zeros(4, 6)), Table(torch.zeros(3, 1)))
