from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from gnas_ext.data.interactions import Interactions
from gnas_ext.models import FactorModel, Table

USERS, ITEMS, WIDTH = 60, 80, 16


@pytest.fixture
def train() -> Interactions:
    """User 0 touched nothing; popular items are those of low codes."""
    rng = np.random.default_rng(3)
    item = np.minimum(rng.geometric(0.05, 500) - 1, ITEMS - 1)
    return Interactions(rng.integers(1, USERS, 500).astype(np.int32), item.astype(np.int32))


@pytest.fixture
def valid() -> Interactions:
    """Touches held out, of users that have some."""
    rng = np.random.default_rng(5)
    return Interactions(rng.integers(1, USERS, 80).astype(np.int32), rng.integers(0, ITEMS, 80).astype(np.int32))


@pytest.fixture
def model() -> FactorModel:
    """Cosines over a temperature, beside a prior."""
    return cosines(USERS, ITEMS)


def cosines(users: int, items: int) -> FactorModel:
    """As many of them."""
    generator = torch.Generator().manual_seed(4)
    spread = torch.linspace(1.5, 0.3, WIDTH)
    user, item = (
        functional.normalize(torch.randn(rows, WIDTH, generator=generator) * spread) for rows in (users, items)
    )
    return FactorModel(Table(user * 5), Table(item), torch.randn(items, generator=generator))
