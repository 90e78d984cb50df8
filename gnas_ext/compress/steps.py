"""What can a recipe do? Its steps, which go from model to model.

Columns, Mask, Bits, Groups, Codes, NarrowRare and Fold make the model smaller; Distil and Solve bring back what was
lost, from what the recipe began with, or from a larger teacher. They come in any order (`order`). Rows in groups, as
Fold and NarrowRare leave them in float32, go into bits or the nearest codes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from gnas_ext.compress.calibrate import calibrate
from gnas_ext.compress.product import product_table, small_books
from gnas_ext.compress.prune import ColumnMask, Leading, Masked, compact, fold_rows, prune_columns
from gnas_ext.compress.quantisers import Floats, Grouped, Product, Quantiser, RowBits
from gnas_ext.compress.quantize import (
    degree_groups,
    in_table_groups,
    prior_table,
    product_quantize,
    product_quantize_parts,
    quantize_groups,
    quantize_model,
    quantize_parts,
)
from gnas_ext.compress.refit import refit
from gnas_ext.compress.rotate import importance, rotate, row_length
from gnas_ext.compress.solve import solve_rows
from gnas_ext.compress.step import WEIGHTS, Checked, Context
from gnas_ext.models.coded import CodedModel, GroupedTable, pack_groups
from gnas_ext.models.factors import FactorModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from gnas_ext.compress.distil import Student
    from gnas_ext.compress.step import Step
    from gnas_ext.models.pruned import Scores
    from gnas_ext.ops.quantize_rows import Rounding


@dataclass(frozen=True)
class Columns(Checked):
    """Keeps the columns that hold most, after turning them (`rotate`)."""

    keep: int

    def __call__(self, model: FactorModel, context: Context) -> Student:
        """A narrower model in float32."""
        return prune_columns(rotate(model), min(self.keep, model.user.width))


@dataclass(frozen=True)
class Mask(Checked):
    """Takes columns away while the model learns, more and more slowly, and those that are left learn on (`ColumnMask`).

    Attributes:
        keep: columns that are left; with a threshold, the least that are.
        epochs: passes; the schedule takes three quarters of them.
        scores: "magnitude" or "learned".
        threshold: share of the largest score below which a column goes; 0 for a number instead.
        lr: learning rate, of a table's numbers.
    """

    keep: int
    epochs: int = 4
    scores: Scores = "magnitude"
    threshold: float = 0.0
    lr: float = 0.02

    def __call__(self, model: FactorModel, context: Context) -> Student:
        """A narrower model in float32."""
        turned = rotate(model)
        user, item = turned.user.float(), turned.item.float()
        width = turned.user.width
        batches = math.ceil(len(context.taught()) / context.options.batch) if self.epochs else 0
        # The first look comes before the first step and takes nothing away.
        looks = self.epochs * math.ceil(batches / context.options.refresh) - 1
        steps = max(1, int(0.75 * looks)) if looks > 0 else 0
        columns = ColumnMask(width, min(self.keep, width), steps, self.scores, self.threshold)
        student: Student = turned
        if self.epochs:
            first = Masked(columns, None, row_length(user))
            second = Masked(columns, first, row_length(item))
            student = context.distil(turned, self.epochs, self.lr, user=first, item=second)
        assert isinstance(student, FactorModel)
        if not steps:
            columns.advance(student.user.float(), student.item.float())
        return compact(student, columns.mask)


@dataclass(frozen=True)
class Distil(Checked):
    """Teaches the float32 model the teacher's lists.

    Attributes:
        epochs: passes over the users.
        lr: learning rate, of a table's numbers.
        temperature, regression, alignment, touches: of `DistilOptions`; None takes the recipe's.
    """

    epochs: int = 4
    lr: float = 0.02
    temperature: float | None = None
    regression: float | None = None
    alignment: float | None = None
    touches: float | None = None

    def __call__(self, model: FactorModel, context: Context) -> Student:
        """As wide as before."""
        lengths = (row_length(table.float()) for table in (model.user, model.item))
        user, item = map(Floats, lengths)
        return context.distil(model, self.epochs, self.lr, self._told, user=user, item=item)

    @property
    def idle(self) -> bool:
        """Whether it does nothing."""
        return not self.epochs

    def in_sight_of(self, storing: Step) -> tuple[Step, dict[str, Any]] | None:
        """The storing step with these passes: rows, scales and codebooks learn together."""
        learning: Any = storing
        more = {"solves": None} if isinstance(storing, Codes) else {}
        return replace(learning, epochs=self.epochs, lr=self.lr, **more), self._told

    @property
    def _told(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("temperature", *WEIGHTS) if getattr(self, name) is not None}


@dataclass(frozen=True)
class Solve(Checked):
    """The float32 rows of the model that rank most like the teacher, by least squares on its lists (`solve_rows`)."""

    rounds: int = 1
    ridge: float = 0.1
    top: float = 0.5

    @property
    def teaches(self) -> bool:
        """Whether it asks the teacher for its lists."""
        return True

    def __call__(self, model: FactorModel, context: Context) -> Student:
        """As wide as before."""
        return solve_rows(model, context.taught(), self.rounds, self.ridge, self.top)


@dataclass(frozen=True)
class Bits(Checked):
    """Rows in 8, 4 or 2 bits an entry, a scale a row; with passes, learned with the codes in sight.

    Attributes:
        bits: 8, 4 or 2; 32 for float32.
        epochs: passes; 0 for codes that are found without training.
        lr: learning rate, of a table's numbers.
        stochastic: whether learning rounds at random.
        calibrated: whether codes that are not learned are found by what errors cost on the log (`calibrate`), not the
            nearest; rows in groups have the nearest.
    """

    bits: int
    epochs: int = 0
    lr: float = 0.02
    stochastic: bool = False
    calibrated: bool = False

    stores: ClassVar[bool] = True

    def takes(self, model: Student) -> bool:
        """Whether it can be made of the model: without training also of groups of tables."""
        return isinstance(model, FactorModel) or (not self.epochs and in_table_groups(model))

    def __call__(self, model: Student, context: Context) -> Student:
        """A model of packed rows."""
        if isinstance(model, CodedModel):
            return quantize_parts(model, self.bits)
        if not self.epochs:
            calibrated = self.calibrated and self.bits < 32
            return calibrate(model, self.bits, context.train) if calibrated else quantize_model(model, self.bits)
        rounding: Rounding = "stochastic" if self.stochastic else "nearest"
        user, item = (_row_bits(self.bits, table.float(), rounding) for table in (model.user, model.item))
        return context.distil(model, self.epochs, self.lr, user=user, item=item, prior=prior_table)


def _row_bits(bits: int, rows: Tensor, rounding: Rounding = "nearest") -> RowBits:
    return RowBits(bits, rounding, "minmax" if bits == 8 else "mse", bits != 2, row_length(rows))


@dataclass(frozen=True)
class Groups(Checked):
    """Popular rows in more bits than rare ones (`degree_groups`); with passes, learned with the codes in sight."""

    share: float
    popular_bits: int
    rare_bits: int
    epochs: int = 0
    lr: float = 0.02

    stores: ClassVar[bool] = True

    def takes(self, model: Student) -> bool:
        """Whether it can be made of the model: without training also of groups of tables."""
        return isinstance(model, FactorModel) or not self.epochs

    def __call__(self, model: Student, context: Context) -> Student:
        """A model of grouped tables."""
        bits = (self.popular_bits, self.rare_bits)
        groups = [degree_groups(degree, [self.share]) for degree in context.degrees(model)]
        if self.epochs:
            assert isinstance(model, FactorModel)
            user, item = (
                Grouped(group, [_row_bits(some, rows[group == number]) for number, some in enumerate(bits)])
                for rows, group in zip((model.user.float(), model.item.float()), groups, strict=True)
            )
            return context.distil(model, self.epochs, self.lr, user=user, item=item, prior=prior_table)
        first, second = (
            quantize_groups(rows, group, bits) for rows, group in zip((model.user, model.item), groups, strict=True)
        )
        prior = model.prior_row() if isinstance(model, CodedModel) else model.prior
        return CodedModel(first, second, None if prior is None else prior_table(prior))


@dataclass(frozen=True)
class Codes(Checked):
    """Rows in so many bytes each (`models.ProductTable`): nearest codes, or those that rank as the teacher does.

    With passes, rows and codebooks learn with the codes in sight (`distil`); with solves, codes are found by least
    squares (`refit`), which takes a tenth of the time.

    Attributes:
        user_bytes: a user.
        item_bytes: an item that is not rare.
        solves: rounds of `refit`; None for none.
        ridge: of refit.
        top: of refit.
        epochs: passes; 0 for k-means alone.
        lr: learning rate, of a table's numbers.
        rare_share: share of the items, those touched least, that have `rare_bytes` instead; 0 for none.
        rare_bytes: a rare item.
        book_bits: of a number of a codebook; in 8 a codebook takes half of the bytes, which counts where rows are few.
    """

    user_bytes: int
    item_bytes: int
    solves: int | None = None
    ridge: float = 0.1
    top: float = 0.5
    epochs: int = 0
    lr: float = 0.02
    rare_share: float = 0.0
    rare_bytes: int = 8
    book_bits: int = 16

    stores: ClassVar[bool] = True

    @property
    def teaches(self) -> bool:
        """Whether it asks the teacher for its lists."""
        return self.solves is not None or self.epochs > 0

    def takes(self, model: Student) -> bool:
        """Whether it can be made of the model: nearest codes for all alike also of groups of tables."""
        return isinstance(model, FactorModel) or not (self.teaches or self.rare_share)

    def __call__(self, model: Student, context: Context) -> Student:
        """A model of product codes."""
        if isinstance(model, CodedModel):
            coded: Student = product_quantize_parts(model, self.user_bytes, self.item_bytes)
        else:
            coded = self._coded(model, context)
        return small_books(coded) if self.book_bits == 8 and isinstance(coded, CodedModel) else coded

    def _coded(self, model: FactorModel, context: Context) -> Student:
        turned = rotate(model)
        if self.solves is not None:
            coded = product_quantize(model, self.user_bytes, self.item_bytes)
            if self.rare_share:
                coded = CodedModel(coded.user, self._grouped(turned, context), coded.prior)
            return refit(turned, coded, context.taught(), self.solves, self.ridge, self.top)
        if not self.epochs and not self.rare_share:
            return product_quantize(model, self.user_bytes, self.item_bytes)
        users, items = turned.user.float(), turned.item.float()
        user = Product(users, self.user_bytes, importance(users, items, centred=True), row_length(users))
        weight, length = importance(items, users, centred=False), row_length(items)
        item: Quantiser
        if self.rare_share:
            group = self._groups(model, context)
            item = Grouped(
                group,
                [Product(items[group == number], size, weight, length) for number, size in enumerate(self._sizes)],
            )
        else:
            item = Product(items, self.item_bytes, weight, length)
        return context.distil(turned, self.epochs, self.lr, user=user, item=item, prior=prior_table)

    @property
    def _sizes(self) -> tuple[int, int]:
        return self.item_bytes, self.rare_bytes

    def _groups(self, model: FactorModel, context: Context) -> Tensor:
        return degree_groups(context.degrees(model)[1], [1 - self.rare_share])

    def _grouped(self, turned: FactorModel, context: Context) -> GroupedTable:
        """Items by nearest codes, rare ones in fewer bytes."""
        users, items = turned.user.float(), turned.item.float()
        group = self._groups(turned, context)
        weight, length = importance(items, users, centred=False), row_length(items)
        tables = [
            product_table(items[group == number], size, weight, length) for number, size in enumerate(self._sizes)
        ]
        return GroupedTable(pack_groups(group), tuple(tables), len(items))


@dataclass(frozen=True)
class NarrowRare(Checked):
    """Rare rows keep their first columns alone, learned so; popular ones all, in float32."""

    share: float
    keep: int
    epochs: int = 4
    lr: float = 0.02

    shares: ClassVar[bool] = True

    @property
    def teaches(self) -> bool:
        """Whether it asks the teacher for its lists."""
        return True

    def __call__(self, model: FactorModel, context: Context) -> Student:
        """A model of grouped tables."""
        turned = rotate(model)
        sides = []
        for table, degree in zip((turned.user, turned.item), context.degrees(model), strict=True):
            length = row_length(table.float())
            group = degree_groups(degree, [self.share])
            sides.append(Grouped(group, [Leading(table.width, length), Leading(self.keep, length)]))
        return context.distil(turned, self.epochs, self.lr, user=sides[0], item=sides[1], prior=prior_table)


@dataclass(frozen=True)
class Fold(Checked):
    """The rows of each side that are touched least share one row, their mean; the others stay as they are."""

    share: float

    shares: ClassVar[bool] = True

    def __call__(self, model: FactorModel, context: Context) -> Student:
        """A model of grouped tables, or the model as it is where no row is shared."""
        cold = [degree_groups(degree, [1 - self.share]) == 1 for degree in context.degrees(model)]
        return fold_rows(model, *cold) if any(bool(side.any()) for side in cold) else model


STEPS: Mapping[str, type[Any]] = {
    step.__name__.lower(): step for step in (Columns, Mask, Distil, Solve, Bits, Groups, Codes, NarrowRare, Fold)
}
