from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from gnas_ext.models import CodedModel, FactorModel, ItemKNN, Popularity
from gnas_ext.recommend._coded import coded_tensors
from python_tests import logs

if TYPE_CHECKING:
    from gnas_ext.data import Split
    from gnas_ext.models import Model


@pytest.fixture(scope="session", params=["times", "no times"])
def split(request: pytest.FixtureRequest) -> Split:
    """A small log, cut; with times and without."""
    return logs.split(times=request.param == "times")


def everything(model: Model) -> list[np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    """All arrays of a model, so that two can be compared to the last bit."""
    if isinstance(model, Popularity):
        return [model.weight.numpy(), np.array(model.n_users)]
    if isinstance(model, ItemKNN):
        return [model.history.toarray(), model.similarity.toarray()]
    if isinstance(model, CodedModel):
        tensors = coded_tensors(model, None)  # type: ignore[arg-type]
        return [np.array(sorted(tensors)), *(tensors[name].numpy() for name in sorted(tensors))]
    assert isinstance(model, FactorModel)
    parts = (model.user.rows, model.user.scale, model.item.rows, model.item.scale, model.prior)
    return [torch.zeros(0).numpy() if part is None else part.numpy() for part in parts]


def same(one: Model, two: Model) -> bool:
    """Whether two models are the same to the last bit."""
    left, right = everything(one), everything(two)
    if type(one) is not type(two) or len(left) != len(right):
        return False
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(left, right, strict=True))
