"""Training: losses, negatives, the order in which touches are shown, the loop with early stopping."""

from gnas_ext.train.loop import Epoch, Fit, Stopped, fit
from gnas_ext.train.losses import alignment_uniformity, bpr, cosine_contrastive
from gnas_ext.train.multinomial import multinomial_loss
from gnas_ext.train.options import Loss, TrainOptions
from gnas_ext.train.softmax import softmax_loss

__all__ = [
    "Epoch",
    "Fit",
    "Loss",
    "Stopped",
    "TrainOptions",
    "alignment_uniformity",
    "bpr",
    "cosine_contrastive",
    "fit",
    "multinomial_loss",
    "softmax_loss",
]
