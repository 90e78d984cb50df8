"""How small is a recommender of two tables shipped? Genes that name a recipe: what is pruned, taught, and stored."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gnas_ext.compress.distil import DistilOptions
from gnas_ext.compress.lists import teach
from gnas_ext.compress.quantize import quantize_model
from gnas_ext.compress.recipe import Recipe
from gnas_ext.compress.steps import Bits, Codes, Columns, Distil, Fold, Groups, Mask
from gnas_ext.data.interactions import n_users
from gnas_ext.models.coded import WIDEST_PART
from gnas_ext.search.genes import Categorical
from gnas_ext.search.recommender.sequence import COLD, PASSES, POPULAR, WIDEST_REFIT, sequence_genes, sequence_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gnas_ext.compress.distil import Student
    from gnas_ext.compress.lists import Lists
    from gnas_ext.compress.step import Step
    from gnas_ext.data.interactions import Interactions
    from gnas_ext.models.base import Model
    from gnas_ext.models.factors import FactorModel
    from gnas_ext.search.genes import Conditions, Gene

# What genotypes meant that were made before these genes.
PLAIN: Mapping[str, Any] = {
    "recipe_order": "fixed",
    "columns_kept": 1.0,
    "columns_by": "cut",
    "codes": "none",
    "bits_taught": False,
    "bits_calibrated": False,
    "rare_rows": "alike",
}
# Scores that a teacher is asked for at most, so that a trial's time is bounded: above it, a share of the users is
# taught and solved, and the others have the nearest codes. Gowalla has 1.2e9, and takes half a minute.
_MOST_SCORES = 2**31


def compression_genes(when: Conditions | None = None) -> dict[str, Gene]:
    """The genes of how two tables of rows are stored, in the order in which they act.

    Genes:
        columns_kept: share of the columns that is kept, those that hold most (`recipe.Columns`); 1 for all.
        columns_taught: whether what is left of them is taught what the whole ranked (`recipe.Distil`).
        codes: "none"; or product codes, "nearest" or those that rank as the model does ("refit"; `recipe.Codes`; of
            more than 128 columns the nearest).
        columns_a_byte: columns that a byte stands for.
        rare_share: share of the items, those touched least, that have half of the bytes.
        bits: of an entry, without codes: 32 (float), or 8, 4 or 2 (integers with a scale a row; `recipe.Bits`).
        bits_taught: whether these are learned with the codes in sight, from what the whole ranked.

    Args:
        when: where there are two tables of rows at all.
    """
    return {
        "columns_kept": Categorical([1.0, 0.75, 0.5], ordered=True, when=when or {}),
        "columns_taught": Categorical([False, True], when={"columns_kept": [0.75, 0.5]}),
        "codes": Categorical(["none", "nearest", "refit"], when=when or {}),
        "columns_a_byte": Categorical([2, 3, 4, 8], ordered=True, when={"codes": ["nearest", "refit"]}),
        "rare_share": Categorical([0.0, 0.5], ordered=True, when={"codes": ["refit"]}),
        "bits": Categorical([32, 8, 4, 2], ordered=True, when={"codes": ["none"]}),
        "bits_taught": Categorical([False, True], when={"bits": [4, 2]}),
    }


def further_genes(when: Conditions | None = None) -> dict[str, Gene]:
    """The genes of a larger space: those of `compression_genes` and these.

    Genes:
        recipe_order: "fixed": the genes of `compression_genes` act in their order; "free": they are dead, and a
            sequence of genes says what is done, step by step (`sequence_genes`).
        columns_by: how columns that are taught go: all at once before ("cut"); one after the other meanwhile, by what
            they hold ("schedule") or by scores that are learned ("learned"; `recipe.Mask`).
        bits_calibrated: whether bits that are not learned are found by what errors cost on the log
            (`compress.calibrate`).
        rare_rows: of 8 bits an entry, what the rows have that are touched least: as many; 4 bits, the half of them
            ("fewer_bits"; `recipe.Groups`); or one row together, a quarter of them ("folded"; `recipe.Fold`).

    Args:
        when: as there.
    """
    return {
        "recipe_order": Categorical(["fixed", "free"], when=when or {}),
        **compression_genes({"recipe_order": ["fixed"]}),
        "columns_by": Categorical(["cut", "schedule", "learned"], when={"columns_taught": [True]}),
        "bits_calibrated": Categorical([False, True], when={"bits": [4, 2], "bits_taught": [False]}),
        "rare_rows": Categorical(["alike", "fewer_bits", "folded"], when={"bits": [8]}),
        **sequence_genes({"recipe_order": ["free"]}),
    }


def recipe_of(genotype: Mapping[str, Any], width: int) -> Recipe:
    """The recipe that a genotype names for tables of so many columns; one without steps leaves them in float32."""
    if "recipe" in genotype:
        return Recipe.parse(str(genotype["recipe"]))
    genes = {**PLAIN, **genotype}
    if genes["recipe_order"] == "free":
        return sequence_of(genes, width)
    steps: list[Step] = []
    if genes["columns_kept"] < 1:
        width = max(1, round(width * float(genes["columns_kept"])))
        if genes["columns_taught"] and genes["columns_by"] != "cut":
            steps.append(Mask(width, PASSES, "learned" if genes["columns_by"] == "learned" else "magnitude"))
        else:
            steps.append(Columns(width))
            if genes["columns_taught"]:
                steps.append(Distil(PASSES))
    if genes["codes"] != "none":
        size = -(-width // int(genes["columns_a_byte"]))
        codes = Codes(size, size)
        if genes["codes"] == "refit" and width <= WIDEST_REFIT:
            rare = max(-(-width // WIDEST_PART), size // 2)
            codes = replace(codes, solves=1, rare_share=float(genes["rare_share"]), rare_bytes=rare)
        steps.append(codes)
    elif genes["bits"] == 8 and genes["rare_rows"] != "alike":
        steps += [Groups(POPULAR, 8, 4)] if genes["rare_rows"] == "fewer_bits" else [Fold(COLD), Bits(8)]
    elif genes["bits"] != 32:
        taught = genes["bits"] < 8 and genes["bits_taught"]
        calibrated = genes["bits"] < 8 and not taught and bool(genes["bits_calibrated"])
        steps.append(Bits(int(genes["bits"]), epochs=PASSES if taught else 0, calibrated=calibrated))
    return Recipe(tuple(steps))


def compress(genotype: Mapping[str, Any], model: FactorModel, train: Interactions, seed: int = 0) -> Student:
    """The trained model as its genotype wants it shipped; the same each time.

    Args:
        genotype: the genes of `compression_genes`; those that are missing leave the model as it is, but for `bits`. Or
            "recipe", as `str` tells a `Recipe`.
        model: float32, or int8 where it was trained so, which it then stays unless a step makes it smaller; it is the
            teacher of all steps that teach.
        train: what it was trained on.
        seed: of the draws.

    Raises:
        InputError: a number of the model is not finite.
    """
    recipe = recipe_of(genotype, model.user.width)
    if model.user.scale is not None and recipe.steps in ((), (Bits(8),), (Bits(8, calibrated=True),)):
        return model  # trained so
    whole = quantize_model(model, 32)
    options = DistilOptions(seed=seed)
    lists = lists_of(whole, train, options) if recipe.teaches else None
    return recipe.apply(model, train, whole, options, lists)


def with_recipe(genotype: Mapping[str, Any], recipe: Recipe) -> dict[str, Any]:
    """The genotype of the same model, made small by a recipe instead of by its own genes.

    Args:
        genotype: in the terms of the space of its family.
        recipe: one without steps leaves the model in float32, as it was trained.
    """
    own = further_genes()
    return {name: value for name, value in genotype.items() if name not in own} | {"recipe": str(recipe)}


def lists_of(model: Model, train: Interactions, options: DistilOptions) -> Lists:
    """What the model says of its users, or of as many as there is time for (2.1e9 scores)."""
    users = n_users(train)
    most = max(1, _MOST_SCORES // max(1, model.n_items))
    if users > most:
        drawn = np.zeros(users, dtype=bool)
        drawn[np.random.default_rng(options.seed).choice(users, most, replace=False)] = True
        train = train.select(np.flatnonzero(drawn[train.user]))
    return teach(model, train, options.best, options.drawn, options.seed)
