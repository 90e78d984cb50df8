"""Steps in any order: what comes after codes works on what they stand for, and is stored so again."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest
import torch

from gnas_ext.compress import DistilOptions, degree_groups, quantize_model, teach
from gnas_ext.compress import step as step_module
from gnas_ext.compress.recipe import Recipe
from gnas_ext.compress.step import Context
from gnas_ext.compress.steps import Bits, Codes, Columns, Distil, Fold, Groups, Mask, NarrowRare, Solve
from gnas_ext.errors import InputError
from gnas_ext.models import CodedModel, FactorModel, GroupedTable, PackedTable, ProductTable
from python_tests.compress.conftest import ITEMS, USERS, WIDTH

if TYPE_CHECKING:
    from gnas_ext.compress.step import Step
    from gnas_ext.data.interactions import Interactions

OPTIONS = DistilOptions(best=10, drawn=10, batch=16)
STORING: dict[str, Step] = {
    "8 bits": Bits(8),
    "4 bits, learned": Bits(4, epochs=1),
    "groups": Groups(0.3, 8, 4),
    "nearest codes": Codes(8, 8, book_bits=8),
    "refitted codes": Codes(8, 8, solves=1),
    "learned codes in groups": Codes(8, 8, epochs=1, rare_share=0.5, rare_bytes=4),
}
HALF = WIDTH // 2


def kept(model: object) -> list[tuple[str, int]]:
    """What both tables are, and how wide."""
    assert isinstance(model, (FactorModel, CodedModel))
    return [(type(side).__name__, side.width) for side in (model.user, model.item)]


@pytest.mark.parametrize("storing", STORING)
def test_all_orders_of_prune_teach_and_store_end_in_as_many_bytes(
    storing: str, model: FactorModel, train: Interactions
) -> None:
    store = STORING[storing]
    half = replace(store, user_bytes=4, item_bytes=4, rare_bytes=2) if isinstance(store, Codes) else store
    wanted = Recipe((Columns(HALF), half)).apply(model, train, options=OPTIONS)
    acts: tuple[Step, ...] = (Columns(HALF), Distil(1), store)
    for steps in permutations(acts):
        pruned = steps.index(store) > next(place for place, step in enumerate(steps) if isinstance(step, Columns))
        told: tuple[Step, ...] = tuple(half if step is store and pruned else step for step in steps)
        small = Recipe(told).apply(model, train, options=OPTIONS)
        assert (small.n_users, small.n_items) == (USERS, ITEMS)
        assert [width for _, width in kept(small)] == [HALF, HALF]
        # Of 8 bits that were taught, the prior is in a byte an item, and each table says its layout.
        assert small.size_bytes() - wanted.size_bytes() in {0, ITEMS + 2 * 256 + 8 - 4 * ITEMS + 2 * 8}, steps


@pytest.mark.parametrize("sharing", [Fold(0.5), NarrowRare(0.5, 5, 1)])
@pytest.mark.parametrize("storing", [Bits(8), Bits(4, epochs=1), Groups(0.3, 8, 4), Codes(8, 8), Codes(8, 8, solves=1)])
@pytest.mark.parametrize("later", [Columns(HALF), Mask(HALF, 1), Distil(1), Solve(1)])
def test_rare_rows_stay_shared_and_all_stay_stored(
    sharing: Step, storing: Step, later: Step, model: FactorModel, train: Interactions
) -> None:
    small = Recipe((storing, sharing, later)).apply(model, train, options=OPTIONS)
    assert isinstance(small, CodedModel)
    for side in (small.user, small.item):
        assert isinstance(side, GroupedTable)
        assert isinstance(side.tables[0], ProductTable if isinstance(storing, Codes) else PackedTable)
        # Groups are popular rows in more bits and in fewer, then rare ones.
        kept = [len(table) > 1 and table.width > 5 for table in side.tables].count(True)
        rare = side.float()[side.groups() >= kept]
        assert abs(len(rare) - len(side) / 2) <= 1
        assert torch.equal(rare, rare[:1].expand_as(rare)) if isinstance(sharing, Fold) else not rare[:, 5:].any()


def test_what_is_taught_after_it_was_stored_learns_with_the_codes_in_sight(
    model: FactorModel, train: Interactions
) -> None:
    stored = Recipe((Bits(2),)).apply(model, train, options=OPTIONS)
    assert isinstance(stored, CodedModel)
    told = Recipe((Bits(2), Distil(4, lr=0.1, temperature=0.5))).apply(model, train, options=OPTIONS)
    options = replace(OPTIONS, temperature=0.5)
    wanted = Recipe((Bits(2, epochs=4, lr=0.1),)).apply(stored.decoded(), train, model, options)
    assert torch.equal(told.user.float(), wanted.user.float())
    assert torch.equal(told.item.float(), wanted.item.float())


@pytest.mark.parametrize(("steps", "last"), [
    ((Bits(8), Bits(4)), Bits(4)),
    ((Codes(4, 4), Bits(8)), Bits(8)),
    ((Groups(0.5, 8, 2), Bits(4)), Bits(4)),
    ((Bits(8), Codes(4, 4)), Codes(4, 4)),
])  # fmt: skip
def test_a_storing_step_takes_the_place_of_the_one_before(
    steps: tuple[Step, ...], last: Step, model: FactorModel, train: Interactions
) -> None:
    small, wanted = (Recipe(some).apply(model, train, options=OPTIONS) for some in (steps, (last,)))
    assert kept(small) == kept(wanted)


def test_a_shared_row_in_codes_is_stored_once(model: FactorModel, train: Interactions) -> None:
    plain, small = (Recipe(steps).apply(model, train) for steps in ((Codes(8, 8),), (Fold(0.5), Codes(8, 8))))
    rows = USERS - USERS // 2 + ITEMS - ITEMS // 2
    groups = -(-USERS // 4) - (-ITEMS // 4)
    assert plain.size_bytes() - small.size_bytes() == 8 * (USERS + ITEMS - rows) - groups - 2 * 4 * WIDTH


@pytest.mark.parametrize("sharing", [Fold(0.5), NarrowRare(0.5, 5, 1)])
def test_groups_of_rows_are_stored_by_their_popularity_too(
    sharing: Step, model: FactorModel, train: Interactions
) -> None:
    shared = Recipe((sharing,)).apply(model, train, options=OPTIONS)
    small = Recipe((sharing, Groups(0.3, 8, 4))).apply(model, train, options=OPTIONS)
    assert isinstance(small, CodedModel)
    for table, before, degree in zip(
        (small.user, small.item), (shared.user, shared.item), Context(train, model, OPTIONS).degrees(model), strict=True
    ):
        assert isinstance(table, GroupedTable)
        popular = degree_groups(degree, [0.3]) == 0
        bits = torch.tensor([part.rows.bits for part in table.tables if isinstance(part, PackedTable)])[table.groups()]
        assert bits[popular].eq(8).all()
        assert bits[~popular].eq(4).all()
        torch.testing.assert_close(table.float(), before.float(), rtol=0, atol=0.2 * float(before.float().abs().max()))


def test_rows_that_were_trained_in_int8_stay_so(model: FactorModel, train: Interactions) -> None:
    small = quantize_model(model, 8)
    for steps in ((Columns(HALF),), (Solve(1),), (Distil(1),), (Fold(0.5), Columns(HALF))):
        found = Recipe(steps).apply(small, train, model, OPTIONS)
        # A prior that was taught has a codebook.
        assert found.size_bytes() - small.size_bytes() <= 2 * 256 + 32
    plain = Recipe((Bits(32), Columns(HALF))).apply(small, train, model, OPTIONS)
    assert plain.user.float().dtype == torch.float32
    assert isinstance(plain, FactorModel)
    assert plain.user.scale is None


def test_no_passes_and_32_bits_change_nothing(model: FactorModel, train: Interactions) -> None:
    stored = Recipe((Codes(8, 8, solves=1),)).apply(model, train, options=OPTIONS)
    idle = Recipe((Codes(8, 8, solves=1), Distil(0))).apply(model, train, options=OPTIONS)
    assert torch.equal(idle.user.float(), stored.user.float())
    taught, after = (
        Recipe((*steps, Distil(1))).apply(model, train, options=OPTIONS) for steps in ((), (Bits(8), Bits(32)))
    )
    assert kept(taught) == kept(after) == [("Table", WIDTH)] * 2


def test_the_teacher_is_asked_once(monkeypatch: pytest.MonkeyPatch, model: FactorModel, train: Interactions) -> None:
    asked: list[object] = []

    def noted(*given: Any) -> Any:
        asked.append(given[0])
        return teach(*given)

    monkeypatch.setattr(step_module, "teach", noted)
    Recipe((Bits(4), Distil(1), Solve(1), Codes(8, 8, solves=1), Distil(1))).apply(model, train, options=OPTIONS)
    assert asked == [model]


def test_a_model_that_is_in_codes_is_refused(model: FactorModel, train: Interactions) -> None:
    with pytest.raises(InputError, match="expected a model of float32 or int8 rows, got a CodedModel"):
        Recipe((Columns(3),)).apply(quantize_model(model, 4), train)  # type: ignore[arg-type]
