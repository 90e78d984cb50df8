from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from gnas_ext.search import Genotype, Outcome, Trial
from gnas_ext.search.trial import as_json


def test_attributes_are_kept_as_json_gives_them_back() -> None:
    kept = Outcome(0.5, {"curve": (0.1, 0.2), "np": np.float64(3.5), "deep": {"x": [None, True, "s"]}}).attributes
    assert kept == {"curve": [0.1, 0.2], "np": 3.5, "deep": {"x": [None, True, "s"]}}
    assert json.loads(json.dumps(kept, allow_nan=False)) == kept


def test_numbers_that_json_lacks_become_none() -> None:
    assert as_json([math.nan, math.inf, 1.0], "curve") == [None, None, 1.0]


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"a": {"b": [1, {1, 2}]}}, r"attributes\['a'\]\['b'\]\[1\]: .* got set"),
        ({"a": {1: 2}}, r"attributes\['a'\]: .* got dict"),
        ({"a": np.float32(1)}, r"attributes\['a'\]: .* got float32"),
    ],
)
def test_attributes_that_json_cannot_hold_are_refused_by_name(attributes: dict[str, object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Outcome(0.5, attributes)


def test_trials_are_compared_by_all_but_the_time_they_took() -> None:
    trial = Trial(0, Genotype({"a": 1}), "complete", (0.5,), seconds=1.0)
    assert trial == replace(trial, seconds=2.0)
    assert trial != replace(trial, values=(0.6,))
    assert trial != replace(trial, parents=(1,))
