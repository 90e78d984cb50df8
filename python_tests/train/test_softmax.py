from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch
from torch.nn.functional import cross_entropy

from gnas_ext.train import softmax_loss

if TYPE_CHECKING:
    from torch import Tensor

pytestmark = pytest.mark.usefixtures("threads")

WIDTH = 5
# Less than a block of 256 rows, one, and one with a rest; drawn items fill whole registers or do not.
SIZES = [(1, 1), (7, 16), (255, 33), (256, 16), (257, 7), (600, 50)]
BIASES = ["none", "each", "columns", "one"]


def drawn_inputs(batch: int, drawn: int, bias: str, width: int = WIDTH, seed: int = 0) -> list[Tensor]:
    """touching, positive, others and, if any, bias, all wanting gradients."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(batch, width), (batch,), (drawn, width)]
    if bias != "none":
        shapes.append({"each": (batch, drawn), "columns": (1, drawn), "one": (1, 1)}[bias])
    return [torch.randn(*shape, generator=generator).requires_grad_() for shape in shapes]


def drawn_pairs(batch: int, drawn: int, share: float = 0.3) -> tuple[Tensor, Tensor]:
    """Pairs that are apart, rows ascending: some rows have none, others several."""
    chosen = torch.rand(batch, drawn, generator=torch.Generator().manual_seed(1)) < share
    row, column = chosen.nonzero(as_tuple=True)
    return row, column


def loss_of(inputs: list[Tensor], apart: tuple[Tensor, Tensor]) -> Tensor:
    touching, positive, others, *bias = inputs
    return softmax_loss(touching, positive, others, apart, *bias)


def plain(inputs: list[Tensor], apart: tuple[Tensor, Tensor]) -> Tensor:
    """The same by torch, which holds all scores: the touched item is class 0."""
    touching, positive, others, *bias = inputs
    scores = touching @ others.T
    if bias:
        scores = scores + bias[0]
    left_out = torch.zeros(scores.shape, dtype=torch.bool)
    left_out[apart] = True
    logits = torch.cat([positive[:, None], scores.masked_fill(left_out, -math.inf)], 1)
    return cross_entropy(logits, torch.zeros(len(positive), dtype=torch.int64))


NONE_APART = torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize(("batch", "drawn"), SIZES)
@pytest.mark.parametrize("with_apart", [False, True])
def test_value_and_gradients_are_those_of_cross_entropy(batch: int, drawn: int, bias: str, with_apart: bool) -> None:
    inputs = drawn_inputs(batch, drawn, bias)
    apart = drawn_pairs(batch, drawn) if with_apart else NONE_APART
    got, expected = loss_of(inputs, apart), plain(inputs, apart)
    torch.testing.assert_close(got, expected)
    # The loss is a mean: compared is what each row gives.
    for one, other in zip(
        torch.autograd.grad(got * batch, inputs), torch.autograd.grad(expected * batch, inputs), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * math.sqrt(batch))


def test_a_pair_that_is_named_twice_is_apart_once() -> None:
    inputs = drawn_inputs(4, 3, "none")
    once = torch.tensor([1, 1, 3]), torch.tensor([0, 2, 1])
    twice = torch.tensor([1, 1, 1, 3, 3]), torch.tensor([0, 2, 0, 1, 1])
    assert torch.equal(loss_of(inputs, once), loss_of(inputs, twice))


def test_over_all_items_it_is_the_softmax() -> None:
    generator = torch.Generator().manual_seed(0)
    touching, items = torch.randn(6, WIDTH, generator=generator), torch.randn(9, WIDTH, generator=generator)
    touched = torch.tensor([0, 3, 8, 8, 1, 5])
    positive = (touching * items[touched]).sum(1)
    got = softmax_loss(touching, positive, items, (torch.arange(6), touched))
    torch.testing.assert_close(got, cross_entropy(touching @ items.T, touched))


def test_a_bias_says_how_many_items_each_stands_for() -> None:
    touching, positive, others = (tensor.detach() for tensor in drawn_inputs(4, 5, "none"))
    got = softmax_loss(
        touching, positive, others, (torch.tensor([2]), torch.tensor([1])), torch.full((1, 1), math.log(100 / 5))
    )
    wanted = 0.0
    for row in range(4):
        scores = [float(touching[row] @ others[column]) for column in range(5) if (row, column) != (2, 1)]
        touched = math.exp(float(positive[row]))
        wanted -= math.log(touched / (touched + sum(map(math.exp, scores)) * 100 / 5)) / 4
    assert float(got) == pytest.approx(wanted, rel=1e-5)


def test_it_is_right_on_average() -> None:
    """With the bias log(items / drawn) the sum over drawn items estimates the sum over all others."""
    generator = torch.Generator().manual_seed(0)
    touching, items = torch.randn(1, 3, generator=generator) / 2, torch.randn(40, 3, generator=generator)
    scores = (items @ touching[0]).double()
    bias = torch.full((1, 1), math.log(40 / 8))
    sums = []
    for _ in range(1000):
        drawn = torch.randint(40, (8,), generator=generator)
        same = (drawn == 0).nonzero()[:, 0]
        loss = softmax_loss(touching, scores[:1].float(), items[drawn], (torch.zeros_like(same), same), bias)
        sums.append(math.exp(float(loss) + float(scores[0])) - math.exp(float(scores[0])))
    assert sum(sums) / 1000 == pytest.approx(float(scores[1:].exp().sum()), rel=0.05)


def test_a_row_whose_drawn_items_are_all_its_own_costs_nothing() -> None:
    inputs = drawn_inputs(2, 3, "columns")
    apart = torch.arange(2).repeat_interleave(3), torch.arange(3).repeat(2)
    loss = loss_of(inputs, apart)
    assert float(loss.detach()) == 0
    assert not any(gradient.any() for gradient in torch.autograd.grad(loss, inputs))


def test_such_a_row_beside_others_has_no_gradient() -> None:
    inputs = drawn_inputs(2, 3, "each")
    loss = loss_of(inputs, (torch.zeros(3, dtype=torch.int64), torch.arange(3)))
    touching, positive, _, bias = torch.autograd.grad(loss, inputs)
    assert [bool(part[0].any()) for part in (touching, positive, bias)] == [False] * 3
    assert [bool(part[1].any()) for part in (touching, positive, bias)] == [True] * 3


def test_it_stays_finite_far_out() -> None:
    touching = torch.tensor([[1e4], [-1e4]], requires_grad=True)
    positive = torch.tensor([-1e4, 1e4], requires_grad=True)
    others = torch.tensor([[1.0], [0.0]], requires_grad=True)
    loss = softmax_loss(touching, positive, others, (torch.tensor([0]), torch.tensor([1])))
    assert float(loss.detach()) == pytest.approx(1e4)
    gradients = torch.autograd.grad(loss, [touching, positive, others])
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert gradients[1].tolist() == [-0.5, 0.0]
    assert gradients[0].tolist() == [[0.5], [0.0]]


def test_what_is_not_a_number_is_not_hidden() -> None:
    touching, positive, others = (tensor.detach() for tensor in drawn_inputs(3, 4, "none"))
    others[2, 1] = math.nan
    assert softmax_loss(touching, positive, others, NONE_APART).isnan()


@pytest.mark.parametrize("bias", BIASES)
def test_it_repeats_exactly_for_any_number_of_threads(bias: str) -> None:
    """On sizes that torch and BLAS divide among threads."""
    apart = drawn_pairs(700, 300, 0.01)

    def everything(seed: int) -> list[Tensor]:
        inputs = drawn_inputs(700, 300, bias, 33, seed)
        loss = loss_of(inputs, apart)
        return [loss.detach(), *torch.autograd.grad(loss, inputs)]

    for seed in range(2):
        torch.set_num_threads(1)
        alone = everything(seed)
        for number in (2, 3):
            torch.set_num_threads(number)
            assert all(map(torch.equal, alone, everything(seed)))
