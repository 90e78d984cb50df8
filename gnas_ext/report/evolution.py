"""How are gene importances and what a step brought told to people? Rows to show, and figures with their units."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from gnas_ext.evaluate.cost import human_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gnas_ext.report.data import GeneShare

_SHOWN = 12
# Below this rank correlation models know too little for their shares to be believed.
_DOUBTFUL = 0.5
_GOALS = {"ndcg": "NDCG@20", "bytes": "Size", "ms": "ms a user"}


class ImportanceTable(NamedTuple):
    """Genes by falling importance for the first objective that they matter most for.

    Attributes:
        objectives: the columns.
        rows: a gene, and its share in each objective.
        others: a sentence on genes that are not shown; may be empty.
    """

    objectives: list[str]
    rows: list[tuple[str, list[GeneShare]]]
    others: str

    def trust(self, fits: Mapping[str, float]) -> str:
        """How far to believe the shares, in a sentence or two; nothing if it is not known."""
        known = {name: fits[name] for name in self.objectives if name in fits}
        if not known:
            return ""
        told = ", ".join(f"{fit:.2f} for {goal(name)}" for name, fit in known.items())
        doubt = " Where it is low, the shares say little." if min(known.values()) < _DOUBTFUL else ""
        return f"On trials that a model has not seen, its rank correlation is {told}.{doubt}"


def importance_table(shares: Sequence[GeneShare]) -> ImportanceTable:
    """The genes that matter most for any objective, by the first one."""
    objectives = list(dict.fromkeys(share.objective for share in shares))
    by_gene: dict[str, dict[str, GeneShare]] = {}
    for share in shares:
        by_gene.setdefault(share.gene, {})[share.objective] = share
    rows = [
        (gene, [found[name] for name in objectives])
        for gene, found in by_gene.items()
        if found.keys() == set(objectives)
    ]
    most = sorted(rows, key=lambda row: -max(share.importance for share in row[1]))
    shown = sorted(most[:_SHOWN], key=lambda row: -row[1][0].importance)
    rest = [max(share.importance for share in row[1]) for row in most[_SHOWN:]]
    others = ""
    if rest:
        others = f"{len(rest)} more {'gene has' if len(rest) == 1 else 'genes have'} {max(rest):.2f} or less."
    return ImportanceTable(objectives, shown, others)


def goal(objective: str) -> str:
    """What people call an objective."""
    return _GOALS.get(objective, objective)


def value(figure: float | None, objective: str) -> str:
    """A value with its unit; a dash where it is not known."""
    if figure is None or not math.isfinite(figure):
        return "–"
    if objective == "bytes":
        return human_bytes(round(figure))
    return f"{figure:.4f}" if objective == "ndcg" else f"{figure:.3g}"


def change(difference: float, objective: str, figure: float) -> str:
    """How much more or less a value is than before; sizes and times as a share of what they were.

    Nothing where a reader would see zero.
    """
    before = figure - difference
    if objective == "ndcg" or before <= 0:
        digits = f"{abs(difference):.4f}" if objective == "ndcg" else f"{abs(difference):.3g}"
    else:
        digits = f"{abs(difference) / before:.0%}"
    return f"{'+' if difference > 0 else '−'}{digits}" if digits.strip("0.%") else ""
