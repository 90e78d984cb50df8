from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch
from torch.nn.functional import normalize

from gnas_ext.train import alignment_uniformity, bpr, cosine_contrastive

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


def drawn(*shape: int, scale: float = 3.0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape))) * scale


def test_bpr_is_the_mean_negative_log_sigmoid_of_the_difference() -> None:
    positive, negative = drawn(7), drawn(7, 1)[:, 0]
    pairs = zip(positive.tolist(), negative.tolist(), strict=True)
    wanted = sum(math.log1p(math.exp(-(p - n))) for p, n in pairs) / 7
    assert float(bpr(positive, negative)) == pytest.approx(wanted, rel=1e-6)


def test_bpr_of_equal_scores_is_log_two() -> None:
    assert float(bpr(torch.ones(3), torch.ones(3))) == pytest.approx(math.log(2))


@pytest.mark.parametrize(("difference", "wanted"), [(1e4, 0.0), (-1e4, 1e4)])
def test_bpr_stays_finite_far_out(difference: float, wanted: float) -> None:
    assert float(bpr(torch.tensor([difference]), torch.zeros(1))) == pytest.approx(wanted)


# Cosines.


def on_the_sphere(*shape: int, seed: int = 0) -> Tensor:
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=1)


def cosine_contrastive_by_loops(
    touching: Tensor, touched: Tensor, others: Tensor, apart: set[tuple[int, int]], margin: float, weight: float
) -> Tensor:
    costs = []
    for row in range(len(touching)):
        counting = [other for column, other in enumerate(others) if (row, column) not in apart]
        near = [(touching[row] @ other - margin).clamp(min=0) for other in counting]
        cost = 1 - touching[row] @ touched[row]
        costs.append(cost + weight * sum(near) / len(near) if near else cost)
    return torch.stack(costs).mean()


def alignment_uniformity_by_loops(touching: Tensor, touched: Tensor, weight: float) -> Tensor:
    def crowding(rows: Tensor) -> Tensor:
        pairs = [(a, b) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j]
        return torch.stack([torch.exp(-2 * (a - b).square().sum()) for a, b in pairs]).mean().log()

    near = torch.stack([(a - b).square().sum() for a, b in zip(touching, touched, strict=True)]).mean()
    return near + weight * (crowding(touching) + crowding(touched)) / 2


@pytest.mark.parametrize("batch", [1, 6])
@pytest.mark.parametrize("margin", [-1.0, 0.0, 0.3])
def test_cosine_contrastive_is_what_the_paper_says(batch: int, margin: float) -> None:
    touching, touched, others = (
        on_the_sphere(rows, 3, seed=seed).requires_grad_() for seed, rows in enumerate((batch, batch, 8))
    )
    inputs = touching, touched, others
    # The first row has nothing to be compared with.
    pairs = [(0, column) for column in range(8)] + [(row, 3) for row in range(1, batch)]
    row, column = (torch.tensor(side) for side in zip(*pairs, strict=True))
    got = cosine_contrastive(touching, touched, others, (row, column), margin, 7.0)
    expected = cosine_contrastive_by_loops(touching, touched, others, set(pairs), margin, 7.0)
    torch.testing.assert_close(got, expected)
    if batch > 1:
        torch.testing.assert_close(torch.autograd.grad(got, inputs), torch.autograd.grad(expected, inputs))
    else:
        assert not torch.autograd.grad(got, others)[0].any()


def test_an_item_drawn_twice_counts_twice() -> None:
    touching, touched, others = on_the_sphere(3, 4, seed=1), on_the_sphere(3, 4, seed=2), on_the_sphere(2, 4, seed=3)
    none = torch.zeros(0, dtype=torch.int64)
    twice = cosine_contrastive(touching, touched, others[[0, 1, 1]], (none, none), 0.0, 5.0)
    torch.testing.assert_close(
        twice, cosine_contrastive_by_loops(touching, touched, others[[0, 1, 1]], set(), 0.0, 5.0)
    )


def test_others_below_the_margin_cost_nothing() -> None:
    touching = on_the_sphere(4, 3)
    none = torch.zeros(0, dtype=torch.int64)
    loss = cosine_contrastive(touching, touching, -touching[:1], (none, none), 0.99, 1000.0)
    assert float(loss) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("uniformity", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("batch", [2, 7])
def test_alignment_uniformity_is_what_the_paper_says(batch: int, uniformity: float) -> None:
    # In float32 cosines of near rows cancel, by how much is the machine's.
    inputs = [on_the_sphere(batch, 4, seed=seed).double().requires_grad_() for seed in (1, 2)]

    def lengthless(formula: Callable[[Tensor, Tensor, float], Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Cosines stand for distances on the sphere alone: gradients are compared along it."""
        loss = formula(normalize(inputs[0], dim=1), normalize(inputs[1], dim=1), uniformity)
        return loss, torch.autograd.grad(loss, inputs)

    torch.testing.assert_close(lengthless(alignment_uniformity), lengthless(alignment_uniformity_by_loops))


def test_users_and_items_that_come_twice_are_as_near_as_can_be() -> None:
    touching, touched = on_the_sphere(5, 4, seed=1)[[0, 1, 1, 2, 0]], on_the_sphere(5, 4, seed=2)[[3, 3, 3, 2, 1]]
    got = alignment_uniformity(touching, touched, 1.0)
    torch.testing.assert_close(got, alignment_uniformity_by_loops(touching, touched, 1.0))


def test_one_row_alone_has_nothing_to_spread_from() -> None:
    touching, touched = on_the_sphere(1, 4, seed=1).requires_grad_(), on_the_sphere(1, 4, seed=2)
    loss = alignment_uniformity(touching, touched, 3.0)
    torch.testing.assert_close(loss, (touching - touched).square().sum())
    assert torch.autograd.grad(loss, touching)[0].isfinite().all()


def test_all_rows_in_one_place_cost_nothing_and_stay_finite() -> None:
    rows = on_the_sphere(1, 4).expand(300, 4).clone().requires_grad_()
    loss = alignment_uniformity(rows, rows.detach(), 1.0)
    assert float(loss.detach()) == pytest.approx(0, abs=1e-5)
    assert torch.autograd.grad(loss, rows)[0].isfinite().all()
