from __future__ import annotations

import pytest
import torch

from gnas_ext.compress import Floats, Grouped, Product, Quantiser, RowBits
from gnas_ext.compress.prune import Leading, Shared

ROWS, WIDTH = 600, 8


def made(name: str, rows: torch.Tensor) -> Quantiser:
    group = torch.arange(ROWS) % 2
    quantisers: dict[str, Quantiser] = {
        "floats": Floats(2.0),
        "bits": RowBits(4),
        "product": Product(rows, 4, torch.ones(WIDTH), 2.0),
        "leading": Leading(5),
        "shared": Shared(),
        "grouped": Grouped(group, [Leading(5), Floats()]),
    }
    return quantisers[name]


NAMES = ("floats", "bits", "product", "leading", "shared", "grouped")


@pytest.fixture
def rows() -> torch.Tensor:
    return torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NAMES)
def test_what_training_sees_is_what_is_stored(name: str, rows: torch.Tensor) -> None:
    quantiser = made(name, rows)
    quantiser.refresh(rows)
    index = torch.tensor([5, 0, 599, 5])
    # Codebooks are stored in float16.
    stored = quantiser.store(rows).float()
    if len(stored) == 1:  # shared by all
        stored = stored.expand(ROWS, -1)
    seen = quantiser(rows, index)
    torch.testing.assert_close(seen[:, : stored.shape[1]], stored[index], rtol=2e-3, atol=2e-3)
    assert not seen[:, stored.shape[1] :].any()


@pytest.mark.parametrize("name", ["bits", "product"])
def test_gradients_go_straight_through(name: str, rows: torch.Tensor) -> None:
    quantiser = made(name, rows)
    if isinstance(quantiser, Product):
        quantiser.length = 0.0
    x = rows.clone().requires_grad_()
    weight = torch.randn(3, WIDTH)
    (quantiser(x, torch.tensor([1, 2, 3])) * weight).sum().backward()
    assert x.grad is not None
    inside = x.grad[1:4] != 0
    torch.testing.assert_close(x.grad[1:4][inside], weight[inside])
    assert inside.float().mean() > 0.9  # clipped ones have none
    assert not x.grad[4:].any()


def test_codebooks_learn_from_the_rows_that_picked_them(rows: torch.Tensor) -> None:
    product = made("product", rows)
    assert isinstance(product, Product)
    product.length = 0.0
    product(rows, torch.tensor([7])).sum().backward()
    gradient = product.books.grad
    assert gradient is not None
    for part, columns in enumerate(torch.split(gradient, list(product.widths), 1)):
        assert columns.abs().sum(1).nonzero()[:, 0].tolist() == [int(product.codes[7, part])]


def test_stochastic_rounding_differs_from_call_to_call_and_is_right_on_average(rows: torch.Tensor) -> None:
    bits = RowBits(4, "stochastic", "minmax")
    index = torch.arange(20)
    found = torch.stack([bits(rows, index) for _ in range(400)])
    assert not torch.equal(found[0], found[1])
    scale = rows[:20].abs().amax(1, keepdim=True) / 7
    assert ((found.mean(0) - rows[:20]).abs() < 0.2 * scale).all()
    assert torch.equal(bits.store(rows).float(), RowBits(4, clip="minmax").store(rows).float())
