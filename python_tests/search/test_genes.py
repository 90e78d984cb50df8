from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext.search import Categorical, Float, Integer, LogFloat

if TYPE_CHECKING:
    from collections.abc import Callable

    from gnas_ext.search import Gene


@pytest.mark.parametrize(
    ("gene", "values"),
    [
        (Integer(1, 4), [1, 2, 3, 4]),
        (Integer(-2, 4, step=3), [-2, 1, 4]),
        (Categorical(["sum", None, 3, 0.5, True]), ["sum", None, 3, 0.5, True]),
        (Float(0, 1, levels=5), [0, 0.25, 0.5, 0.75, 1]),
        (LogFloat(1e-4, 1e-1, levels=4), [1e-4, 1e-3, 1e-2, 1e-1]),
    ],
    ids=repr,
)
def test_a_gene_offers_these_values(gene: Gene, values: list[object]) -> None:
    assert list(gene.values) == values


@pytest.mark.parametrize(
    "gene", [Integer(3, 9, step=2), Categorical(["a", None, True]), LogFloat(1e-4, 3.0), Float(-1, 2)]
)
def test_each_value_is_found_at_its_own_place(gene: Gene) -> None:
    assert [gene.index(value) for value in gene.values] == list(range(len(gene.values)))


@settings(deadline=None)
@given(st.floats(1e-8, 1e8), st.floats(1.1, 1e6), st.integers(2, 40))
def test_log_levels_rise_by_one_factor_from_end_to_end(low: float, factor: float, levels: int) -> None:
    values = [float(str(value)) for value in LogFloat(low, low * factor, levels=levels).values]
    assert (values[0], values[-1]) == (low, low * factor)
    steps = [math.log(b / a) for a, b in itertools.pairwise(values)]
    assert steps == pytest.approx([math.log(factor) / (levels - 1)] * (levels - 1), abs=2e-5)


def test_a_level_that_was_computed_by_hand_is_recognised() -> None:
    assert LogFloat(1e-4, 1e-1, levels=7).index(10**-2.5) == 3


def test_true_is_not_one() -> None:
    assert Categorical([1, 2]).index(1) == 0
    with pytest.raises(ValueError, match="got True"):
        Categorical([1, 2]).index(True)
    with pytest.raises(ValueError, match="got 1"):
        Categorical([True, False]).index(1)


@pytest.mark.parametrize(
    ("gene", "value", "message"),
    [
        (Integer(1, 4), 5, "expected a whole number from 1 to 4, got 5"),
        (Integer(1, 4), 2.0, "expected a whole number from 1 to 4, got 2.0"),
        (Integer(0, 4, step=2), 3, "expected a whole number from 0 to 4 in steps of 2, got 3"),
        (Categorical(["sum", "mean"]), "max", r"expected one of \['sum', 'mean'\], got 'max'"),
        (LogFloat(1e-4, 1e-1, levels=7), 0.003, r"one of 7 levels .* got 0.003; the nearest is 0.00316228"),
        (Float(0, 1), 1.5, "expected a number from 0 to 1, got 1.5"),
        (Float(0, 1), math.nan, "expected a number from 0 to 1, got nan"),
        (Float(0, 1), "0.5", "expected a number from 0 to 1, got '0.5'"),
    ],
)
def test_a_value_that_is_not_offered_is_refused(gene: Gene, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gene.index(value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Integer(4, 1), r"low <= high.*Integer\(4, 1\)"),
        (lambda: Integer(1, 4, step=2), "whole number of steps"),
        (lambda: Integer(1, 4, step=0), "steps >= 1"),
        (
            lambda: Integer(1.0, 4),  # type: ignore[arg-type]
            "expected whole numbers, got 1.0",
        ),
        (lambda: Categorical([]), "at least one choice"),
        (lambda: Categorical("sum"), "expected a list"),
        (lambda: Categorical(["a", "a"]), "different choices"),
        (lambda: Categorical([1, True]), "different choices"),
        (lambda: Categorical([math.nan]), "got nan"),
        (
            lambda: Categorical([[1, 2]]),  # type: ignore[list-item]
            r"got \[1, 2\]",
        ),
        (lambda: Float(1, 0), "finite low < high"),
        (lambda: Float(0, math.inf), "finite low < high"),
        (lambda: Float(0, 1, levels=1), "at least 2 levels, got 1"),
        (lambda: Float(1, 1.00001, levels=100), "100 levels are too many"),
        (lambda: LogFloat(0, 1), "low > 0, got 0"),
        (
            lambda: Integer(1, 2, when={"prior": True}),  # type: ignore[dict-item]
            "expected a list of values for 'prior', got True",
        ),
        (lambda: Integer(1, 2, when={"agg": "sum"}), "expected a list of values for 'agg', got 'sum'"),
        (lambda: Integer(1, 2, when={"agg": []}), r"expected a list of values for 'agg', got \[\]"),
    ],
)
def test_a_gene_that_makes_no_sense_is_refused(make: Callable[[], Gene], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()


@pytest.mark.parametrize(
    "gene",
    [
        Integer(1, 4),
        Integer(1, 5, step=2, when={"prior": [True]}),
        Categorical(["a", None, 2], ordered=True),
        LogFloat(0.0001, 0.1, levels=7),
        Float(-1, 1, when={"a": ["x", "y"]}),
    ],
    ids=repr,
)
def test_repr_says_all_that_defines_a_gene(gene: Gene) -> None:
    names = {"Integer": Integer, "Categorical": Categorical, "LogFloat": LogFloat, "Float": Float}
    assert eval(repr(gene), names) == gene
