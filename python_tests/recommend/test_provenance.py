from __future__ import annotations

from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from gnas_ext.data.interactions import Interactions
from gnas_ext.recommend import fingerprint, package_versions

if TYPE_CHECKING:
    from collections.abc import Callable

TRAIN = Interactions(np.array([0, 1, 1], np.int32), np.array([0, 0, 1], np.int32), np.array([5, 6, 7]))
USER_IDS = pl.Series(["a", "b", "held out"])
ITEM_IDS = pl.Series([1, 2])


def test_the_same_data_has_the_same_fingerprint() -> None:
    again = Interactions(TRAIN.user.copy(), TRAIN.item.copy(), np.array([5, 6, 7]))
    assert fingerprint(TRAIN, USER_IDS, ITEM_IDS) == fingerprint(again, USER_IDS.head(2), ITEM_IDS)


@pytest.mark.parametrize(
    "change",
    [
        lambda: fingerprint(replace(TRAIN, timestamp=np.array([5, 6, 8])), USER_IDS, ITEM_IDS),
        lambda: fingerprint(replace(TRAIN, timestamp=None), USER_IDS, ITEM_IDS),
        lambda: fingerprint(replace(TRAIN, item=TRAIN.user, user=TRAIN.item), USER_IDS, ITEM_IDS),
        lambda: fingerprint(TRAIN.select(np.array([1, 0, 2])), USER_IDS, ITEM_IDS),
        lambda: fingerprint(TRAIN, pl.Series(["a", "c"]), ITEM_IDS),
        lambda: fingerprint(TRAIN, USER_IDS, ITEM_IDS.cast(pl.String)),
    ],
)
def test_other_data_has_another_fingerprint(change: Callable[[], str]) -> None:
    assert change() != fingerprint(TRAIN, USER_IDS, ITEM_IDS)


def test_versions_are_those_that_are_installed() -> None:
    assert package_versions()["polars"] == metadata.version("polars")
