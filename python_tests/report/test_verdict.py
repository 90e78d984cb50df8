from __future__ import annotations

import math

import pytest

from gnas_ext.evaluate.compare import ModelResult
from gnas_ext.report import verdict


def result(name: str, ndcg: float, size: int = 1000) -> ModelResult:
    return ModelResult(name, {"ndcg@20": ndcg}, size, 0.1)


def test_a_better_model_is_said_to_beat_all() -> None:
    got = verdict([result("best", 0.125), result("mine", 0.1312), result("other", 0.09)], "mine")
    assert got.better
    assert got.quality == (
        "The found model beats all 2 baselines: NDCG@20 0.1312 on the test set, "
        "5.0% above the best of them, best (0.1250)."
    )


def test_a_worse_model_is_said_not_to() -> None:
    got = verdict([result("mine", 0.12), result("best", 0.125)], "mine")
    assert not got.better
    assert "does not beat the best baseline: NDCG@20 0.1200 on the test set, 4.0% below best (0.1250)" in got.quality


def test_a_difference_that_nobody_can_read_is_none() -> None:
    got = verdict([result("mine", 0.12504), result("best", 0.12496)], "mine")
    assert not got.better
    assert "the same as best (0.1250)" in got.quality


@pytest.mark.parametrize("ndcg", [math.nan, math.inf])
def test_a_model_without_a_figure_beats_nothing(ndcg: float) -> None:
    assert not verdict([result("mine", ndcg), result("best", 0.0)], "mine").better


def test_a_baseline_without_a_figure_is_not_the_best() -> None:
    assert (
        "best of them, other (0.1000)"
        in verdict([result("mine", 0.2), result("x", math.nan), result("other", 0.1)], "mine").quality
    )


def test_a_baseline_of_nought_is_no_division() -> None:
    assert verdict([result("mine", 0.1), result("none", 0.0)], "mine").quality.endswith(
        "above the best of them, none (0.0000)."
    )


@pytest.mark.parametrize("others", [[], [result("x", math.nan)]])
def test_without_a_baseline_nothing_is_claimed(others: list[ModelResult]) -> None:
    got = verdict([result("mine", 0.1), *others], "mine")
    assert not got.better
    assert "no baseline" in got.quality


def test_fewer_bytes_are_counted_in_times() -> None:
    got = verdict([result("mine", 0.1, 500_000), result("large", 0.1, 2_000_000)], "mine", "large")
    assert got.smaller
    assert got.size == "It takes 500 kB, 4.0 times less than large (2.00 MB)."


@pytest.mark.parametrize("size", [2_000_000, 3_000_000])
def test_a_model_that_is_not_smaller_is_said_not_to_be(size: int) -> None:
    got = verdict([result("mine", 0.1, size), result("large", 0.1, 2_000_000)], "mine", "large")
    assert got.smaller is False
    assert got.size.startswith("It is not smaller than large")


def test_a_name_that_is_not_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a model called 'mine' in the comparison, got \\['other'\\]"):
        verdict([result("other", 0.1)], "mine")
