"""Training: losses, the order in which touches are shown, the loop with early stopping."""

from gnas_ext.train.loop import Epoch, Fit, Loss, Stopped, TrainOptions, fit
from gnas_ext.train.losses import bpr, sampled_softmax

__all__ = ["Epoch", "Fit", "Loss", "Stopped", "TrainOptions", "bpr", "fit", "sampled_softmax"]
