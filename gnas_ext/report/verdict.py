"""Was the search worth it? One sentence on quality and one on size, which also say so when it was not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gnas_ext.evaluate.cost import human_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gnas_ext.evaluate.compare import ModelResult

METRIC = "ndcg@20"


@dataclass(frozen=True)
class Verdict:
    """What a comparison comes to.

    Attributes:
        better: whether the found model beats every other one on NDCG@20, as printed with four digits.
        smaller: whether it takes fewer bytes than the reference; None without one.
        quality: the sentence on NDCG@20.
        size: the sentence on bytes.
    """

    better: bool
    smaller: bool | None
    quality: str
    size: str


def verdict(comparison: Sequence[ModelResult], found: str, reference: str = "") -> Verdict:
    """Sets the found model beside the others of a comparison.

    Args:
        comparison: models with the metric "ndcg@20".
        found: name of the found model.
        reference: name of the model that it should be smaller than; may be empty.

    Raises:
        ValueError: the comparison lacks one of these names.
    """
    mine = _named(comparison, found)
    better, quality = _quality(mine, [result for result in comparison if result is not mine])
    if not reference:
        return Verdict(better, None, quality, f"It takes {human_bytes(mine.size_bytes)}.")
    smaller, size = _size(mine, _named(comparison, reference))
    return Verdict(better, smaller, quality, size)


def _named(comparison: Sequence[ModelResult], name: str) -> ModelResult:
    for result in comparison:
        if result.name == name:
            return result
    raise ValueError(f"report: expected a model called {name!r} in the comparison, got {[r.name for r in comparison]}")


def _ndcg(result: ModelResult) -> float:
    """As printed: a difference that no reader can see is no difference."""
    value = result.metrics.get(METRIC, math.nan)
    return round(value, 4) if math.isfinite(value) else -math.inf


def _quality(mine: ModelResult, others: list[ModelResult]) -> tuple[bool, str]:
    ours = _ndcg(mine)
    if not math.isfinite(ours):
        return False, "The found model has no NDCG@20 on the test set, so it cannot be said to beat anything."
    if not others:
        return False, f"The found model reaches NDCG@20 {ours:.4f} on the test set; no baseline was measured beside it."
    best = max(others, key=_ndcg)
    theirs = _ndcg(best)
    if not math.isfinite(theirs):
        return False, f"The found model reaches NDCG@20 {ours:.4f} on the test set; no baseline has that figure."
    share = f"{abs(ours - theirs) / theirs:.1%} " if theirs > 0 else ""
    if ours > theirs:
        beaten = "the baseline" if len(others) == 1 else f"all {len(others)} baselines"
        return True, (
            f"The found model beats {beaten}: NDCG@20 {ours:.4f} on the test set, "
            f"{share}above the best of them, {best.name} ({theirs:.4f})."
        )
    relation = "the same as" if ours == theirs else f"{share}below"
    return False, (
        f"The found model does not beat the best baseline: NDCG@20 {ours:.4f} on the test set, "
        f"{relation} {best.name} ({theirs:.4f})."
    )


def _size(mine: ModelResult, reference: ModelResult) -> tuple[bool, str]:
    ours, theirs = human_bytes(mine.size_bytes), human_bytes(reference.size_bytes)
    if mine.size_bytes < reference.size_bytes:
        times = reference.size_bytes / max(mine.size_bytes, 1)
        return True, f"It takes {ours}, {times:.1f} times less than {reference.name} ({theirs})."
    return False, f"It is not smaller than {reference.name}: {ours} against {theirs}."
