"""One gradient step: a batch of touches, what they are compared with, and what it costs."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from gnas_ext.models.factors import FactorModel, Table
from gnas_ext.models.int8_factors import Int8Factors
from gnas_ext.models.products import a_row
from gnas_ext.ops.gather_rows import gather_rows
from gnas_ext.ops.quantized_rows import QuantizedRows
from gnas_ext.train.contrast import check_contrast, info_nce, scored_and_views
from gnas_ext.train.losses import alignment_uniformity, bpr, cosine_contrastive
from gnas_ext.train.multinomial import multinomial_loss
from gnas_ext.train.negatives import Sampler
from gnas_ext.train.optimizers import Int8Adagrad, optimizers
from gnas_ext.train.softmax import softmax_loss

if TYPE_CHECKING:
    from torch import Tensor

    from gnas_ext.data.interactions import Interactions
    from gnas_ext.models.lightgcn import LightGCN
    from gnas_ext.models.prior import TimePrior
    from gnas_ext.train.options import TrainOptions


class Step:
    """Moves a net by some rows of its log; returns their loss.

    Args:
        net: moved in place.
        train: the log.
        options: see there.
        prior: popularity through time, learned beside the embeddings with one weight; None for none.
        generator: of all draws.
        touches: that will be shown in all, for a learning rate that falls; 0 where it does not.
    """

    def __init__(
        self,
        net: LightGCN | Int8Factors,
        train: Interactions,
        options: TrainOptions,
        prior: TimePrior | None,
        generator: torch.Generator,
        touches: int = 0,
    ) -> None:
        check_contrast(net, options)
        self.net = net
        self.user = torch.from_numpy(train.user).long()
        self.item = torch.from_numpy(train.item).long()
        self.options = options
        self.prior = prior
        self.prior_weight = torch.nn.Parameter(torch.tensor(1.0))
        self._touched = net.graph.with_weight(None)
        self.sampler = Sampler(self.item, net.graph, options, generator)
        self.optimizers = optimizers(net, options, None if prior is None else self.prior_weight, generator)
        self._all_rows = options.optimizer == "adam"
        self._shown = 0
        self._touches = touches
        self._schedules = [
            torch.optim.lr_scheduler.LambdaLR(one, self._pace) for one in (self.optimizers if touches else [])
        ]
        # The published ones of these know cosines alone, and neither a temperature nor what is added to a score.
        self._plain = options.loss in ("cosine_contrastive", "alignment_uniformity")
        if self._plain and prior is not None:
            raise ValueError(f"fit: expected no prior with loss {options.loss!r}, which would not train its weight")
        self._cosine = options.similarity == "cosine" or self._plain

    def __call__(self, rows: Tensor) -> float:
        """One step on some rows, [batch], int64, all of their users for "multinomial"; their loss before it."""
        users, items = self.user[rows], self.item[rows]
        # Without what all nodes come to, where the rows of the batch alone are looked at.
        nodes, views = None, None
        if self._all_rows:
            assert not isinstance(self.net, Int8Factors)
            nodes, views = scored_and_views(self.net, self.options)
        loss = self._loss(nodes, rows, users, items)
        if views is not None:
            loss = loss + self._contrast(views, users, items)
        loss = self._penalised(loss, users, items)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        torch.autograd.backward(loss)
        for optimizer in self.optimizers:
            optimizer.step()
        self._shown += len(rows)
        for schedule in self._schedules:
            schedule.step()
        return float(loss.detach())

    def _pace(self, _: int) -> float:
        """What is left of the learning rate."""
        return 0.5 + 0.5 * math.cos(math.pi * min(1.0, self._shown / self._touches))

    def _loss(self, nodes: Tensor | None, rows: Tensor, users: Tensor, items: Tensor) -> Tensor:
        options = self.options
        if options.loss == "bpr":
            drawn = self.sampler.own(users, items)
            touching, touched, others = self._scored(nodes, users, items, drawn)
            positive = (touching * touched).sum(1) + self._prior(rows, items)
            return bpr(positive, (touching * others).sum(1) + self._prior(rows, drawn))
        if options.loss == "multinomial":
            shown = torch.unique(users)
            touching, others = self._scored(nodes, shown, torch.arange(self.net.graph.cols))
            bias = None if self.prior is None else a_row(self.prior_weight, len(self.prior.now))[:, 0] * self.prior.now
            return multinomial_loss(touching, others, self._touched.select_rows(shown), bias)
        if options.loss == "alignment_uniformity":
            touching, touched = self._scored(nodes, users, items)
            return alignment_uniformity(touching, touched, options.uniformity)
        shared = self.sampler.shared(users, items)
        touching, touched, others = self._scored(nodes, users, items, shared.items)
        apart = (shared.row, shared.column)
        if options.loss == "cosine_contrastive":
            return cosine_contrastive(touching, touched, others, apart, options.margin, options.negative_weight)
        raised: Tensor | float = 0.0 if shared.bias is None else shared.bias
        raised = raised + self._prior(rows, shared.items[None])
        positive = (touching * touched).sum(1) + self._prior(rows, items)
        return softmax_loss(touching, positive, others, apart, None if isinstance(raised, float) else raised)

    def _scored(self, nodes: Tensor | None, users: Tensor, *items: Tensor) -> list[Tensor]:
        """The embeddings of users and of each of `items`, as they are scored."""
        if nodes is not None:
            found = gather_rows(nodes, torch.cat([users, *(some + self.net.graph.rows for some in items)]))
        else:
            found = torch.cat([self._own_rows(users, self.net.user), self._own_rows(torch.cat(items), self.net.item)])
        if self._cosine:
            found = functional.normalize(found)
        touching, *others = torch.split(found, [len(users), *map(len, items)])
        # A temperature divides scores; here the side that all of them have.
        return [touching / self._temperature, *others]

    def _contrast(self, views: tuple[Tensor, Tensor], users: Tensor, items: Tensor) -> Tensor:
        """What it costs that the users and items of the batch are told apart no better."""
        apart = (torch.unique(users), torch.unique(items) + self.net.graph.rows)
        costs = [info_nce(views, some, self.options.contrast_temperature) for some in apart]
        return self.options.contrast_weight * (costs[0] + costs[1])

    def _own_rows(self, rows: Tensor, table: Tensor | QuantizedRows) -> Tensor:
        """First embeddings, whose gradient is of the rows alone where they alone are moved."""
        if isinstance(table, QuantizedRows):
            assert isinstance(self.optimizers[0], Int8Adagrad)
            return self.optimizers[0].rows(table, rows)
        return functional.embedding(rows, table, sparse=not self._all_rows and table.requires_grad)

    @property
    def _temperature(self) -> float:
        return 1.0 if self._plain else self.options.temperature

    def _penalised(self, loss: Tensor, users: Tensor, items: Tensor) -> Tensor:
        if not self.options.weight_decay:
            return loss
        used = self._own_rows(users, self.net.user), self._own_rows(items, self.net.item)
        return loss + self.options.weight_decay * sum(part.square().sum(1).sum() for part in used) / len(users)

    def _prior(self, rows: Tensor, items: Tensor) -> Tensor | float:
        """Weighted log popularity of `items` ([batch], or [1, drawn] for all rows) at the rows' moments."""
        if self.prior is None:
            return 0.0
        moment = self.prior.moment[rows]
        if items.dim() == 2:
            # One weight a row: its gradient is summed row by row, then over rows, and not in one part a thread.
            return self.prior_weight.expand(len(rows), 1) * self.prior.table[:, items[0]][moment]
        return self.prior_weight * self.prior.table[moment, items]

    @torch.no_grad()
    def model(self) -> FactorModel:
        """The model as it would be served now."""
        prior = None if self.prior is None else self.prior_weight.detach() * self.prior.now
        if isinstance(self.net, Int8Factors):
            user, item = self.net.tables(self._cosine)
            assert user.scale is not None
            return FactorModel(replace(user, scale=user.scale / self._temperature), item, prior)
        self.net.eval()
        users, items = self.net()
        if self._cosine:
            users, items = functional.normalize(users), functional.normalize(items)
        return FactorModel(Table(users / self._temperature), Table(items.clone()), prior)
