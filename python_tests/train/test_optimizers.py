from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from gnas_ext import CSR
from gnas_ext.train import TrainOptions
from gnas_ext.train.optimizers import RowwiseAdagrad
from gnas_ext.train.step import Step
from python_tests.train.conftest import make_net, trained

if TYPE_CHECKING:
    from gnas_ext.data import Interactions

LAZY = ["lazy_adam", "rowwise_adagrad"]
LOSSES = ["bpr", "softmax", "cosine_contrastive", "alignment_uniformity"]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("optimizer", LAZY)
def test_rows_that_no_batch_touched_stay_as_they_are(train: Interactions, optimizer: str, loss: str) -> None:
    net = make_net(train, hops=0)
    before = net.user.detach().clone(), net.item.detach().clone()
    options = TrainOptions(
        loss=loss,  # type: ignore[arg-type]
        optimizer=optimizer,  # type: ignore[arg-type]
        negatives=4,
        margin=-1.0,
        lr=0.1,
        weight_decay=0.1,
    )
    step = Step(net, train, options, None, torch.Generator().manual_seed(0))
    drawn: set[int] = set()
    own, shared = step.sampler.own, step.sampler.shared

    def seen_own(users: torch.Tensor, touched: torch.Tensor) -> torch.Tensor:
        found = own(users, touched)
        drawn.update(found.tolist())
        return found

    def seen_shared(users: torch.Tensor, touched: torch.Tensor) -> Any:
        found = shared(users, touched)
        drawn.update(found.items.tolist())
        return found

    step.sampler.own, step.sampler.shared = seen_own, seen_shared  # type: ignore[method-assign]
    rows = torch.arange(5)
    for _ in range(3):
        step(rows)
    users, items = set(train.user[:5].tolist()), set(train.item[:5].tolist()) | drawn
    for table, first, moved in ((net.user, before[0], users), (net.item, before[1], items)):
        same = [torch.equal(new, old) for new, old in zip(table, first, strict=True)]
        assert {row for row, kept in enumerate(same) if not kept} == moved
        assert not all(same)
        assert any(same)


@pytest.mark.parametrize("width", [1, 4])
def test_rowwise_adagrad_is_the_dense_formula(width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    table = nn.Parameter(torch.randn(6, width, generator=generator))
    dense, squares = table.detach().clone(), torch.zeros(6)
    optimizer = RowwiseAdagrad([table], lr=0.3)
    for _ in range(8):
        rows = torch.randint(5, (7,), generator=generator)  # some twice; the last row never
        toward = torch.randn(7, width, generator=generator)
        optimizer.zero_grad()
        torch.autograd.backward((nn.functional.embedding(rows, table, sparse=True) * toward).sum())
        optimizer.step()
        gradient = torch.zeros(6, width)
        for row, part in zip(rows.tolist(), toward, strict=True):
            gradient[row] += part
        for row in set(rows.tolist()):
            squares[row] += sum(float(value) ** 2 for value in gradient[row]) / width
            dense[row] -= 0.3 * gradient[row] / (squares[row] ** 0.5 + 1e-10)
    torch.testing.assert_close(table.detach(), dense)
    assert torch.equal(table[5], dense[5])


def test_rowwise_adagrad_keeps_one_number_a_row() -> None:
    table = nn.Parameter(torch.ones(6, 32))
    optimizer = RowwiseAdagrad([table], lr=0.3)
    torch.autograd.backward(nn.functional.embedding(torch.tensor([2]), table, sparse=True).sum())
    optimizer.step()
    assert {name: state.shape for name, state in optimizer.state[table].items()} == {"squares": (6,)}


def test_a_row_without_gradient_of_its_own_is_not_divided_by_nothing() -> None:
    table = nn.Parameter(torch.ones(3, 2))
    optimizer = RowwiseAdagrad([table], lr=0.3)
    torch.autograd.backward((nn.functional.embedding(torch.tensor([1]), table, sparse=True) * 0).sum())
    optimizer.step()
    assert torch.equal(table, torch.ones(3, 2))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("optimizer", LAZY)
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_gradients_and_losses_are_those_of_adam(
    train: Interactions, optimizer: str, loss: str, similarity: str
) -> None:
    found = []
    for of in ("adam", optimizer):
        net = make_net(train, hops=0)
        chosen: dict[str, Any] = {"loss": loss, "similarity": similarity, "temperature": 0.5, "optimizer": of}
        options = TrainOptions(**chosen, negatives=9, negatives_from="mixed", margin=0.0, weight_decay=0.1)
        cost = Step(net, train, options, None, torch.Generator().manual_seed(4))(torch.arange(60))
        assert net.user.grad is not None
        assert net.item.grad is not None
        assert net.user.grad.is_sparse == (of != "adam")
        found.append((torch.tensor(cost), net.user.grad.to_dense(), net.item.grad.to_dense()))
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("optimizer", LAZY)
def test_the_prior_learns_beside_them(train: Interactions, optimizer: str) -> None:
    slow, fast = (
        trained(train, optimizer=optimizer, net={"hops": 0}, lr=lr, prior_days=9.0).model.prior for lr in (1e-9, 0.1)
    )
    assert slow is not None
    assert fast is not None
    assert not torch.allclose(slow, fast, rtol=0.01)


@pytest.mark.parametrize("optimizer", LAZY)
@pytest.mark.parametrize("case", ["hops", "item graph"])
def test_where_every_row_moves_it_must_be_adam(train: Interactions, optimizer: str, case: str) -> None:
    items = CSR(torch.arange(31), torch.arange(30), torch.ones(30), (30, 30))
    net: dict[str, Any] = {"hops": 1 if case == "hops" else 0, "item_graph": items if case == "item graph" else None}
    message = f"expected optimizer 'adam' with hops or an item graph, .* got '{optimizer}'"
    with pytest.raises(ValueError, match=message):
        trained(train, optimizer=optimizer, net=net)
