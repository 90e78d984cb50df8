"""What does a study say for itself? Its gene importances and the line of its chosen trial, as a report takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gnas_ext.report.data import Ancestor, GeneShare
from gnas_ext.search.insight import genealogy, importances
from gnas_ext.search.insight.importance import LEAST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gnas_ext.search.study import Study
    from gnas_ext.search.trial import Trial


class Insight(NamedTuple):
    """As the fields of `ReportData` of these names; importances and fits are empty if there are too few trials."""

    importances: Sequence[GeneShare]
    fits: Mapping[str, float]
    lineage: Sequence[Ancestor]


def insight_of(study: Study, chosen: Trial, objectives: Sequence[str]) -> Insight:
    """What a report tells of a study beside its trials.

    Args:
        study: finished.
        chosen: the trial whose ancestors are told.
        objectives: their names, in the order of the study's directions.
    """
    shares: list[GeneShare] = []
    fits: dict[str, float] = {}
    if len(study.complete) >= LEAST:
        rows = importances(study, objectives)
        fields = rows.select("gene", "objective", "importance", "spread")
        shares = [GeneShare(*row) for row in fields.iter_rows()]
        fits = dict(rows.select("objective", "fit").unique(maintain_order=True).iter_rows())
    return Insight(shares, fits, _line(study, chosen, objectives))


def _line(study: Study, chosen: Trial, objectives: Sequence[str]) -> list[Ancestor]:
    ancestors = []
    for row in genealogy(study, chosen, objectives).filter("on_line").iter_rows(named=True):
        changes = [(one["gene"], one["before"], one["after"], one["taken_from"]) for one in row["changes"]]
        figures = [
            (name, row[name], change, change is not None and (change > 0) == (way == "maximize"))
            for name, way in zip(objectives, study.directions, strict=True)
            for change in [row[f"change_{name}"]]
        ]
        ancestors.append(Ancestor(row["number"], row["origin"], row["parents"], changes, figures))
    return ancestors
