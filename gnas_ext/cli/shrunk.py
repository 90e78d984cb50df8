"""What did compression do to the found model? It and what it was before, measured in one run on the same test part."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gnas_ext.compress import recall_by_popularity, report
from gnas_ext.evaluate.compare import measure
from gnas_ext.models.coded import CodedModel
from gnas_ext.models.factors import FactorModel

if TYPE_CHECKING:
    from gnas_ext.compress import Report
    from gnas_ext.data.interactions import Split
    from gnas_ext.evaluate.compare import ModelResult
    from gnas_ext.models.base import Model
    from gnas_ext.search.recommender import Built

_SHOWN = ("recall@20", "ndcg@20")


def shrunk(built: Built, result: ModelResult, split: Split) -> Report | None:
    """The compression report of a model that was found; None where it is not compressed.

    Args:
        built: from training and validation.
        result: what was measured of it on test.
        split: the log.
    """
    before, after = built.uncompressed, built.model
    if before is None or not isinstance(after, FactorModel | CodedModel):
        return None
    train, test = split.train_and_valid, split.test
    was = measure("before", before, train, test)
    shown = [{name: one.metrics[name] for name in _SHOWN if name in one.metrics} for one in (was, result)]
    return replace(
        report(before, after, *shown),
        latency_before=was.latency_ms,
        latency_after=result.latency_ms,
        deciles_before=recall_by_popularity(before, train, test),
        deciles_after=recall_by_popularity(after, train, test),
    )


def row_lines(model: Model) -> list[str]:
    """Bits a number of a compressed model's rows, for an artefact, which knows of no columns that are gone."""
    if isinstance(model, CodedModel):
        return report(model.decoded(), model).row_lines()
    if isinstance(model, FactorModel) and model.user.scale is not None:
        return report(model, model).row_lines()
    return []
