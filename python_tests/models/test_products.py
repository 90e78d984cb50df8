from __future__ import annotations

import pytest
import torch

from gnas_ext.models.products import dot_products

pytestmark = pytest.mark.usefixtures("threads")

# Shorter than a part, a whole part, and several with a rest; batch, drawn, width.
SHAPES = [(3, 2, 1), (256, 256, 256), (1567, 700, 17), (2048, 256, 16), (2048, 1024, 64), (900, 64, 300)]
# Few rows, as in the last batch of a pass.
SHAPES += [(rows, 300, 64) for rows in range(1, 14)]


def products_and_gradients(shape: tuple[int, int, int], plain: bool = False) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    left, right, toward = (
        torch.randn(rows, cols, generator=generator)
        for rows, cols in ((shape[0], shape[2]), (shape[1], shape[2]), shape[:2])
    )
    left.requires_grad_()
    right.requires_grad_()
    products = left @ right.T if plain else dot_products(left, right)
    return products.detach(), *torch.autograd.grad(products, [left, right], toward)


@pytest.mark.parametrize("shape", SHAPES)
def test_products_and_gradients_are_those_of_the_matrix_product(shape: tuple[int, int, int]) -> None:
    expected = products_and_gradients(shape, plain=True)
    torch.testing.assert_close(products_and_gradients(shape), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_they_repeat_exactly_for_any_number_of_threads(shape: tuple[int, int, int]) -> None:
    torch.set_num_threads(1)
    alone = products_and_gradients(shape)
    for count in (2, 3):
        torch.set_num_threads(count)
        assert all(torch.equal(a, b) for a, b in zip(alone, products_and_gradients(shape), strict=True))


def test_gradients_agree_with_finite_differences() -> None:
    left, right = (torch.randn(rows, 3, dtype=torch.float64, requires_grad=True) for rows in (4, 5))
    torch.autograd.gradcheck(dot_products, (left, right))
