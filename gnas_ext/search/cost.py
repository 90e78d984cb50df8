"""How long will an evaluation take? As long as those that it is most like.

A search for minutes needs to know: where some genotypes take a hundred times as long as others, the last minutes are
still enough for the short ones.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gnas_ext.search.features import Features
    from gnas_ext.search.space import Tokens
    from gnas_ext.search.trial import Trial

    Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

RECENT = 20
QUANTILE = 0.9
# As in search/predictor.py: the likeness of features whose angle has the cosine c is exp((c - 1) / reach), and noise is
# a share of the variance.
_REACH, _NOISE = 1.0, 0.03
_SHORTEST = 1e-3
# Of more trials, the last ones are learned from.
_MOST = 256


class Cost:
    """Learns from trials what genotypes take: a Gaussian process of the logarithm of seconds over features.

    Args:
        features: of token sequences.
        known: seconds that are known beforehand, of token sequences; nothing is learned then.

    Attributes:
        shortest, longest: seconds between which all that is expected lies; both 0 before anything is learned.
    """

    def __init__(self, features: Features, known: Callable[[Tokens], float] | None = None) -> None:
        self.shortest, self.longest = 0.0, 0.0 if known is None else math.inf
        self._known = known
        self._features = features
        self._trials: list[Trial] = []
        self._tokens: list[Tokens] = []
        # Made when it is asked for, which a search without minutes never does.
        self._learned: tuple[Array, Array, Array, float, float] | None = None

    @property
    def known(self) -> int:
        """How many trials it has learned from."""
        return len(self._trials)

    def learn(self, tokens: Tokens, trial: Trial) -> None:
        """Takes in what was evaluated, and its seconds."""
        if self._known is not None:
            return
        self.shortest = min(self.shortest, trial.seconds) if self._trials else trial.seconds
        self.longest = max(self.longest, trial.seconds)
        self._tokens.append(tokens)
        self._trials.append(trial)
        self._learned = None

    def expected(self, tokens: Tokens) -> float:
        """Seconds: the mean of what is expected and one deviation more, so that few take longer; 0 if nothing is known.

        What is like no trial takes what is usual.
        """
        if self._known is not None:
            return self._known(tokens)
        if not self._trials:
            return 0.0
        x, weights, inverse, usual, variance = self._learned or self._learn()
        vector = self._features(tokens)
        dense = np.zeros(max(x.shape[1], int(vector.columns.max(initial=0)) + 1))
        dense[vector.columns] = vector.values
        like = np.exp((x @ dense[: x.shape[1]] - 1) / _REACH)
        deviation = math.sqrt(max(0.0, variance * (1 - float(like @ inverse @ like))))
        return min(max(math.exp(usual + float(like @ weights) + deviation), self.shortest), self.longest)

    def _learn(self) -> tuple[Array, Array, Array, float, float]:
        trials, vectors = self._trials[-_MOST:], [self._features(tokens) for tokens in self._tokens[-_MOST:]]
        x = np.zeros((len(vectors), max(int(one.columns.max(initial=0)) for one in vectors) + 1))
        for row, one in zip(x, vectors, strict=True):
            row[one.columns] = one.values
        usual = math.log(max(expected_seconds(trials), _SHORTEST))
        away = np.log([max(trial.seconds, _SHORTEST) for trial in trials]) - usual
        inverse = np.linalg.inv(np.exp((x @ x.T - 1) / _REACH) + _NOISE * np.eye(len(x)))
        learned = x, np.asarray(inverse @ away), np.asarray(inverse), usual, float(np.mean(away**2))
        self._learned = learned
        return learned


def expected_seconds(trials: Sequence[Trial], fidelity: float = 1.0) -> float:
    """How long the next trial takes: the .9 quantile of the last 20 complete (or failed) ones; 0 at first.

    Of a fidelity that was never tried, as much longer than one of the highest that was, as it is higher.
    """
    known = max((trial.fidelity for trial in trials if trial.fidelity <= fidelity), default=fidelity)
    alike = [trial for trial in trials if trial.fidelity == known]
    complete = [trial.seconds for trial in alike if trial.state == "complete"]
    recent = sorted((complete or [trial.seconds for trial in alike])[-RECENT:])
    return recent[math.ceil(QUANTILE * len(recent)) - 1] * fidelity / known if recent else 0.0
