"""Where to begin when something like it was searched before? With the best of an earlier study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnas_ext.errors import InputError
from gnas_ext.search.journal import read_values
from gnas_ext.search.selection import standings
from gnas_ext.search.study import Study, turned

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from gnas_ext.search.genes import Gene, Value
    from gnas_ext.search.space import SearchSpace


def best_of_earlier(
    study: Study | str | os.PathLike[str], space: SearchSpace, count: int = 10
) -> list[dict[str, Value]]:
    """The best genotypes of an earlier study, in terms of a space: what `evolve(initial=)` takes for a warm start.

    What they were worth is not carried over, for it was measured elsewhere: each is evaluated anew.

    Args:
        study: the study, or the journal of one; of any space, with any objectives.
        space: genes that it lacks are left out; those that it adds take their first value (of an ordinal gene, the
            middle one), as do those whose value it does not have; of an ordinal gene of numbers, the nearest one.
        count: genotypes at most, best front first; different ones, which `space.valid` accepts.

    Raises:
        InputError: there is no such journal, or it holds no complete trial.
    """
    if isinstance(study, Study):
        tried: list[tuple[Mapping[str, Any], tuple[float, ...]]] = [
            (trial.genotype, study.losses(trial)) for trial in study.complete
        ]
    else:
        directions, pairs = read_values(Path(study))
        tried = [(genotype, turned(values, directions)) for genotype, values in pairs]
        if not tried:
            raise InputError(f"{study}: no complete trial to begin with")
    order = standings([losses for _, losses in tried])
    found: list[dict[str, Value]] = []
    for place in sorted(range(len(tried)), key=lambda place: (order[place], place)):
        genotype = _fitted(space, tried[place][0])
        if genotype is not None and genotype not in found:
            found.append(genotype)
        if len(found) == count:
            break
    return found


def _fitted(space: SearchSpace, values: Mapping[str, Any]) -> dict[str, Value] | None:
    """The genotype of a space that is closest to some values, canonical; None where `valid` refuses it."""
    fitting: dict[str, Value] = {}
    for name, gene in space.genes.items():
        if all(fitting.get(other) in alive for other, alive in gene.when.items()):
            fitting[name] = _nearest(gene, values[name]) if name in values else _middle(gene)
    try:
        return space.genotype(fitting).as_dict()
    except InputError:
        return None


def _nearest(gene: Gene, value: Any) -> Value:
    try:
        return gene.values[gene.index(value)]
    except ValueError:
        numbers = [each for each in gene.values if _is_number(each)]
        if gene.ordinal and _is_number(value) and numbers:
            return min(numbers, key=lambda each: abs(each - value))
        return _middle(gene)


def _middle(gene: Gene) -> Value:
    return gene.values[(len(gene.values) - 1) // 2 if gene.ordinal else 0]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
