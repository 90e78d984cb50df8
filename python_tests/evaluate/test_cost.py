from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from gnas_ext.evaluate import human_bytes, latency_ms


@dataclass
class Sleeper:
    """Takes the given seconds for each call."""

    seconds: list[float]
    calls: int = 0
    n_users: int = 10
    n_items: int = 3

    def score(self, users: np.ndarray[tuple[int, ...], np.dtype[np.int32]]) -> torch.Tensor:
        time.sleep(self.seconds[self.calls])
        self.calls += 1
        return torch.zeros(len(users), self.n_items)

    def size_bytes(self) -> int:
        return 0


USERS = np.arange(10, dtype=np.int32)


def test_latency_is_the_median_a_user_without_the_first_run() -> None:
    model = Sleeper([0.5, 0.05, 0.0, 0.4])
    assert 5 <= latency_ms(model, USERS, repeats=3) < 35
    assert model.calls == 4


@pytest.mark.parametrize(("users", "repeats"), [(0, 1), (10, 0)])
def test_nothing_to_time_is_refused(users: int, repeats: int) -> None:
    with pytest.raises(ValueError, match=f"got {users} users and {repeats} repeats"):
        latency_ms(Sleeper([0.0]), USERS[:users], repeats=repeats)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (9_999, "10.0 kB"),
        (18_134_784, "18.1 MB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (2_500_000_000_000, "2500 GB"),
    ],
)
def test_bytes_have_three_digits(size: int, text: str) -> None:
    assert human_bytes(size) == text
