"""How does a small model learn to rank as a large one does? From its lists, in floats or in the codes that it keeps.

The student is two tables. For each user the teacher's list (`compress.lists`) is a distribution over items, softmax of
score / temperature, and so is the student's; their divergence is the loss (Hinton, Vinyals and Dean, 2015; on top
lists: Tang and Wang, 2018, Ranking distillation). Beside it, if asked: the squared error of scores, how far rows are
from the teacher's, and the touches themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gnas_ext.compress.lists import Lists, teach
from gnas_ext.compress.quantisers import Floats, Quantiser
from gnas_ext.compress.start import student_of
from gnas_ext.evaluate.seen import SeenItems
from gnas_ext.graph.csr import CSR
from gnas_ext.models.coded import CodedModel
from gnas_ext.models.factors import FactorModel, Table
from gnas_ext.ops.sddmm import sddmm

if TYPE_CHECKING:
    from collections.abc import Callable

    from gnas_ext.data.interactions import Interactions
    from gnas_ext.models.base import Model
    from gnas_ext.models.coded import Rows

Student = FactorModel | CodedModel


@dataclass(frozen=True)
class DistilOptions:
    """How a student learns.

    Attributes:
        temperature: scores of both are divided by it: below 1 the top of the lists counts more.
        best, drawn: items of each list (`teach`).
        ranking, regression, alignment, touches: weights of the divergence of lists; of the squared error of scores,
            each list's mean taken off; of 1 - the cosine between a row and the teacher's, mapped to its width by a
            matrix that learns, for teachers that have rows; of -log softmax of a touched item beside its user's list.
        batch: users a step.
        refresh: steps after which quantisers look at all rows again.
        epochs: passes over the users; none leaves what there was to begin with.
        lr: learning rate, times the size of a table's numbers; it falls to zero along half a cosine.
        seed: of draws and shuffles.
    """

    temperature: float = 1.0
    best: int = 100
    drawn: int = 100
    ranking: float = 1.0
    regression: float = 0.0
    alignment: float = 0.0
    touches: float = 0.0
    batch: int = 512
    refresh: int = 16
    epochs: int = 10
    lr: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("temperature", "lr"):
            if not getattr(self, name) > 0:
                raise ValueError(f"DistilOptions: expected {name} above 0, got {getattr(self, name)}")
        for name in ("best", "batch", "refresh"):
            if getattr(self, name) < 1:
                raise ValueError(f"DistilOptions: expected {name} of 1 or more, got {getattr(self, name)}")
        for name in ("drawn", "ranking", "regression", "alignment", "touches", "epochs"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"DistilOptions: expected {name} of 0 or more, got {getattr(self, name)}")


def distil(
    teacher: Model,
    start: FactorModel | int,
    train: Interactions,
    options: DistilOptions | None = None,
    *,
    user: Quantiser | None = None,
    item: Quantiser | None = None,
    lists: Lists | None = None,
    prior: Callable[[Tensor], Rows] | None = None,
    on_epoch: Callable[[int, float], None] | None = None,
) -> Student:
    """Trains a student to rank as its teacher does.

    Args:
        teacher: any model of the same users and items.
        start: what the student is to begin with; its width is the student's. Or a width: of `student_of`, so that
            `distil(large, 32, train)` is all that it takes to make a large model, or a filter without rows, small.
        train: what users touched: they are taught on everything else.
        options: see there.
        user: how the student's rows of users are stored: training sees what they come back as. None for float32.
        item: and those of items.
        lists: what `teach` said, where it was asked before.
        prior: stores the student's prior, float32 [n_items]; None keeps it.
        on_epoch: called after each pass with its number, from 1, and the mean loss.

    Returns:
        The student after the last pass: a FactorModel where both sides are float32 and the prior is kept, else a
        CodedModel. It repeats exactly for equal arguments.

    Raises:
        ValueError: teacher and start differ in users or items, or alignment is asked of a teacher without rows.
    """
    options = options or DistilOptions()
    if not isinstance(start, FactorModel):
        lists = lists or teach(teacher, train, options.best, options.drawn, options.seed)
        start = student_of(teacher, int(start), train, lists, options.seed)
    known, wanted = (start.n_users, start.n_items), (teacher.n_users, teacher.n_items)
    if known != wanted:
        raise ValueError(f"distil: expected a student of {wanted} users and items, as the teacher, got {known}")
    if lists is None:
        lists = teach(teacher, train, options.best, options.drawn, options.seed)
    step = _Step(teacher, start, train, options, user or Floats(), item or Floats(), lists)
    generator = torch.Generator().manual_seed(options.seed)
    for epoch in range(options.epochs):
        step.refresh()
        order = torch.randperm(len(lists), generator=generator)
        losses = []
        for number, rows in enumerate(torch.split(order, options.batch)):
            if number and number % options.refresh == 0:
                step.refresh()
            losses.append(step(rows))
        if on_epoch is not None:
            on_epoch(epoch + 1, sum(losses) / max(1, len(losses)))
    return step.student(prior)


class _Step:
    """Moves a student by the lists of some users."""

    def __init__(
        self,
        teacher: Model,
        start: FactorModel,
        train: Interactions,
        options: DistilOptions,
        user: Quantiser,
        item: Quantiser,
        lists: Lists,
    ) -> None:
        self.options, self.lists = options, lists
        self.quantisers = {"user": user, "item": item}
        tables = {"user": start.user.float(), "item": start.item.float()}
        self.tables = {side: nn.Parameter(table.clone()) for side, table in tables.items()}
        self.prior = None if start.prior is None else nn.Parameter(start.prior.clone())
        self.seen = SeenItems.from_interactions(train, start.n_users)
        self.generator = np.random.default_rng(options.seed)
        self.all_items = torch.arange(start.n_items)
        self.towards = self._aligned(teacher, start) if options.alignment else {}
        groups: list[dict[str, Any]] = []
        shared: set[nn.Parameter] = set()
        for side, table in self.tables.items():
            size = float(table.detach().square().mean().sqrt().clamp(min=1e-12))
            # Both sides may have one mask.
            found = [table, *(own for own in self.quantisers[side].parameters() if own not in shared)]
            shared.update(found)
            groups.append({"params": found, "lr": options.lr * size})
        if self.prior is not None:
            size = float(self.prior.detach().std(correction=0).clamp(min=1e-12))
            groups.append({"params": [self.prior], "lr": options.lr * size})
        if self.towards:
            groups.append({"params": [entry[1] for entry in self.towards.values()], "lr": options.lr})
        # A user's row has a gradient once a pass. Adam would move it for many steps after that one, and far.
        self.optimizer = torch.optim.Adagrad(groups, fused=True)
        steps = options.epochs * math.ceil(len(lists) / options.batch)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda done: 0.5 + 0.5 * math.cos(math.pi * min(1.0, done / max(1, steps)))
        )

    def __call__(self, rows: Tensor) -> float:
        """One step on some rows of the lists; their loss before it."""
        options, lists = self.options, self.lists
        users, columns = lists.users[rows], lists.items[rows]
        own = self.quantisers["user"](self.tables["user"], users)
        items = self.quantisers["item"](self.tables["item"], self.all_items)
        wanted, weight = lists.scores[rows], lists.log_weight[rows]
        there = wanted.isfinite()
        scores = self._scores(own, items, columns)
        loss = scores.new_zeros(())
        if options.ranking:
            loss = loss + options.ranking * _divergence(scores, wanted, weight, there, options.temperature)
        if options.regression:
            loss = loss + options.regression * _error(scores, wanted, there)
        if options.touches:
            loss = loss + options.touches * self._touched(own, items, users, scores + weight, there)
        for side, (rows_there, matrix) in self.towards.items():
            mine, index = (own, users) if side == "user" else (items, self.all_items)
            loss = loss + options.alignment * _apart(mine @ matrix, rows_there[index])
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.optimizer.step()
        self.schedule.step()
        return float(loss.detach())

    def refresh(self) -> None:
        """Quantisers look at all rows."""
        for side, quantiser in self.quantisers.items():
            quantiser.refresh(self.tables[side])

    @torch.no_grad()
    def student(self, prior: Callable[[Tensor], Rows] | None) -> Student:
        """The student as it is stored now."""
        user, item = (self.quantisers[side].store(self.tables[side]) for side in ("user", "item"))
        known = None if self.prior is None else self.prior.detach().clone()
        if isinstance(user, Table) and isinstance(item, Table) and prior is None:
            return FactorModel(user, item, known)
        kept: Rows | None = None
        if known is not None:
            kept = Table(known[:, None]) if prior is None else prior(known)
        return CodedModel(user, item, kept)

    def _scores(self, own: Tensor, items: Tensor, columns: Tensor) -> Tensor:
        """Scores of some items for each user, in the shape of columns."""
        count, width = columns.shape
        indptr = torch.arange(count + 1, dtype=torch.int64) * width
        pairs = CSR(indptr, columns.reshape(-1), None, (count, len(items)))
        found = sddmm(pairs, own, items).view(count, width)
        return found if self.prior is None else found + self.prior[columns]

    def _touched(self, own: Tensor, items: Tensor, users: Tensor, others: Tensor, there: Tensor) -> Tensor:
        """-log softmax of an item that each user touched, beside the user's list."""
        begin, counts = self.seen.indptr[users.numpy()], self.seen.counts[users.numpy()]
        place = begin + (self.generator.random(len(users)) * counts).astype(np.int64)
        touched = torch.from_numpy(self.seen.items[place]).long()
        score = self._scores(own, items, touched[:, None])
        beside = torch.cat([score, others.masked_fill(~there, -torch.inf)], 1)
        return (beside.logsumexp(1) - score[:, 0]).mean()

    def _aligned(self, teacher: Model, start: FactorModel) -> dict[str, tuple[Tensor, nn.Parameter]]:
        """The teacher's rows, and a matrix from the student's width to theirs, for each side."""
        if not isinstance(teacher, FactorModel | CodedModel):
            raise ValueError(f"distil: expected alignment of 0 with a teacher without rows, {type(teacher).__name__}")
        found = {}
        for side, there, own in (("user", teacher.user, start.user), ("item", teacher.item, start.item)):
            rows = there.float()
            # What brings the first rows nearest to the teacher's.
            matrix = torch.linalg.lstsq(own.float(), rows).solution
            found[side] = (rows, nn.Parameter(matrix))
        return found


def _divergence(scores: Tensor, wanted: Tensor, weight: Tensor, there: Tensor, temperature: float) -> Tensor:
    """The mean over users of KL(teacher || student), where an item counts for as many as it stands for."""
    nowhere = ~there
    teacher = (wanted / temperature + weight).masked_fill(nowhere, -torch.inf).log_softmax(1)
    student = (scores / temperature + weight).masked_fill(nowhere, -torch.inf).log_softmax(1)
    each = (teacher.exp() * (teacher - student)).masked_fill(nowhere, 0.0)
    return each.sum(1).mean()


def _error(scores: Tensor, wanted: Tensor, there: Tensor) -> Tensor:
    """The mean squared error of scores, less each list's mean."""
    apart = (scores - wanted).masked_fill(~there, 0.0)
    count = there.sum(1, keepdim=True).clamp(min=1)
    apart = (apart - apart.sum(1, keepdim=True) / count).masked_fill(~there, 0.0)
    return (apart.square().sum(1) / count[:, 0]).mean()


def _apart(rows: Tensor, others: Tensor) -> Tensor:
    """1 - the mean cosine."""
    return 1 - functional.cosine_similarity(rows, others).mean()
