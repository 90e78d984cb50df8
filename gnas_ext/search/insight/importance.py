"""Which genes matter? The share of an objective's variance over the space that goes when a gene is known.

Functional analysis of variance, as Hutter et al. (2014, An efficient approach for assessing hyperparameter importance)
do with a forest, here with the predictor of the search: several are learnt, each from another random two thirds of the
trials, and asked about random genotypes and about the same with one gene drawn anew. Half the mean square of the
difference is the variance that is left when all but that gene is known (Jansen, 1999), a gene's total effect. So the
answer is about the space, not about where the search happened to look.

Conditional genes: one that is dead in a genotype changes nothing there, so it counts as often as it is alive; drawing
one that decides over others draws those that come alive with it. A cell is drawn anew as a whole.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gnas_ext.errors import InputError
from gnas_ext.search.features import Features
from gnas_ext.search.insight.frames import objective_names
from gnas_ext.search.insight.parts import parts_of
from gnas_ext.search.predictor import Predictor
from gnas_ext.search.space import DEAD

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from gnas_ext.search.features import Vector
    from gnas_ext.search.insight.parts import Part
    from gnas_ext.search.selection import Losses
    from gnas_ext.search.space import SearchSpace, Tokens
    from gnas_ext.search.study import Study

    Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

# Complete trials below which nothing can be said, and what share of them a predictor learns from.
LEAST = 12
LEARNT = 2 / 3
# Trials that are drawn from a longer study: a predictor keeps no more than 512.
MOST = 500
# How often a gene is drawn anew where `valid` refuses what comes out.
ATTEMPTS = 20


class _Redrawn(NamedTuple):
    """Random genotypes, and the same with one part drawn anew, as feature vectors; of the latter those that changed."""

    base: list[Vector]
    changed: list[list[int]]
    drawn: list[list[Vector]]


def importances(
    study: Study, objectives: Sequence[str] | None = None, *, models: int = 10, samples: int = 128, seed: int = 0
) -> pl.DataFrame:
    """How much each gene, or cell, decides over each objective.

    Args:
        study: with at least twelve complete trials.
        objectives: their names, as in `history`.
        models: predictors to learn, 2 or more.
        samples: random genotypes to ask each about.
        seed: of the draws; the same seed gives the same numbers.

    Returns:
        A frame with a row an objective and gene, by falling importance:

        - objective, gene;
        - importance: of the predicted variance of the objective's ranks over the space, the share that is left when all
          but this gene is known, 0 to 1; the mean over the models. Genes that act together are counted with each, so
          that the sum may exceed 1;
        - spread: its standard deviation over the models;
        - alive: in how many of the trials the gene is not dead;
        - trials: how many complete trials there were to learn from;
        - fit: rank correlation of what a model says of the third of the trials that it has not seen with what they
          gave; the mean over the models. Near 0, importances mean nothing.

    Raises:
        InputError: fewer than twelve complete trials.
        ValueError: an argument out of range.
    """
    import polars as pl

    names = objective_names(study, objectives)
    if models < 2 or samples < 2:
        raise ValueError(f"importances: expected models and samples of 2 or more, got {models} and {samples}")
    complete = study.complete
    if len(complete) < LEAST:
        raise InputError(f"importances need {LEAST} complete trials, got {len(complete)}: search on")
    rng = random.Random(seed)
    space, parts, features = study.space, parts_of(study.space), Features(study.space)
    tokens = [space.encode(trial.genotype) for trial in complete]
    vectors = [features(sequence) for sequence in tokens]
    losses = [study.losses(trial) for trial in complete]
    redrawn = _redraw(space, parts, features, samples, rng)
    shares, fits = [], []
    for _ in range(models):
        order = rng.sample(range(len(vectors)), min(len(vectors), MOST))
        cut = round(len(order) * LEARNT)
        learnt, rest = sorted(order[:cut]), sorted(order[cut:])
        model = Predictor()
        for place in learnt:
            model.learn(vectors[place], losses[place])
        fits.append(_fit(model, [vectors[place] for place in rest], [losses[place] for place in rest]))
        shares.append(_shares(model, redrawn))
    mean, spread = np.mean(shares, axis=0), np.std(shares, axis=0, ddof=1)
    alive = [sum(sequence[part.places[0]] != DEAD for sequence in tokens) for part in parts]
    rows = [
        (name, part.name, mean[at, place], spread[at, place], alive[at], len(complete), np.mean(fits, axis=0)[place])
        for place, name in enumerate(names)
        for at, part in sorted(enumerate(parts), key=lambda entry: -mean[entry[0], place])
    ]
    columns = ["objective", "gene", "importance", "spread", "alive", "trials", "fit"]
    dtypes = [pl.String, pl.String, pl.Float64, pl.Float64, pl.Int64, pl.Int64, pl.Float64]
    return pl.DataFrame(rows, schema=dict(zip(columns, dtypes, strict=True)), orient="row")


def _redraw(space: SearchSpace, parts: list[Part], features: Features, samples: int, rng: random.Random) -> _Redrawn:
    base = [space.encode(space.sample(rng)) for _ in range(samples)]
    changed: list[list[int]] = []
    drawn: list[list[Vector]] = []
    for part in parts:
        others = [_with_another(space, part, tokens, rng) for tokens in base]
        places = [place for place, (one, other) in enumerate(zip(base, others, strict=True)) if one != other]
        changed.append(places)
        drawn.append([features(others[place]) for place in places])
    return _Redrawn([features(tokens) for tokens in base], changed, drawn)


def _with_another(space: SearchSpace, part: Part, tokens: Tokens, rng: random.Random) -> Tokens:
    """A genotype with one part drawn anew, given the rest; the same value may come again, as it may by chance."""
    if tokens[part.places[0]] == DEAD:
        return tokens
    open_tokens = [DEAD if place in part.places else token for place, token in enumerate(tokens)]
    for _ in range(ATTEMPTS):
        other = space.repair(open_tokens, rng)
        if space.allows(other):
            return other
    return tokens


def _shares(model: Predictor, redrawn: _Redrawn) -> Array:
    """Total effect of each part on each objective, by Jansen's estimator."""
    expected = model.predict(redrawn.base)
    variance = expected.var(axis=0)
    left = np.zeros((len(redrawn.drawn), expected.shape[1]))
    for part, (places, vectors) in enumerate(zip(redrawn.changed, redrawn.drawn, strict=True)):
        if places:
            difference = model.predict(vectors) - expected[places]
            left[part] = (difference**2).sum(axis=0) / (2 * len(expected))
    # Where all is expected to be equal, no gene decides.
    return np.asarray(np.divide(left, variance, out=np.zeros_like(left), where=variance > 1e-12)).clip(max=1.0)


def _fit(model: Predictor, vectors: Sequence[Vector], losses: Sequence[Losses]) -> list[float]:
    """Rank correlation of prediction and truth, one number an objective; 0 where either is constant."""
    from scipy.stats import rankdata

    found = []
    for said, true in zip(model.predict(vectors).T, np.asarray(losses, dtype=np.float64).T, strict=True):
        a, b = (ranks - ranks.mean() for ranks in (rankdata(said), rankdata(true)))
        scale = float(np.sqrt((a @ a) * (b @ b)))
        found.append(float(a @ b) / scale if scale > 0 else 0.0)
    return found
