"""Can this be searched, and what decides which trials come? Arguments of `evolve`, checked and written as terms."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from gnas_ext.errors import InputError
from gnas_ext.search.processes import refuse_unguarded
from gnas_ext.search.trial import as_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gnas_ext.search.cluster import Cluster
    from gnas_ext.search.space import SearchSpace, Tokens
    from gnas_ext.search.study import Direction


def check(
    directions: tuple[Direction, ...],
    population: int,
    initial_share: float,
    first_share: float,
    resume: bool,
    journal: object,
) -> None:
    """ValueError unless there are objectives, enough parents, shares, and a journal to go on from if one is wanted."""
    if not directions or any(way not in ("maximize", "minimize") for way in directions):
        raise ValueError(f"evolve: expected directions 'maximize' or 'minimize', one an objective, got {directions}")
    if population < 2:
        raise ValueError(f"evolve: expected a population of at least 2, got {population}")
    for name, share in (("initial_share", initial_share), ("first_share", first_share)):
        if not 0 <= share <= 1:
            raise ValueError(f"evolve: expected {name} of 0 to 1, got {share}")
    if resume and journal is None:
        raise ValueError("evolve: resume=True needs journal=, the file to go on from")


def check_workers(workers: int, ray: str | Cluster | None, trial_seconds: float) -> None:
    """ValueError unless trials can run as is asked; a worker that got here by running its driver's script ends."""
    refuse_unguarded()
    if workers < 0:
        raise ValueError(f"evolve: expected workers >= 0, got {workers}")
    if not trial_seconds > 0:
        raise ValueError(f"evolve: expected trial_seconds > 0, got {trial_seconds}")
    if trial_seconds < math.inf and not workers and ray is None:
        raise ValueError("evolve: trial_seconds needs workers=1 or more: what runs in this process cannot be ended")


def check_fidelities(fidelities: Sequence[float]) -> None:
    """ValueError unless there are none, or they rise to 1."""
    shares = tuple(fidelities)
    if shares and (shares[-1] != 1 or not shares[0] > 0 or any(a >= b for a, b in pairwise(shares))):
        raise ValueError(
            f"evolve: expected fidelities that rise from above 0 to 1, such as (1/9, 1/3, 1), got {shares}"
        )


def recipes_of(space: SearchSpace, initial: Sequence[Mapping[str, object]]) -> list[Tokens]:
    """Token sequences of the genotypes to start from, each once."""
    recipes: dict[Tokens, None] = {}
    for place, values in enumerate(initial):
        try:
            recipes[space.encode(space.genotype(values))] = None
        except InputError as error:
            raise InputError(f"initial[{place}]: {error}") from None
    return list(recipes)


def terms_of(
    space: SearchSpace,
    directions: tuple[Direction, ...],
    seed: int,
    population: int,
    recipes: list[Tokens],
    predict: bool,
    decode: bool,
    first_share: float,
    fidelities: Sequence[float],
    context: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """All that decides which trials come and what they give; a journal is resumed only under the same terms."""
    terms = {
        "directions": directions,
        "seed": seed,
        "population": population,
        "initial": recipes,
        "predict": predict,
        # What is off needs no word, so that journals from before there was such a thing can be resumed.
        **({"decode": True} if decode else {}),
        **({"first_share": float(first_share)} if first_share else {}),
        **({"fidelities": tuple(map(float, fidelities))} if fidelities else {}),
        "genes": space.names,
        **{f"gene {name!r}": repr(gene) for name, gene in space.genes.items()},
        **{f"cell {name!r}": repr(cell) for name, cell in space.cells.items()},
        **{f"context {name!r}": value for name, value in (context or {}).items()},
    }
    return {name: as_json(value, name) for name, value in terms.items()}
