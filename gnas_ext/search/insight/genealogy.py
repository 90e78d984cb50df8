"""Where does a trial come from? Its ancestors, what changed from each to the next, and what that brought."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gnas_ext.errors import InputError
from gnas_ext.search.insight.frames import objective_names
from gnas_ext.search.insight.parts import described, parts_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

    from gnas_ext.search.study import Study
    from gnas_ext.search.trial import Trial


def genealogy(study: Study, trial: Trial | int | None = None, objectives: Sequence[str] | None = None) -> pl.DataFrame:
    """A trial and all its ancestors, oldest first.

    Args:
        study: which the trial belongs to.
        trial: or its number; `study.best` if not said.
        objectives: their names, as in `history`.

    Returns:
        A frame with a row a trial:

        - number, origin, parents (list of numbers);
        - steps: how many births lie between it and the trial in question, at least;
        - nearest: number of the parent that differs from it in the fewest genes, the first of equals; null if the study
          holds none of its parents. What follows is measured from that one;
        - on_line: whether it stands on the line that leads from the trial in question back by nearest parents;
        - changes: a list of {gene, before, after, taken_from}: values in words, null where the gene is dead;
          `taken_from` is the number of the other parent if the value is that one's, and null if it is new. A cell is
          one gene, written `gcn(0) gat(1)`: each node with the nodes that it takes from. `explode("changes")`,
          `unnest("changes")` make a row a change;
        - each objective: its value; and `change_` before its name: value less that of the nearest parent, in the units
          of the objective; null where either failed, or where they were evaluated at different fidelities.

    Raises:
        InputError: the study has no such trial, or, where none is named, no complete one.
        ValueError: not one name an objective.
    """
    import polars as pl

    names = objective_names(study, objectives)
    number = study.best.number if trial is None else trial if isinstance(trial, int) else trial.number
    known = {one.number: one for one in study.trials}
    if number not in known:
        raise InputError(f"genealogy: no trial {number} in the study, which has {len(known)}")
    steps = _steps(known, number)
    parts = parts_of(study.space)
    told = {one: described(parts, known[one].genotype) for one in steps}
    # What a parent outside of the study was is not known, and none can be younger than its child.
    parents = {one: [number for number in known[one].parents if number in steps and number < one] for one in steps}
    nearest = {one: _nearest(told, one, found) for one, found in parents.items() if found}
    line = {number}
    while number in nearest:
        number = nearest[number]
        line.add(number)
    rows = []
    for one in sorted(steps):
        row: dict[str, Any] = {
            "number": one,
            "origin": known[one].origin,
            "parents": list(known[one].parents),
            "steps": steps[one],
            "nearest": nearest.get(one),
            "on_line": one in line,
            "changes": _changes(told, one, nearest.get(one), parents[one]),
        }
        parent = known[nearest[one]] if one in nearest else None
        # Of fewer users and passes, values say something else.
        before = parent.values if parent is not None and parent.fidelity == known[one].fidelity else ()
        for place, name in enumerate(names):
            value = known[one].values[place] if known[one].values else None
            row[name] = value
            row[f"change_{name}"] = value - before[place] if before and value is not None else None
        rows.append(row)
    change = pl.Struct({"gene": pl.String, "before": pl.String, "after": pl.String, "taken_from": pl.Int64})
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        "number": pl.Int64,
        "origin": pl.String,
        "parents": pl.List(pl.Int64),
        "steps": pl.Int64,
        "nearest": pl.Int64,
        "on_line": pl.Boolean,
        "changes": pl.List(change),
    }
    schema |= {column: pl.Float64 for name in names for column in (name, f"change_{name}")}
    return pl.DataFrame(rows, schema=schema)


def _steps(known: Mapping[int, Trial], number: int) -> dict[int, int]:
    """How far each ancestor is away, in births; the trial itself is none away."""
    steps = {number: 0}
    edge = [number]
    while edge:
        following = []
        for one in edge:
            for parent in known[one].parents:
                if parent in known and parent < one and parent not in steps:
                    steps[parent] = steps[one] + 1
                    following.append(parent)
        edge = following
    return steps


def _nearest(told: Mapping[int, Mapping[str, str]], one: int, parents: Sequence[int]) -> int:
    """The parent that differs in the fewest genes, the first of equals."""
    return min(parents, key=lambda parent: len(_changed(told[parent], told[one])))


def _changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The names of what differs, in the order of the space."""
    return [name for name in {**before, **after} if before.get(name) != after.get(name)]


def _changes(
    told: Mapping[int, Mapping[str, str]], one: int, nearest: int | None, parents: Sequence[int]
) -> list[dict[str, Any]]:
    if nearest is None:
        return []
    before, after = told[nearest], told[one]
    others = [parent for parent in parents if parent != nearest]

    def taken_from(name: str) -> int | None:
        same = (other for other in others if name in after and told[other].get(name) == after[name])
        return next(same, None)

    return [
        {"gene": name, "before": before.get(name), "after": after.get(name), "taken_from": taken_from(name)}
        for name in _changed(before, after)
    ]
