from __future__ import annotations

import math
from typing import Any

import pytest

from gnas_ext.train import TrainOptions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"loss": "hinge"},
            "'softmax', 'multinomial', 'cosine_contrastive' or 'alignment_uniformity', got 'hinge'",
        ),
        ({"similarity": "l2"}, "expected similarity 'dot' or 'cosine', got 'l2'"),
        (
            {"negatives_from": "hard"},
            "expected negatives_from 'uniform', 'popularity', 'batch' or 'mixed', got 'hard'",
        ),
        ({"contrast": "edges"}, "expected contrast 'none', 'views' or 'layers', got 'edges'"),
        (
            {"optimizer": "sgd"},
            "expected optimizer 'adam', 'lazy_adam', 'rowwise_adagrad' or 'int8_adagrad', got 'sgd'",
        ),
        ({"epochs": 0}, "expected epochs of 1 or more, got 0"),
        ({"patience": 0}, "expected patience of 1 or more, got 0"),
        ({"batch": 0}, "expected batch of 1 or more, got 0"),
        ({"negatives": 0}, "expected negatives of 1 or more, got 0"),
        ({"lr": 0.0}, "expected lr above 0"),
        ({"lr": math.nan}, "expected lr above 0"),
        ({"temperature": 0.0}, "expected temperature above 0, got 0.0"),
        ({"contrast_temperature": -1.0}, "expected contrast_temperature above 0, got -1.0"),
        ({"weight_decay": -1.0}, "weight_decay of 0 or more"),
        ({"negative_weight": -1.0}, "negative_weight of 0 or more, got -1.0"),
        ({"uniformity": math.nan}, "uniformity of 0 or more, got nan"),
        ({"contrast_weight": -0.1}, "contrast_weight of 0 or more, got -0.1"),
        ({"contrast_noise": -0.1}, "contrast_noise of 0 or more, got -0.1"),
        ({"loss": "multinomial", "half_life_days": 9.0}, "half_life_days of inf with loss 'multinomial', got 9.0"),
        ({"half_life_days": 0.0}, "half_life_days above 0"),
    ],
)
def test_options_outside_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainOptions(**options)
