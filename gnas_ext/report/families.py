"""How does a recommender that is solved, not trained, go from a log to a list? For each family its steps in order."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

from gnas_ext.report.diagram import LIST, LOG, Diagram, Part
from gnas_ext.report.stages import words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Title, genes that act there, notes, kind: as of `diagram.Part`.
_Plan: TypeAlias = "tuple[str, Sequence[str], tuple[str, ...], str]"

_ITEM_WEIGHTS: _Plan = ("Item weights", ["neighbours"], ("item by item",), "weights")
_STORED = (
    "columns_kept",
    "columns_taught",
    "columns_by",
    "codes",
    "columns_a_byte",
    "rare_share",
    "bits",
    "bits_taught",
    "bits_calibrated",
    "rare_rows",
    "recipe_order",
    "recipe_steps",
    "step_1",
    "step_2",
    "step_3",
    "step_4",
    "recipe",
)
_BY_ITEMS: _Plan = ("Score", [], ("sum over the user's items",), "step")
_BY_COUNT: _Plan = ("Score", [], ("the same for everybody",), "step")

# Layer by layer; what stands side by side in one works in parallel.
_PLANS: Mapping[str, Sequence[Sequence[_Plan]]] = {
    "popularity": [[("Counts", [], ("touches of each item",), "weights")], [_BY_COUNT]],
    "decayed_popularity": [
        [("Decayed counts", ["half_life_days"], ("recent touches count more",), "weights")],
        [_BY_COUNT],
    ],
    "item_knn": [
        [("Item cosines", ["shrinkage"], ("of who touched them",), "step")],
        [("Nearest items", ["neighbours"], ("of each item",), "weights")],
        [_BY_ITEMS],
    ],
    "matrix_factorization": [
        [("Least squares", ["unseen_weight", "regularization"], ("users and items in turn",), "training")],
        [("Factors", ["dim"], ("of users and items",), "weights")],
        [("Stored rows", _STORED, (), "weights")],
        [("Score", [], ("user row · item row",), "step")],
    ],
    "graph_filter": [
        [("Graph", ["user_exponent", "item_exponent"], ("users and items",), "step")],
        [
            (
                "Polynomial",
                ["response", "square", "cube", "order", "flatness", "hops", "restart", "exponent"],
                ("of item by item",),
                "weights",
            ),
            ("Ideal low pass", ["rank", "low_weight", "low_exponent"], ("singular vectors",), "weights"),
        ],
        [("Score", [], ("the user's items, filtered",), "step")],
    ],
    "rp3beta": [
        [("Random walk", ["alpha", "beta"], ("user, item, user, item",), "step")],
        [_ITEM_WEIGHTS],
        [_BY_ITEMS],
    ],
    "walk": [
        [("Walk", ["source", "user", "target", "power", "keep_self"], ("item, user, item",), "step")],
        [_ITEM_WEIGHTS],
        [_BY_ITEMS],
    ],
    "slim": [
        [("Sparse regression", ["l1", "l2", "positive"], ("an item on the others",), "training")],
        [_ITEM_WEIGHTS],
        [_BY_ITEMS],
    ],
    "ease": [
        [("Ridge regression", ["l2"], ("an item on the others",), "training")],
        [("Item weights", [], ("item by item",), "weights")],
        [_BY_ITEMS],
    ],
}


def family_diagram(genotype: Mapping[str, object]) -> Diagram | None:
    """The steps of a family, each of which leads to all of the next layer; None if it is none of those known here.

    Without a rank a filter has no low pass.
    """
    plan = _PLANS.get(str(genotype.get("family")))
    if plan is None:
        return None
    layers = [[LOG], *([_part(step, genotype) for step in layer] for layer in plan), [LIST]]
    if "rank" in genotype and not genotype["rank"]:
        layers = [[part for part in layer if part.title != "Ideal low pass"] for layer in layers]
    named = [[(f"s{at}_{place}", part) for place, part in enumerate(layer)] for at, layer in enumerate(layers)]
    parts = {name: part for layer in named for name, part in layer}
    told = {name for part in parts.values() for name, _ in part.genes}
    rest = [(name, words(value)) for name, value in genotype.items() if name not in {*told, "family"}]
    if rest:
        parts["rest"] = Part("Other genes", rest, kind="training")
    pairs = pairwise(named)
    return Diagram(parts, tuple((a, b, False) for left, right in pairs for a, _ in left for b, _ in right))


def _part(step: _Plan, genotype: Mapping[str, object]) -> Part:
    title, genes, notes, kind = step
    return Part(title, [(name, words(genotype[name])) for name in genes if name in genotype], notes, kind)
