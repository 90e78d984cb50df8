from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import spearmanr

from gnas_ext.search import Integer, SearchSpace
from gnas_ext.search import predictor as module
from gnas_ext.search.features import Features
from gnas_ext.search.predictor import Predictor, normal_scores

if TYPE_CHECKING:
    import pytest

SPACE = SearchSpace({name: Integer(0, 9) for name in "abcd"})


def losses(tokens: tuple[int, ...]) -> tuple[float, float]:
    return sum((token - 6) ** 2 for token in tokens), float(np.exp(tokens[0] - tokens[1]))


def taught(count: int, seed: int = 0) -> tuple[Predictor, Features, list[tuple[int, ...]]]:
    rng = random.Random(seed)
    features, predictor = Features(SPACE), Predictor()
    sequences = [SPACE.encode(SPACE.sample(rng)) for _ in range(count)]
    for tokens in sequences:
        predictor.learn(features(tokens), losses(tokens))
    return predictor, features, sequences


def test_it_ranks_what_it_has_not_seen() -> None:
    predictor, features, _ = taught(150)
    rng = random.Random(1)
    fresh = [SPACE.encode(SPACE.sample(rng)) for _ in range(200)]
    expected = predictor.predict([features(tokens) for tokens in fresh])
    for objective in range(2):
        truth = [losses(tokens)[objective] for tokens in fresh]
        assert spearmanr(expected[:, objective], truth).statistic > 0.8
    assert predictor.correlation > 0.7


def test_it_is_the_solution_of_its_normal_equations() -> None:
    predictor, features, sequences = taught(45)
    vectors = np.zeros((45, len(features)))
    for place, tokens in enumerate(sequences):
        vector = features(tokens)
        vectors[place, vector.columns] = vector.values
    likeness = np.exp((vectors @ vectors.T - 1) / predictor._reach)
    target = normal_scores([losses(tokens) for tokens in sequences])
    weights = np.linalg.solve(likeness + predictor._noise * np.eye(45), target)
    expected = predictor.predict([features(tokens) for tokens in sequences])
    assert np.allclose(expected, likeness @ weights, atol=1e-8)


def test_the_scale_of_the_losses_does_not_matter() -> None:
    rng = random.Random(0)
    features, plain, skewed = Features(SPACE), Predictor(), Predictor()
    for _ in range(40):
        tokens = SPACE.encode(SPACE.sample(rng))
        loss = losses(tokens)[0]
        plain.learn(features(tokens), (loss,))
        skewed.learn(features(tokens), (np.exp(loss / 10) - 1e6,))
    vectors = [features((a, 3, 4, 5)) for a in range(1, 11)]
    assert np.array_equal(plain.predict(vectors), skewed.predict(vectors))


def test_asking_in_between_changes_no_bit() -> None:
    (quiet, features, sequences), asked, other = taught(60), Predictor(), Features(SPACE)
    rng = random.Random(9)
    for tokens in sequences:
        asked.learn(other(tokens), losses(tokens))
        asked.predict([other(SPACE.encode(SPACE.sample(rng))) for _ in range(3)])
    vectors = [[which(tokens) for tokens in sequences] for which in (features, other)]
    assert np.array_equal(quiet.predict(vectors[0]), asked.predict(vectors[1]))


def test_of_very_many_trials_the_better_half_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 64)
    predictor, features, sequences = taught(200)
    assert 32 <= len(predictor) < 64
    best = sorted(sequences, key=lambda tokens: losses(tokens)[0])
    expected = predictor.predict([features(tokens) for tokens in (best[0], best[-1])])
    assert expected[0, 0] < expected[1, 0]


def test_equal_losses_are_predicted_to_be_equal() -> None:
    features, predictor = Features(SPACE), Predictor()
    rng = random.Random(0)
    for _ in range(20):
        predictor.learn(features(SPACE.encode(SPACE.sample(rng))), (1.0,))
    assert np.allclose(predictor.predict([features((1, 2, 3, 4))]), 0)
