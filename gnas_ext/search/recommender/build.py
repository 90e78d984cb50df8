"""How does a genotype become a recommender: trained or solved, and compressed?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gnas_ext.errors import InputError
from gnas_ext.models.factors import FactorModel
from gnas_ext.search.recommender.classic import FAMILIES as CLASSICS
from gnas_ext.search.recommender.classic import fit_classic, is_classic
from gnas_ext.search.recommender.compression import compress, recipe_of
from gnas_ext.search.recommender.embeddings import FAMILIES as EMBEDDINGS
from gnas_ext.search.recommender.embeddings import is_embedding, live_genes
from gnas_ext.search.recommender.taught import has_teacher, taught
from gnas_ext.search.recommender.trained import train_genotype
from gnas_ext.search.recommender.training_free import FAMILIES as TRAINING_FREE
from gnas_ext.search.recommender.training_free import build_training_free, is_training_free
from gnas_ext.search.recommender.trainings import Trainings, of_teaching, of_training
from gnas_ext.search.recommender.whole import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from gnas_ext.data.interactions import Interactions
    from gnas_ext.models.base import Model
    from gnas_ext.search.trial import Trial
    from gnas_ext.train.loop import Epoch, Stopped


@dataclass(frozen=True, eq=False)
class Built:
    """A model and how it came about.

    Attributes:
        model: as it is shipped: trained and compressed.
        curve: all passes of its training; none where it was solved at once, as classics are.
        best_epoch: number of the pass that `model` is; 0 without passes.
        stopped: why training ended; None without passes.
        uncompressed: the model before it was compressed; None where it was not.
    """

    model: Model
    curve: tuple[Epoch, ...] = ()
    best_epoch: int = 0
    stopped: Stopped | None = None
    uncompressed: FactorModel | None = None


def build(
    genotype: Mapping[str, Any],
    train: Interactions,
    *,
    validate: Callable[[Model], float] | None = None,
    epochs: int = 60,
    patience: int = 6,
    seconds: float = math.inf,
    seed: int = 0,
    on_epoch: Callable[[Epoch], None] | None = None,
    trainings: Trainings | None = None,
) -> Built:
    """Makes the model that a genotype names, of whatever kind, as it is shipped.

    Args:
        genotype: values of the genes of `recommender_space`, `embedding_space`, `classic_space`,
            `training_free_space` or `whole_space`; "recipe", as `str` tells one, stands for those of compression.
        train: the touches; nothing else is seen.
        validate: scores a model, to stop by; as in `train.fit`. Not asked for classics, nor are the following.
        epochs: passes at most.
        patience: passes without a better validation before training stops.
        seconds: of training at most; the step at hand is finished. What is solved, and would take longer, fails where
            that is known (SLIM).
        seed: of all draws, of classics too.
        on_epoch: called after each pass.
        trainings: of earlier genotypes, which are not done again; all with one `validate`.

    Raises:
        InputError: the family is none of ours, or, of a training-free or embedding one, a gene is unknown, missing or
            has no such value; the message names it.
        TimeoutError: what is solved would take longer than `seconds`.
    """
    genotype = plain(genotype)
    if is_classic(genotype):
        return _compressed(genotype, fit_classic(genotype, train, seed), train, seed)
    if is_training_free(genotype):
        return Built(build_training_free(genotype, train, seed, seconds))
    genotype = _trained_genes(genotype, train)
    trainings = trainings or Trainings(room=0)
    of_fit, of_taught = _keys(genotype, epochs, patience, seconds, seed)
    fitted = trainings.once(
        train,
        of_fit,
        lambda: train_genotype(
            genotype,
            train,
            validate=validate,
            epochs=epochs,
            patience=patience,
            seconds=seconds,
            seed=seed,
            on_epoch=on_epoch,
        ),
        lambda fit: fit.model.size_bytes(),
    )
    model = fitted.model
    if has_teacher(genotype):
        model = trainings.once(
            train,
            of_taught,
            lambda: taught(genotype, fitted.model, train, seed, seconds),
            lambda made: made.size_bytes(),
        )
    return _compressed(genotype, model, train, seed, fitted.epochs, fitted.best_epoch, fitted.stopped)


def would_spare(
    genotype: Mapping[str, Any],
    train: Interactions,
    *,
    epochs: int,
    patience: int,
    seconds: float,
    seed: int,
    trainings: Trainings,
) -> float:
    """Seconds of what `build` would do, with the same arguments, that are at hand already; the genotype is complete."""
    genotype = plain(genotype)
    if is_classic(genotype) or is_training_free(genotype):
        return 0.0
    # As a search proposes it: nothing is missing, so that it need not be looked at gene by gene, as it is to be built.
    keys = _keys(genotype, epochs, patience, seconds, seed)
    return trainings.would_spare(train, keys if has_teacher(genotype) else keys[:1])


def retrain(
    trial: Trial,
    train: Interactions,
    genotype: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Built:
    """Builds a trial's genotype from other rows, for as many passes as were best on validation, without validation.

    Args:
        trial: a complete trial of an `Objective`.
        train: the touches, such as training and validation together.
        genotype: another one for as many passes; the trial's own by default.
        seed: of all draws.
        on_epoch: called after each pass.
    """
    passes = max(1, int(trial.attributes["best_epoch"]))
    return build(genotype or trial.genotype, train, epochs=passes, seed=seed, on_epoch=on_epoch)


def _trained_genes(genotype: Mapping[str, Any], train: Interactions) -> dict[str, Any]:
    """Of a model that is trained: those that matter, checked."""
    if is_embedding(genotype):
        recipe = genotype.get("recipe")
        genes = {name: value for name, value in genotype.items() if name != "recipe"}
        genes = live_genes(genes if recipe is None else {**genes, "bits": 32}, train)
        return genes if recipe is None else {**genes, "recipe": recipe}
    if "family" in genotype:
        families = [*CLASSICS, *TRAINING_FREE, *EMBEDDINGS]
        raise InputError(f"gene 'family': expected one of {families}, got {genotype['family']!r}")
    return dict(genotype)


def _keys(genotype: Mapping[str, Any], *terms: float) -> tuple[Hashable, Hashable]:
    """Under which its training is kept, and what it is taught."""
    return (*terms, of_training(genotype)), (*terms, of_teaching(genotype))


def _compressed(genotype: Mapping[str, Any], model: Model, train: Interactions, seed: int, *course: Any) -> Built:
    """As the genotype wants it shipped, beside what it was; models that are no tables of rows are as they are."""
    if not isinstance(model, FactorModel):
        return Built(model, *course)
    small = compress(genotype, model, train, seed)
    as_trained = small is model or not recipe_of(genotype, model.user.width).steps
    return replace(Built(small, *course), uncompressed=None if as_trained else model)
