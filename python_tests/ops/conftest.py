from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors gain nothing from a second thread, and on a busy machine torch's threads wait for each other."""
    yield from _threads(1)


@pytest.fixture
def two_threads(one_thread: None) -> Iterator[None]:
    """For graphs of several chunks."""
    yield from _threads(2)
