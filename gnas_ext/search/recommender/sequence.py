"""In which order is a recommender made small? A sequence of genes, one a step of its recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gnas_ext.compress.recipe import Recipe
from gnas_ext.compress.steps import Bits, Codes, Columns, Distil, Fold, Groups, Mask, Solve
from gnas_ext.search.genes import Categorical, Integer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gnas_ext.compress.step import Step
    from gnas_ext.search.genes import Gene

# Passes of each step that teaches.
PASSES = 4
# Shares of the rows: those touched most, which keep 8 bits where the others have 4; those touched least, which share
# one.
POPULAR, COLD = 0.5, 0.25
# Wider tables have the nearest codes: what a refit solves a row grows with the cube of the width.
WIDEST_REFIT = 128
_MOST_STEPS = 4
_STORING = ("bits 8", "bits 4", "bits 2", "groups 8 4", "codes 1/2", "codes 1/4", "refit 1/2", "refit 1/4")
_STEPS = ("columns 3/4", "columns 1/2", "mask 1/2", "distil", "solve", "fold 1/4", *_STORING)


def sequence_genes(when: Mapping[str, list[Any]]) -> dict[str, Gene]:
    """The genes of a recipe of one to four steps in any order.

    Genes:
        recipe_steps: how many there are.
        step_1 … step_4: what each is: so many of the columns that are left by then ("columns", cut; "mask", on a
            schedule), "distil", "solve", "fold" of the rows touched least, rows in "bits" or "groups" of them, or so
            many bytes a column: the nearest codes or a "refit".

    Args:
        when: where there is such a recipe.
    """
    return {
        "recipe_steps": Integer(1, _MOST_STEPS, when=when),
        **{
            f"step_{place}": Categorical(list(_STEPS), when={"recipe_steps": list(range(place, _MOST_STEPS + 1))})
            for place in range(1, _MOST_STEPS + 1)
        },
    }


def is_sequence(genotype: Mapping[str, Any]) -> bool:
    """Whether the steps of a genotype can follow each other; true of one without steps.

    None comes twice, rows are stored by one of them, and rows that were folded are not stored by a refit.
    """
    names = [value for name, value in sorted(genotype.items()) if name.startswith("step_")]
    if len(set(names)) < len(names) or sum(name in _STORING for name in names) > 1:
        return False
    folded = names.index("fold 1/4") if "fold 1/4" in names else len(names)
    return not any(name.startswith("refit") for name in names[folded:])


def sequence_of(genotype: Mapping[str, Any], width: int) -> Recipe:
    """The recipe that the genes name for tables of so many columns."""
    steps: list[Step] = []
    for place in range(1, int(genotype["recipe_steps"]) + 1):
        name, _, amount = str(genotype[f"step_{place}"]).partition(" ")
        steps.append(_step(name, amount, width))
        width = getattr(steps[-1], "keep", width)
    return Recipe(tuple(steps))


def _step(name: str, amount: str, width: int) -> Step:
    part, _, whole = amount.partition("/")
    some = max(1, round(width * int(part) / int(whole))) if whole else 0
    match name:
        case "columns":
            return Columns(some)
        case "mask":
            return Mask(some, PASSES)
        case "distil":
            return Distil(PASSES)
        case "solve":
            return Solve()
        case "fold":
            return Fold(COLD)
        case "bits":
            return Bits(int(amount), calibrated=True)
        case "groups":
            return Groups(POPULAR, *map(int, amount.split()))
        case "codes":
            return Codes(some, some)
    return Codes(some, some, solves=1 if width <= WIDEST_REFIT else None)
