"""What did a search try, and what is left of it? Its trials as a Polars data frame, a row each."""

from __future__ import annotations

from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from gnas_ext.search.volume import volumes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import polars as pl

    from gnas_ext.search.genes import Gene
    from gnas_ext.search.study import Study


def history(study: Study, objectives: Sequence[str] | None = None) -> pl.DataFrame:
    """All trials in order.

    Args:
        study: of any space, running or over.
        objectives: what to call the objectives; "value" if not said, "value_0", "value_1", … if there are several.

    Returns:
        A frame of the columns

        - number, state, fidelity, origin, parents (list of numbers), seconds, reason (empty if it did not fail);
        - each objective: its value, null where the trial failed; and `best_` before its name: the best so far of what
          was evaluated in full;
        - hypervolume: what the trials so far dominate, as `Study.relative_hypervolume`; it never falls; null until a
          trial is complete, and as long as there are too few for a scale;
        - on_front: whether no other trial of the study beats it;
        - `gene.` before its name, each gene: null where it is dead. Genes whose values are of several kinds are text.

    Raises:
        ValueError: not one name an objective, or one that is taken.
    """
    import polars as pl

    names = objective_names(study, objectives)
    trials = study.trials
    front = {trial.number for trial in study.front}
    columns: dict[str, Any] = {
        "number": pl.Series([trial.number for trial in trials], dtype=pl.Int64),
        "state": pl.Series([trial.state for trial in trials], dtype=pl.String),
        "fidelity": pl.Series([trial.fidelity for trial in trials], dtype=pl.Float64),
        "origin": pl.Series([trial.origin for trial in trials], dtype=pl.String),
        "parents": pl.Series([list(trial.parents) for trial in trials], dtype=pl.List(pl.Int64)),
        "seconds": pl.Series([trial.seconds for trial in trials], dtype=pl.Float64),
        "reason": pl.Series([trial.reason for trial in trials], dtype=pl.String),
    }
    done = [trial.state == "complete" for trial in trials]
    whole = [trial.state == "complete" and trial.fidelity == 1 for trial in trials]
    for place, (name, way) in enumerate(zip(names, study.directions, strict=True)):
        values = [trial.values[place] if there else None for trial, there in zip(trials, done, strict=True)]
        full = [value if there else None for value, there in zip(values, whole, strict=True)]
        best = accumulate(full, partial(_better, max if way == "maximize" else min))
        _add(columns, name, pl.Series(values, dtype=pl.Float64))
        _add(columns, f"best_{name}", pl.Series(list(best), dtype=pl.Float64))
    grown = iter(volumes([study.losses(trial) for trial in study.complete]))
    steps = [next(grown, None) if there else None for there in whole]
    _add(columns, "hypervolume", pl.Series(steps, dtype=pl.Float64).fill_null(strategy="forward"))
    _add(columns, "on_front", pl.Series([trial.number in front for trial in trials], dtype=pl.Boolean))
    for name, gene in study.space.genes.items():
        _add(columns, f"gene.{name}", _gene_column(gene, [trial.genotype.get(name, _DEAD) for trial in trials]))
    return pl.DataFrame(columns)


def front(study: Study, objectives: Sequence[str] | None = None) -> pl.DataFrame:
    """The trials that no other one beats, by the first objective, best first: those rows and columns of `history`.

    Without what is the same, or says nothing, in each row: state, fidelity, reason, the best so far and `on_front`.
    """
    names = objective_names(study, objectives)
    rows = history(study, names).filter("on_front")
    order = [trial.number for trial in study.front]
    place = {number: at for at, number in enumerate(order)}
    sorted_rows = rows[sorted(range(len(rows)), key=lambda row: place[rows["number"][row]])]
    return sorted_rows.drop(
        "state", "fidelity", "reason", "hypervolume", "on_front", *(f"best_{name}" for name in names)
    )


def objective_names(study: Study, objectives: Sequence[str] | None) -> list[str]:
    """One different name an objective; ValueError if there are not."""
    count = len(study.directions)
    if objectives is None:
        return ["value"] if count == 1 else [f"value_{place}" for place in range(count)]
    if isinstance(objectives, str) or len(set(objectives)) != count or len(objectives) != count:
        raise ValueError(f"objectives: expected {count} different names, one an objective, got {objectives!r}")
    return list(objectives)


# Apart from None, which is a value that a gene may have.
_DEAD = object()


def _better(best: Callable[[float, float], float], a: float | None, b: float | None) -> float | None:
    """Of two values, of which those of failed trials are None."""
    return b if a is None else a if b is None else best(a, b)


def _add(columns: dict[str, Any], name: str, column: pl.Series) -> None:
    if name in columns:
        raise ValueError(f"objectives: {name!r} is a column already; give the objective another name")
    columns[name] = column


def _gene_column(gene: Gene, values: Sequence[object]) -> pl.Series:
    import polars as pl

    kinds = {type(value) for value in gene.values}
    dtypes: list[tuple[set[type], Any]] = [
        ({bool}, pl.Boolean),
        ({int}, pl.Int64),
        ({int, float}, pl.Float64),
        ({str}, pl.String),
    ]
    for fitting, dtype in dtypes:
        if kinds <= fitting:
            return pl.Series([None if value is _DEAD else value for value in values], dtype=dtype)
    return pl.Series([None if value is _DEAD else str(value) for value in values], dtype=pl.String)
