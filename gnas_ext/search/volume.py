"""How far has a search come? The volume that its front dominates, on a scale that its own first trials set.

A hypervolume needs a reference and units. Both come from the first `FIRST` complete trials: the reference is the worst
of their values in each objective, moved away by a tenth of their range, so that the worst count too; the unit is the
box between it and the best of their values. So 1 is what one trial would fill that has the best first value of every
objective at once; later trials may fill more. The scale stays as it is from then on, so the number never falls, and
neither the units of an objective nor a late outlier change it. What it does not see: trials beyond the reference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gnas_ext.search.selection import hypervolume, pareto_front

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gnas_ext.search.selection import Losses

FIRST = 8
MARGIN = 0.1


class Scale(NamedTuple):
    """The first trials' best values, and the way from them to the reference, one number an objective."""

    best: Losses
    lengths: Losses

    def scaled(self, losses: Losses) -> Losses:
        """Losses on which the reference is 1 and the best of the first trials 0."""
        return tuple((x - low) / length for x, low, length in zip(losses, self.best, self.lengths, strict=True))

    def volume(self, losses: Sequence[Losses]) -> float:
        """The volume that these dominate, of scaled losses."""
        return hypervolume(losses, (1.0,) * len(self.best))


def scale_of(losses: Sequence[Losses]) -> Scale | None:
    """The scale that losses of complete trials, in order, set; None before there are enough."""
    if len(losses) < FIRST:
        return None
    best, lengths = [], []
    for values in zip(*losses[:FIRST], strict=True):
        low, high = min(values), max(values)
        margin = MARGIN * ((high - low) or abs(high) or 1.0)
        best.append(low)
        lengths.append(high + margin - low)
    return Scale(tuple(best), tuple(lengths))


def volumes(losses: Sequence[Losses]) -> list[float]:
    """The relative hypervolume after each complete trial; empty before there are enough for a scale."""
    scale = scale_of(losses)
    if scale is None:
        return []
    found: list[float] = []
    front: list[Losses] = []
    for point in map(scale.scaled, losses):
        wider = [*front, point]
        kept = [wider[place] for place in pareto_front(wider)]
        # The maximum: another order of the same sums may end one bit lower.
        grown = found[-1] if kept == front else max(scale.volume(kept), found[-1] if found else 0.0)
        found.append(grown)
        front = kept
    return found
