from __future__ import annotations

from itertools import combinations, pairwise

import pytest
import torch

from gnas_ext.compress.product import codebooks, int8_books, nearest, part_widths, product_table


def cost(spread: torch.Tensor, widths: tuple[int, ...]) -> float:
    parts = torch.split(spread.double(), list(widths))
    return sum(float(len(part) * part.log().mean().exp() * 2 ** (-16 / len(part))) for part in parts)


@pytest.mark.parametrize("parts", [1, 2, 3, 5, 7])
def test_widths_are_the_best_of_all_ways_to_cut(parts: int) -> None:
    spread = torch.tensor([9.0, 4.0, 4.0, 1.0, 0.5, 0.01, 0.01])
    every = []
    for cuts in combinations(range(1, 7), parts - 1):
        ends = [0, *cuts, 7]
        every.append(tuple(end - begin for begin, end in pairwise(ends)))
    assert cost(spread, part_widths(spread, parts)) == pytest.approx(min(cost(spread, widths) for widths in every))


def test_too_few_or_too_many_parts_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 2 to 20 parts for 20 columns, got 1"):
        part_widths(torch.ones(20), 1)
    with pytest.raises(ValueError, match="got 21"):
        part_widths(torch.ones(20), 21)


def test_codes_name_the_nearest_vector() -> None:
    x, books, widths = torch.randn(700, 5), torch.randn(256, 5), (2, 3)
    weight = torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0])
    codes = nearest(x, books, widths, weight)
    for part, columns in enumerate((slice(0, 2), slice(2, 5))):
        apart = ((x[:, None, columns] - books[None, :, columns]).square() * weight[columns]).sum(2)
        chosen = apart.gather(1, codes[:, part : part + 1].long())[:, 0]
        torch.testing.assert_close(chosen, apart.min(1).values, rtol=1e-3, atol=1e-5)


def test_256_different_rows_are_kept_exactly() -> None:
    x = torch.arange(256.0)[:, None].expand(256, 2).contiguous() / 8
    table = product_table(x, 1)
    assert torch.equal(table.float().sort(0).values, x.sort(0).values)


def test_more_bytes_are_nearer() -> None:
    x = torch.randn(3000, 12, generator=torch.Generator().manual_seed(0))
    errors = [float((product_table(x, parts).float() - x).square().mean()) for parts in (2, 4, 6, 12)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-3


def test_codebooks_repeat() -> None:
    x = torch.randn(300, 4)
    assert torch.equal(codebooks(x, (2, 2), torch.ones(4)), codebooks(x, (2, 2), torch.ones(4)))


def test_int8_books_are_within_half_a_step_and_half_the_bytes() -> None:
    x = torch.randn(900, 6) * torch.tensor([1e3, 1.0, 1e-3, 0.0, 2.0, 5.0])
    table = product_table(x, 3)
    small = int8_books(table)
    assert torch.equal(small.codes, table.codes)
    # A scale in float16 is off by 2^-11 of itself at most, and by half of the least float16 below the normal ones.
    step = table.books.abs().amax(0) / 127
    assert ((small.books - table.books).abs() <= step * (0.5 + 127 / 2048) + 127 * 2**-25).all()
    assert small.size_bytes() == table.size_bytes() - 256 * 6 + 2 * 6
