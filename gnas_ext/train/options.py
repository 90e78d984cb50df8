"""What can be chosen about training?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

Loss = Literal["bpr", "softmax", "multinomial", "cosine_contrastive", "alignment_uniformity"]
Similarity = Literal["dot", "cosine"]
Negatives = Literal["uniform", "popularity", "batch", "mixed"]
Contrast = Literal["none", "views", "layers"]
Optimizer = Literal["adam", "lazy_adam", "rowwise_adagrad", "int8_adagrad"]

_CHOICES = {
    "loss": Loss,
    "similarity": Similarity,
    "negatives_from": Negatives,
    "contrast": Contrast,
    "optimizer": Optimizer,
}
_COUNTS = ("batch", "negatives", "epochs", "patience")
_ABOVE_ZERO = ("lr", "half_life_days", "temperature", "contrast_temperature")
_NOT_BELOW_ZERO = ("weight_decay", "negative_weight", "uniformity", "contrast_weight", "contrast_noise")


@dataclass(frozen=True)
class TrainOptions:
    """How a model is trained.

    Attributes:
        loss: "bpr"; sampled "softmax"; "multinomial", the softmax over all items; "cosine_contrastive" (SimpleX);
            "alignment_uniformity" (DirectAU). The second last draws items too, the last none. See `train`.
        similarity: of two embeddings: their "dot" product or "cosine"; the last two losses take cosines as they are.
        temperature: scores are divided by it.
        lr: learning rate, which falls to zero along half a cosine where `cosine_lr`.
        cosine_lr: so it does over all `epochs`, so that fewer are another training.
        optimizer: "adam"; "lazy_adam" and "rowwise_adagrad" touch the rows of a batch alone, for models without hops;
            so does "int8_adagrad", for `Int8Factors`, whose rows are int8 and nothing else.
        weight_decay: L2 penalty on the embeddings that a batch uses, per row.
        batch: touches a step; one larger than the log is the log. "multinomial" takes users whole, so it is about that.
        negatives: items drawn a step for softmax and cosine_contrastive, as many as there are at most, and as many as
            touches from the "batch"; bpr draws one a touch.
        negatives_from: all items alike ("uniform"); items as often as they are touched ("popularity"); half and half
            ("mixed"); what the "batch" touched: all of it where items are shared, one of it a touch for bpr.
        avoid_known: nobody is shown an item as a negative that they touched. Without, the one at hand does not count
            among shared items, and costs bpr a constant.
        corrected: softmax over drawn items estimates that over all items: scores of negatives are raised by the
            logarithm of how many items they stand for. Without, as the losses with a temperature are published, not.
        margin: cosines of negatives below it cost nothing (cosine_contrastive).
        negative_weight: of all negatives together, beside 1 for the positive (cosine_contrastive).
        uniformity: weight of that part (alignment_uniformity).
        contrast: InfoNCE of embeddings with noise: "none"; two "views" (SimGCL); one view and its first hop, "layers"
            (XSimGCL).
        contrast_weight, contrast_noise, contrast_temperature: of that.
        half_life_days: touches are drawn more rarely the older they are, half as often after this; inf for evenly, as
            "multinomial" must have it and as it is without times.
        epochs: passes over the log at most.
        patience: passes without a better validation before it stops.
        seconds: wall time at most; the step at hand is finished. The result then depends on the machine.
        seed: draws and shuffles.
    """

    loss: Loss = "bpr"
    similarity: Similarity = "dot"
    temperature: float = 1.0
    lr: float = 1e-3
    cosine_lr: bool = False
    optimizer: Optimizer = "adam"
    weight_decay: float = 1e-4
    batch: int = 2048
    negatives: int = 256
    negatives_from: Negatives = "uniform"
    avoid_known: bool = False
    corrected: bool = True
    margin: float = 0.8
    negative_weight: float = 100.0
    uniformity: float = 1.0
    contrast: Contrast = "none"
    contrast_weight: float = 0.1
    contrast_noise: float = 0.1
    contrast_temperature: float = 0.2
    half_life_days: float = math.inf
    epochs: int = 60
    patience: int = 6
    seconds: float = math.inf
    seed: int = 0

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in get_args(choices):
                *most, last = map(repr, get_args(choices))
                raise ValueError(
                    f"TrainOptions: expected {name} {', '.join(most)} or {last}, got {getattr(self, name)!r}"
                )
        for name in _COUNTS:
            if getattr(self, name) < 1:
                raise ValueError(f"TrainOptions: expected {name} of 1 or more, got {getattr(self, name)}")
        for name in _ABOVE_ZERO:
            if not getattr(self, name) > 0:
                raise ValueError(f"TrainOptions: expected {name} above 0, got {getattr(self, name)}")
        for name in _NOT_BELOW_ZERO:
            if not getattr(self, name) >= 0:
                raise ValueError(f"TrainOptions: expected {name} of 0 or more, got {getattr(self, name)}")
        if self.loss == "multinomial" and self.half_life_days != math.inf:
            raise ValueError(
                f"TrainOptions: expected half_life_days of inf with loss 'multinomial', got {self.half_life_days}"
            )
