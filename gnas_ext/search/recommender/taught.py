"""Can two tables learn from a model that ranks better? From their mixture with it, of which they alone are shipped."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from gnas_ext.compress.distil import DistilOptions
from gnas_ext.compress.quantize import quantize_model
from gnas_ext.compress.solve import solve_rows
from gnas_ext.models.mixture import Mixture
from gnas_ext.search.genes import Categorical
from gnas_ext.search.recommender.compression import lists_of
from gnas_ext.search.recommender.training_free import CHEBYCF, GF_CF, SLIM, TURBO_CF_LINEAR, build_training_free

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gnas_ext.data.interactions import Interactions
    from gnas_ext.models.base import Model
    from gnas_ext.models.factors import FactorModel
    from gnas_ext.search.genes import Gene

TEACHERS: Mapping[str, Mapping[str, Any]] = {
    "chebycf": CHEBYCF,
    "gf_cf": GF_CF,
    "turbo_cf": TURBO_CF_LINEAR,
    "slim": SLIM,
}
# What genotypes meant that were made before these genes.
UNTAUGHT: Mapping[str, Any] = {"teacher": "none"}
# How strongly rows are held, and the weight of the best items: what was best on Gowalla (docs/recommenders.md).
_RIDGE, _TOP = 1.0, 0.0
# Teachers of a log, for the trials that come to need them.
_MADE: WeakKeyDictionary[Interactions, dict[str, Model]] = WeakKeyDictionary()


def teacher_genes() -> dict[str, Gene]:
    """The genes of who teaches two tables.

    Genes:
        teacher: "none"; or a published filter, or SLIM, beside which the trained model is to the student what that
            alone cannot be: each side is solved once for the lists of the two together (`compress.solve_rows`).
        teacher_weight: of the teacher's scores, beside 1 for the model's, both standardised (`models.Mixture`).
    """
    return {
        "teacher": Categorical(["none", *TEACHERS]),
        "teacher_weight": Categorical([0.25, 0.5, 1.0, 2.0], ordered=True, when={"teacher": list(TEACHERS)}),
    }


def has_teacher(genotype: Mapping[str, Any]) -> bool:
    """Whether the genes of `teacher_genes` name one."""
    return str({**UNTAUGHT, **genotype}["teacher"]) != "none"


def taught(
    genotype: Mapping[str, Any], model: FactorModel, train: Interactions, seed: int = 0, seconds: float = math.inf
) -> FactorModel:
    """The model after its teacher; itself where it has none.

    Above 2.1e9 scores a share of the users is asked, and the rows of the others move with the items alone.

    Args:
        genotype: the genes of `teacher_genes`; those that are missing mean no teacher.
        model: as it was trained.
        train: what it was trained on.
        seed: of a filter's vectors and of the items that are drawn.
        seconds: that a teacher may take, as in `build_training_free`.

    Raises:
        TimeoutError: the teacher would take longer.
    """
    if not has_teacher(genotype):
        return model
    name = str(genotype["teacher"])
    whole = quantize_model(model, 32)
    mixture = Mixture((whole, _teacher(name, train, seed, seconds)), (1.0, float(genotype["teacher_weight"])))
    lists = lists_of(mixture, train, DistilOptions(seed=seed))
    return solve_rows(whole, lists, ridge=_RIDGE, top=_TOP)


def _teacher(name: str, train: Interactions, seed: int, seconds: float) -> Model:
    known = _MADE.setdefault(train, {})
    key = f"{name} {seed}"
    if key not in known:
        known[key] = build_training_free(TEACHERS[name], train, seed, seconds)
    return known[key]
