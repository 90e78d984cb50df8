"""Which candidates survive: non-dominated sorting and crowding distance (Deb et al., 2002, NSGA-II).

Everything here takes losses: tuples of numbers, the smaller the better, one an objective.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

Losses: TypeAlias = tuple[float, ...]


class Standing(NamedTuple):
    """Where a candidate stands among others; the smaller tuple wins.

    Attributes:
        rank: 0 on the front, 1 on the front once that is taken away, and so on.
        crowding: minus its crowding distance: -inf at the ends of its front.
    """

    rank: int
    crowding: float


def dominates(a: Losses, b: Losses) -> bool:
    """Whether a is nowhere worse than b, and somewhere better."""
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))


def non_dominated_sort(losses: Sequence[Losses]) -> list[list[int]]:
    """Fronts, best first, each a list of places in order: nobody is dominated from its own front or a later one."""
    if losses and len(losses[0]) == 1:
        equal: dict[Losses, list[int]] = {}
        for place, loss in enumerate(losses):
            equal.setdefault(loss, []).append(place)
        return [equal[loss] for loss in sorted(equal)]
    beaten: list[list[int]] = [[] for _ in losses]
    beaten_by = [0] * len(losses)
    for a in range(len(losses)):
        for b in range(a):
            if dominates(losses[a], losses[b]):
                winner, loser = a, b
            elif dominates(losses[b], losses[a]):
                winner, loser = b, a
            else:
                continue
            beaten[winner].append(loser)
            beaten_by[loser] += 1
    fronts: list[list[int]] = []
    front = [place for place, count in enumerate(beaten_by) if count == 0]
    while front:
        fronts.append(front)
        following = []
        for winner in front:
            for loser in beaten[winner]:
                beaten_by[loser] -= 1
                if beaten_by[loser] == 0:
                    following.append(loser)
        front = sorted(following)
    return fronts


def crowding_distance(losses: Sequence[Losses]) -> list[float]:
    """For each member of one front, how much room its neighbours leave it, each objective scaled to its range.

    The two ends of each objective get inf; where all are equal in it, it says nothing.
    """
    distance = [0.0] * len(losses)
    for objective in range(len(losses[0]) if losses else 0):
        order = sorted(range(len(losses)), key=lambda place: losses[place][objective])
        low, high = losses[order[0]][objective], losses[order[-1]][objective]
        if high > low:
            distance[order[0]] = distance[order[-1]] = math.inf
            for before, place, after in zip(order, order[1:], order[2:], strict=False):
                distance[place] += (losses[after][objective] - losses[before][objective]) / (high - low)
    return distance


def standings(losses: Sequence[Losses]) -> list[Standing]:
    """Rank and crowding of each candidate."""
    result: dict[int, Standing] = {}
    for rank, front in enumerate(non_dominated_sort(losses)):
        distances = crowding_distance([losses[place] for place in front])
        result.update((place, Standing(rank, -room)) for place, room in zip(front, distances, strict=True))
    return [result[place] for place in range(len(losses))]


def survivors(losses: Sequence[Losses], size: int) -> list[int]:
    """Places of the `size` that stay, in order: best rank, then most room; among equals the later ones stay."""
    standing = standings(losses)
    return sorted(sorted(range(len(losses)), key=lambda place: (standing[place], -place))[:size])


def tournament(standing: Sequence[Standing], rng: random.Random) -> int:
    """The place of the better of two drawn at random."""
    one, two = rng.randrange(len(standing)), rng.randrange(len(standing))
    return one if standing[one] <= standing[two] else two


def pareto_front(losses: Sequence[Losses]) -> list[int]:
    """Places of those that nobody dominates, in order."""
    front: list[int] = []
    for place, candidate in enumerate(losses):
        if not any(dominates(losses[other], candidate) for other in front):
            front = [other for other in front if not dominates(candidate, losses[other])]
            front.append(place)
    return front


def hypervolume(losses: Sequence[Losses], reference: Losses) -> float:
    """The volume between the points and a reference that they dominate, exact; each objective more costs a factor n."""
    points = sorted({point for point in losses if all(x < r for x, r in zip(point, reference, strict=True))})
    if not points:
        return 0.0
    if len(reference) == 1:
        return reference[0] - points[0][0]
    # Slabs along the first objective: within one, the points to its left cover the same area of the others.
    edges = [point[0] for point in points[1:]] + [reference[0]]
    volume = 0.0
    for count, (point, edge) in enumerate(zip(points, edges, strict=True), start=1):
        if edge > point[0]:
            volume += (edge - point[0]) * hypervolume([other[1:] for other in points[:count]], reference[1:])
    return volume
