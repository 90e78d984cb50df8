from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from gnas_ext.search import Integer, SearchSpace, autoencoder
from gnas_ext.search.latent import EVERY, FIRST, STARTS, Latent

if TYPE_CHECKING:
    from gnas_ext.search import Tokens

WIDE = SearchSpace({name: Integer(0, 9) for name in "abcd"}, valid=lambda g: g["a"] != g["b"])


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autoencoder, "STEPS", 10)


def losses(tokens: Tokens) -> tuple[float]:
    return (float(sum(tokens)),)


def drawn(space: SearchSpace, count: int) -> list[Tokens]:
    rng = random.Random(0)
    return [space.encode(space.sample(rng)) for _ in range(count)]


def taught(space: SearchSpace, count: int, asked: bool = False, seed: int = 0) -> Latent:
    latent = Latent(space, seed)
    for number, tokens in enumerate(drawn(space, count)):
        latent.learn(number, tokens, losses(tokens))
        if asked:
            latent.candidates()
    return latent


def test_candidates_are_canonical_allowed_and_come_from_a_trial(space: SearchSpace) -> None:
    found = taught(space, 60).candidates()
    assert found
    assert len({one.tokens for one in found}) == len(found)
    for tokens, number in found:
        assert space.encode(space.decode(tokens)) == tokens
        assert 0 <= number < 60


def test_trials_to_start_from_are_the_best() -> None:
    found = taught(WIDE, 40).candidates()
    sums = [sum(tokens) for tokens in drawn(WIDE, 40)]
    assert len({number for _, number in found}) > 1
    assert all(sums[number] <= sorted(sums)[STARTS - 1] for _, number in found)


def test_there_are_none_before_the_first_training() -> None:
    assert taught(WIDE, FIRST - 1).candidates() == []
    assert taught(WIDE, FIRST).candidates() != []


def test_they_follow_from_the_seed_and_the_trials_whenever_it_is_asked() -> None:
    count = 3 * FIRST + EVERY // 2
    found = taught(WIDE, count).candidates()
    assert taught(WIDE, count, asked=True).candidates() == found
    assert taught(WIDE, count, seed=1).candidates() != found


def test_they_change_as_trials_are_added() -> None:
    assert taught(WIDE, 2 * FIRST).candidates() != taught(WIDE, 2 * FIRST + EVERY).candidates()
